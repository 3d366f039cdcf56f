import fcntl
import os
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aether_dagster.errors import JournalError
from aether_dagster.journal import Journal
from aether_dagster.journal.sqlite import _NEXT, FileLock
from tests.journal.builders import PLUGIN, X, artifact, initialization, reserve
from tests.journal.test_database import ended_well, fork

_NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder which other users may enter, with a journal in it."""
    path = Path(tempfile.mkdtemp(prefix="aether-journal-"))
    path.chmod(0o755)
    with Journal.open(path / "state.db") as journal:
        execution = reserve(journal, "run").pipeline_id
        journal.append(execution, [initialization(execution, "load")])
    yield path
    path.chmod(0o755)
    shutil.rmtree(path)


def as_somebody_else(folder: Path, work: object) -> bool:
    """Runs `work` in a process which may read the folder and write nothing in it."""
    for file in (folder, *folder.iterdir()):
        file.chmod(0o555 if file.is_dir() else 0o444)

    def child() -> None:
        if os.geteuid() == 0:
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
        with pytest.raises(OSError, match="Permission denied"):
            (folder / "mine").write_text("x")
        work()  # type: ignore[operator]

    return ended_well(fork(child))


def test_a_reader_needs_no_right_to_write(folder: Path) -> None:
    def read() -> None:
        with Journal.open(folder / "state.db", read_only=True) as reader:
            (execution,) = reader.executions()
            assert list(reader.state(execution.pipeline_id)["nodes"]) == ["load"]
            assert len(reader.tail(timeout=0).versions) == 1
            assert reader.tail(reader.cursor(), timeout=0.1).versions == []

    assert not (folder / "state.db-wal").exists()
    assert as_somebody_else(folder, read)


def test_a_reader_without_rights_sees_what_a_writer_commits(folder: Path) -> None:
    with Journal.open(folder / "state.db") as journal:
        (record,) = journal.executions()
        journal.append(record.pipeline_id, [artifact("a", "x", "1")])
        ready, told = os.pipe()

        def follow() -> None:
            with Journal.open(folder / "state.db", read_only=True) as reader:
                cursor = reader.cursor()
                os.write(told, b"1")
                tail = reader.tail(cursor, timeout=10)
                assert [version.number for version in tail.versions] == [3]

        def commit() -> None:
            os.read(ready, 1)
            journal.append(record.pipeline_id, [artifact("b", "x", "2")])

        thread = threading.Thread(target=commit)
        thread.start()
        assert as_somebody_else(folder, follow)
        thread.join()
        os.close(ready)
        os.close(told)


def test_a_read_only_journal_writes_nothing(folder: Path) -> None:
    before = (folder / "state.db").read_bytes()
    with Journal.open(folder / "state.db", read_only=True) as reader:
        (record,) = reader.executions()
        for write in (
            lambda: reader.append(record.pipeline_id, [artifact("a", "x", "1")]),
            lambda: reserve(reader),
            lambda: reader.acquire(record.pipeline_id, "me", 1),
            lambda: reader.prune([record.pipeline_id]),
            lambda: reader.transact(record.pipeline_id, lambda tx: tx.set(X, "1"), PLUGIN),
        ):
            with pytest.raises(JournalError, match="opened for reading only"):
                write()
        with reader.transaction(record.pipeline_id, PLUGIN) as tx:
            assert tx.get("nodes.load.status") == "pending"
    assert (folder / "state.db").read_bytes() == before
    assert not (folder / "state.db-wake").exists()


def test_it_waits_for_another_program_which_writes(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with Journal.open(path) as journal:
        execution = reserve(journal).pipeline_id
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")

        def end() -> None:
            time.sleep(0.3)
            other.execute("ROLLBACK")

        thread = threading.Thread(target=end)
        thread.start()
        began = time.monotonic()
        assert journal.append(execution, [artifact("a", "x", "1")]) == 1
        assert time.monotonic() - began > 0.2
        thread.join()
        other.close()


def test_two_journals_of_one_process_on_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "state.db") as one:
        execution = reserve(one).pipeline_id
        two = Journal.open(f"sqlite:///{tmp_path}/../{tmp_path.name}/state.db")

        def append(journal: Journal, name: str) -> None:
            for i in range(50):
                journal.append(execution, [artifact(f"{name}{i}", name, "1")])

        threads = [threading.Thread(target=append, args=a) for a in ((one, "one"), (two, "two"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        two.close()
        append(one, "more")
        assert [v.number for v in one.versions(execution)] == list(range(1, 151))


def test_a_file_which_is_no_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("These are notes, and no database at all.\n" * 99)
    with pytest.raises(JournalError, match=r"notes\.txt cannot be used: file is not a database"):
        Journal.open(tmp_path / "notes.txt")
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal.open(tmp_path / "file" / "state.db")
    with pytest.raises(JournalError, match="no journal at"):
        Journal.open(tmp_path / "none.db", read_only=True)
    assert not (tmp_path / "none.db").exists()


def test_closing_leaves_one_file_for_others_to_copy(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "deep" / "er" / "state.db") as journal:
        execution = reserve(journal).pipeline_id
        journal.tail(timeout=0)
    assert not (tmp_path / "deep" / "er" / "state.db-wal").exists()
    assert list((tmp_path / "deep" / "er" / "state.db-wake").iterdir()) == []
    shutil.copy(tmp_path / "deep" / "er" / "state.db", tmp_path / "copy.db")
    with Journal.open(tmp_path / "copy.db") as copy:
        assert copy.record(execution).pipeline == "quakes"


def test_who_comes_back_at_once_lets_others_in_when_its_turn_is_over(tmp_path: Path) -> None:
    lock = FileLock.of(tmp_path / "lock")

    def child() -> None:
        with lock:
            (tmp_path / "let in").touch()

    with lock:
        pid = fork(child)
        while lock._try(_NEXT):
            fcntl.lockf(lock._descriptor, fcntl.LOCK_UN, 1, _NEXT)
            time.sleep(0.01)
    for _ in range(5):
        with lock:
            time.sleep(0.02)
    assert (tmp_path / "let in").exists()
    assert ended_well(pid)


def test_a_thread_which_was_interrupted_inside_is_let_in_again_and_others_after_it(
    tmp_path: Path,
) -> None:
    lock = FileLock.of(tmp_path / "lock")
    lock.__enter__()  # and the interrupt came before the block which would have left
    with lock:
        pass

    def other() -> None:
        with lock:
            (tmp_path / "let in").touch()

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    thread.join(60)
    assert (tmp_path / "let in").exists()
    pid = fork(other)
    assert ended_well(pid)
