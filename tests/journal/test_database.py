"""Processes: what a child has of its parent's journal, and how it goes on."""

import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from aether_dagster.errors import JournalError
from aether_dagster.journal import Journal
from tests.journal.builders import artifact, reserve


def fork(child: Callable[[], object]) -> int:
    with warnings.catch_warnings():
        # From Python 3.12 on, a fork beside threads is worth a warning; here it is the point.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    try:
        child()
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 - it may not go back into pytest
        os.write(2, f"child: {error!r}\n".encode())
        os._exit(1)


def ended_well(pid: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def open_files(path: Path) -> list[str]:
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except OSError:
            continue
    return [link for link in links if link.startswith(str(path)) and not link.endswith("-lock")]


def append(journal: Journal, execution: str, name: str, times: int) -> None:
    for i in range(times):
        journal.append(execution, [artifact(f"{name}-{i}", name, str(i))])


def test_parent_and_forked_child_go_on_with_one_journal(journal: Journal, execution: str) -> None:
    append(journal, execution, "before", 3)
    cursor = journal.cursor()
    children = []
    for number in range(3):

        def child(name: str = f"child{number}") -> None:
            append(journal, execution, name, 20)
            assert journal.tail(cursor, 5).versions
            journal.close()

        children.append(fork(child))
    append(journal, execution, "parent", 20)
    assert [ended_well(pid) for pid in children] == [True] * 3
    assert [v.number for v in journal.versions(execution)] == list(range(1, 85))


def test_a_forked_child_has_no_open_connection_of_its_parent(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "state.db") as journal:
        execution = reserve(journal).pipeline_id
        append(journal, execution, "before", 1)
        assert open_files(tmp_path)

        def child() -> None:
            assert open_files(tmp_path) == []
            append(journal, execution, "child", 1)
            assert open_files(tmp_path)

        assert ended_well(fork(child))
        append(journal, execution, "after", 1)
        assert journal.record(execution).head == 3


@pytest.mark.postgres
def test_a_forked_child_has_a_session_of_its_own(postgres_schema: str) -> None:
    with Journal.open(postgres_schema) as journal:

        def session() -> int:
            with journal._database.reading() as database:
                return database.sql("SELECT pg_backend_pid()").fetchone()[0]

        parents = session()

        def child() -> None:
            assert session() != parents
            journal.close()

        assert ended_well(fork(child))
        assert session() == parents


@pytest.mark.postgres
def test_a_child_which_lives_on_does_not_keep_its_parents_session_alive(
    postgres_schema: str,
) -> None:
    with Journal.open(postgres_schema) as journal:
        execution = reserve(journal).pipeline_id

        def killed() -> None:
            # It forks and dies inside a commit, the row of the execution locked.
            with journal._database.writing() as session:
                session.sql("SELECT 1 FROM aether_executions FOR UPDATE")
                if not os.fork():
                    time.sleep(20)
                    os._exit(0)
                os.kill(os.getpid(), 9)

        assert not ended_well(fork(killed))
        began = time.monotonic()
        append(journal, execution, "next", 1)
        assert time.monotonic() - began < 10


def test_forks_while_threads_commit(journal: Journal, execution: str) -> None:
    stop = threading.Event()
    counts = [0, 0]

    def busy(number: int) -> None:
        while not stop.is_set():
            name = f"thread{number}-{counts[number]}"
            journal.append(execution, [artifact(name, name[:7], "1")])
            counts[number] += 1

    threads = [threading.Thread(target=busy, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    forking = 0.0
    try:
        for number in range(8):

            def child(name: str = f"child{number}") -> None:
                append(journal, execution, name, 3)

            began = time.monotonic()
            pid = fork(child)
            forking += time.monotonic() - began
            assert ended_well(pid)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert min(counts) > 0
    assert forking < 10, "a fork had to wait until nobody wanted to commit"
    head = 1 + 8 * 3 + sum(counts)
    assert [v.number for v in journal.versions(execution)] == list(range(1, head + 1))


def test_a_child_forked_inside_a_transaction_may_begin_its_own(
    journal: Journal, execution: str
) -> None:
    def child() -> None:
        with journal.transaction(execution, "P@1.0.0") as mine:
            mine.set("context.artifacts.child", "1")

    with journal.transaction(execution, "P@1.0.0") as tx:
        tx.set("context.artifacts.parent", "1")
        assert ended_well(fork(child))
    assert journal.state(execution)["context"]["artifacts"] == {"child": "1", "parent": "1"}


def _spawned(url: str, execution: str) -> None:
    with Journal.open(url) as journal:
        append(journal, execution, "spawned", 5)


def test_a_spawned_process_opens_the_url(journal: Journal, execution: str) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=_spawned, args=(journal.url, execution)
    )
    process.start()
    append(journal, execution, "parent", 5)
    process.join()
    assert process.exitcode == 0
    assert journal.record(execution).head == 11


def test_what_is_closed_says_so(journal: Journal, execution: str) -> None:
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="is closed; open it again"):
        journal.state(execution)


def test_a_failure_inside_leaves_nothing_and_the_next_goes_on(
    journal: Journal, execution: str
) -> None:
    def fail(how: str) -> None:
        with journal._database.writing() as session:
            session.sql("UPDATE aether_executions SET head = 77")
            session.sql(how) if how else int("x")

    with pytest.raises(ValueError, match="invalid literal"):
        fail("")
    with pytest.raises(JournalError, match=r"cannot be used: .*no_such_column"):
        fail("SELECT no_such_column FROM aether_executions")
    assert journal.append(execution, [artifact("a", "x", "1")]) == 2
