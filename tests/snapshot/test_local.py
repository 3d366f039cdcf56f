"""A file is whole or absent, whatever happens to its writer."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aether_dagster.errors import SnapshotError
from aether_dagster.snapshot import HistoryStore

FOLDER = "2023-07-20_133452_pipeline_01H3XYZ9"
NAME = "state_final.json"
SIZE = 400_000

WRITER = f"""
import sys
from aether_dagster.snapshot import HistoryStore
store = HistoryStore(sys.argv[1])
turn = 0
while True:
    turn += 1
    store.write({FOLDER!r}, {NAME!r}, bytes([65 + turn % 26]) * {SIZE})
"""


def _check_whole(history: Path) -> bool:
    """Whether the file is there; fails if anything but one whole file is."""
    names = [path.name for path in (history / FOLDER).iterdir()]
    if not names:
        return False
    assert names == [NAME]
    data = (history / FOLDER / NAME).read_bytes()
    assert len(data) == SIZE
    assert data == data[:1] * SIZE
    return True


def _temporaries(history: Path) -> list[str]:
    return sorted(path.name for path in history.iterdir() if path.name != FOLDER)


@contextmanager
def _process(code: str, history: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", code, str(history)]) as process:
        try:
            yield process
        finally:
            process.kill()


def _killed_in_the_middle(history: Path, seconds: float) -> None:
    with _process(WRITER, history) as writer:
        while not _temporaries(history) and writer.poll() is None:
            _check_whole(history)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            _check_whole(history)
        assert writer.poll() is None


def test_a_writer_killed_at_any_moment_leaves_whole_files_and_the_next_one_cleans_up(
    tmp_path: Path,
) -> None:
    HistoryStore(str(tmp_path)).create(FOLDER)
    randomness = random.Random(7)
    left_behind = 0
    for _ in range(12):
        _killed_in_the_middle(tmp_path, randomness.uniform(0.0, 0.05))
        left_behind += len(_temporaries(tmp_path))
        HistoryStore(str(tmp_path)).write(FOLDER, NAME, b"A" * SIZE)
        assert _temporaries(tmp_path) == []
        assert _check_whole(tmp_path)
    assert left_behind > 0, "no kill came in the middle of a write"


STOPPED_WRITER = f"""
import os, signal, sys
from aether_dagster.snapshot import HistoryStore
store = HistoryStore(sys.argv[1])
real = os.fsync
def stop(descriptor):
    os.kill(os.getpid(), signal.SIGSTOP)
    real(descriptor)
os.fsync = stop
store.write({FOLDER!r}, {NAME!r}, b"B" * {SIZE})
"""


def test_the_temporary_file_of_a_writer_which_lives_is_left_alone(tmp_path: Path) -> None:
    HistoryStore(str(tmp_path)).create(FOLDER)
    with _process(STOPPED_WRITER, tmp_path) as slow:
        os.waitid(os.P_PID, slow.pid, os.WSTOPPED | os.WNOWAIT)
        (temporary,) = _temporaries(tmp_path)
        HistoryStore(str(tmp_path)).write(FOLDER, NAME, b"A" * SIZE)
        assert _temporaries(tmp_path) == [temporary]
        while slow.poll() is None:
            slow.send_signal(signal.SIGCONT)
            time.sleep(0.01)
    assert slow.returncode == 0
    assert (tmp_path / FOLDER / NAME).read_bytes() == b"B" * SIZE
    assert _temporaries(tmp_path) == []


def test_other_files_in_the_history_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.tmp").write_text("mine")
    HistoryStore(str(tmp_path)).create(FOLDER)
    assert _temporaries(tmp_path) == ["notes.tmp"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small disk needs root")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_is_an_error_which_says_so_and_leaves_nothing(small_disk: Path) -> None:
    store = HistoryStore(str(small_disk))
    store.create(FOLDER)
    store.write(FOLDER, "state_init.json", b"{}\n")
    with pytest.raises(SnapshotError) as caught:
        store.write(FOLDER, NAME, b"A" * SIZE)
    assert f"{small_disk}/{FOLDER}/{NAME}" in str(caught.value)
    assert "disk is full: free some space" in str(caught.value)
    assert store.names(FOLDER) == ["state_init.json"]
    assert _temporaries(small_disk) == []


def test_of_files_written_together_the_first_are_there_when_one_cannot_be(tmp_path: Path) -> None:
    store = HistoryStore(str(tmp_path))
    store.create(FOLDER)
    (tmp_path / FOLDER / "state_final.json").mkdir()
    files = [("state_init.json", b"{}"), ("state_final.json", b"{}"), (NAME, b"A" * SIZE)]
    with pytest.raises(SnapshotError, match=r"state_final\.json cannot be written"):
        store.write_all(FOLDER, files)
    (tmp_path / FOLDER / "state_final.json").rmdir()
    assert store.names(FOLDER) == ["state_init.json"]
    assert _temporaries(tmp_path) == []
    store.write_all(FOLDER, files)
    assert {name: store.read(FOLDER, name) for name in store.names(FOLDER)} == dict(files)


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_files_of_one_content_are_one_on_the_disk_where_it_can_be_and_each_is_replaced_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "this file system knows no links")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    store = HistoryStore(str(tmp_path))
    store.create(FOLDER)
    names = ["state_node_a_01H3XYZ9_attempt1.json", "state_node_a_01H3XYZ9_final.json"]
    store.write_all(FOLDER, [(names[0], b"A"), ("state_init.json", b"B"), (names[1], b"A")])
    first, second = (tmp_path / FOLDER / name for name in names)
    assert first.read_bytes() == second.read_bytes() == b"A"
    assert first.samefile(second) is links
    assert _temporaries(tmp_path) == []
    store.write(FOLDER, names[1], b"C")
    assert (first.read_bytes(), second.read_bytes()) == (b"A", b"C")


def test_a_folder_which_may_not_be_written_is_an_error_which_says_so(tmp_path: Path) -> None:
    HistoryStore(str(tmp_path)).create(FOLDER)
    if os.geteuid() == 0:
        # Root may write anywhere but on a file system which is mounted read-only.
        mount = ["mount", "--bind", "-o", "ro", str(tmp_path), str(tmp_path)]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("this root may not mount")
        expected = "the file system is read-only: choose another --state-history"
    else:
        tmp_path.chmod(0o500)
        expected = "permission is denied"
    try:
        with pytest.raises(SnapshotError) as caught:
            HistoryStore(str(tmp_path)).write(FOLDER, NAME, b"")
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", str(tmp_path)], check=True)
        else:
            tmp_path.chmod(0o700)
    assert f"{tmp_path}/{FOLDER}/{NAME}" in str(caught.value)
    assert expected in str(caught.value)


def test_a_history_below_a_file_is_an_error_which_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SnapshotError, match="a part of the path is not a folder"):
        HistoryStore(str(tmp_path / "file" / "executions")).create(FOLDER)
