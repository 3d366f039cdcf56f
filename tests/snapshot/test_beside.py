"""The files of a long run are written by a process beside it, and whatever becomes of that one."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from aether_dagster.errors import SnapshotError
from aether_dagster.snapshot import HistoryStore

FOLDER = "2023-07-20_133452_pipeline_01H3XYZ9"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HistoryStore]:
    store = HistoryStore(str(tmp_path), beside=True)
    store.create(FOLDER)
    yield store
    store.close()
    assert children() == []


def children() -> list[psutil.Process]:
    return [c for c in psutil.Process().children() if "snapshot.beside" in " ".join(c.cmdline())]


def write(store: HistoryStore, first: int, count: int) -> None:
    """Writes files of two names each, in batches, as a run does."""
    for number in range(first, first + count, 4):
        batch = range(number, min(number + 4, first + count))
        store.write_all(
            FOLDER,
            [(f"{n}_{kind}.json", b"%d" % n) for n in batch for kind in ("attempt1", "final")],
        )


def check(folder: Path, count: int) -> None:
    """Every file is there, whole, and nothing else is."""
    found = {path.name: path.read_bytes() for path in (folder / FOLDER).iterdir()}
    assert found == {
        f"{n}_{kind}.json": b"%d" % n for n in range(count) for kind in ("attempt1", "final")
    }
    assert [path.name for path in folder.iterdir()] == [FOLDER]


def test_a_few_files_are_written_by_the_run_itself(store: HistoryStore, tmp_path: Path) -> None:
    write(store, 0, 40)
    assert children() == []
    check(tmp_path, 40)


def test_many_are_written_by_a_process_which_ends_with_the_history(
    store: HistoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_PASSWORD", "hunter2")
    write(store, 0, 150)
    (child,) = children()
    check(tmp_path, 150)
    # What is typed at a terminal is for the run, and its secrets are, too.
    assert os.getsid(child.pid) != os.getsid(0)
    assert b"hunter2" not in Path(f"/proc/{child.pid}/environ").read_bytes()
    store.close()
    assert children() == []
    write(store, 150, 8)
    check(tmp_path, 158)


def test_where_the_process_is_killed_the_run_writes_on(store: HistoryStore, tmp_path: Path) -> None:
    write(store, 0, 100)
    (child,) = children()
    child.send_signal(signal.SIGKILL)
    write(store, 100, 60)
    assert children() == []
    check(tmp_path, 160)


def test_where_it_cannot_be_started_the_run_writes_itself(
    store: HistoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    write(store, 0, 120)
    check(tmp_path, 120)


def test_where_it_does_not_find_the_package_the_run_writes_itself(
    store: HistoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    write(store, 0, 120)
    check(tmp_path, 120)


def test_what_cannot_be_written_is_told_as_ever(store: HistoryStore, tmp_path: Path) -> None:
    write(store, 0, 100)
    for path in (tmp_path / FOLDER).iterdir():
        path.unlink()
    (tmp_path / FOLDER).rmdir()
    with pytest.raises(SnapshotError) as there:
        write(store, 100, 1)
    assert len(children()) == 1
    with pytest.raises(SnapshotError) as here:
        write(HistoryStore(str(tmp_path)), 100, 1)
    assert str(there.value) == str(here.value)
    assert "there is no such file or folder" in str(here.value)


def test_a_forked_process_leaves_its_parents_alone(store: HistoryStore, tmp_path: Path) -> None:
    write(store, 0, 100)
    child = os.fork()
    if child == 0:
        write(store, 100, 8)
        store.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert len(children()) == 1
    write(store, 108, 8)
    check(tmp_path, 116)
