import statistics
import threading
import time
from collections.abc import Callable

import pytest

from aether_dagster.errors import JournalError
from aether_dagster.journal import Journal, Version, commit
from aether_dagster.journal.text import unix_ms
from tests.journal.actor import actors
from tests.journal.builders import artifact, report, reserve

Place = tuple[str, int]


def places(versions: list[Version]) -> list[Place]:
    return [(version.pipeline_id, version.number) for version in versions]


def everything(journal: Journal, after: str | None = None) -> tuple[list[Version], str | None]:
    found: list[Version] = []
    while True:
        tail = journal.tail(after, timeout=0)
        if not tail.versions:
            assert tail.cursor == (after or tail.cursor)
            return found, tail.cursor
        found += tail.versions
        after = tail.cursor


def test_a_tail_gives_what_is_newer_than_its_cursor(journal: Journal) -> None:
    a, b = reserve(journal).pipeline_id, reserve(journal).pipeline_id
    for execution in (a, b, a):
        head = journal.record(execution).head
        journal.append(execution, [artifact(f"d{head}", "x", str(head))])
    found, cursor = everything(journal)
    assert sorted(places(found)) == [(a, 1), (a, 2), (b, 1)]
    assert [version for version in found if version.pipeline_id == a] == journal.versions(a)
    journal.append(b, [artifact("new", "x", "1")])
    found, cursor = everything(journal, cursor)
    assert places(found) == [(b, 2)]
    assert everything(journal, cursor)[0] == []


def test_nothing_new_gives_nothing_after_the_timeout_and_the_same_cursor(
    journal: Journal, execution: str
) -> None:
    cursor = journal.cursor()
    began = time.monotonic()
    tail = journal.tail(cursor, timeout=0.2)
    assert 0.2 <= time.monotonic() - began < 10
    assert (tail.versions, tail.cursor) == ([], cursor)
    of_one = journal.cursor(execution)
    assert journal.tail(of_one, 0, execution).cursor == of_one


def test_a_cursor_of_now_skips_what_is_there(journal: Journal, execution: str) -> None:
    cursors = journal.cursor(), journal.cursor(execution)
    journal.append(execution, [artifact("a", "x", "1")])
    assert places(journal.tail(cursors[0], 1).versions) == [(execution, 2)]
    assert places(journal.tail(cursors[1], 1, execution).versions) == [(execution, 2)]


def test_a_tail_of_one_execution_sees_no_other(journal: Journal, execution: str) -> None:
    other = reserve(journal).pipeline_id
    cursor = journal.tail(pipeline_id=execution, timeout=0).cursor
    journal.append(other, [artifact("a", "x", "1")])
    assert journal.tail(cursor, 0.1, execution).versions == []
    journal.append(execution, [artifact("a", "x", "1")])
    assert places(journal.tail(cursor, 1, execution).versions) == [(execution, 2)]


def test_late_versions_are_given_and_say_so(journal: Journal, execution: str) -> None:
    journal.append(execution, [report()])
    journal.append(execution, [artifact("zombie", "x", "1")])
    assert [v.late for v in everything(journal)[0]] == [False, False, True]


def test_more_than_fits_one_answer_comes_in_several(journal: Journal, execution: str) -> None:
    other = reserve(journal).pipeline_id
    for i in range(700):
        journal.append(execution, [artifact(f"d{i}", "x", str(i))])
        journal.append(other, [artifact(f"d{i}", "x", str(i))])
    first = journal.tail(timeout=0)
    assert len(first.versions) == 1000
    # What is committed between two answers comes as well.
    journal.append(other, [artifact("between", "x", "1")])
    rest, cursor = everything(journal, first.cursor)
    given = places(first.versions + rest)
    assert len(given) == len(set(given)) == 701 + 701
    for one in (execution, other):
        assert [n for e, n in given if e == one] == list(range(1, 702))
    assert everything(journal, cursor)[0] == []
    page = journal.tail(pipeline_id=execution, timeout=0)
    assert len(page.versions) == 701


@pytest.mark.postgres
def test_no_commit_is_missed_while_others_overtake_it(postgres_schema: str) -> None:
    with Journal.open(postgres_schema) as journal, Journal.open(postgres_schema) as other:
        a, b = reserve(journal).pipeline_id, reserve(journal).pipeline_id
        cursor = journal.cursor()
        with journal._database.writing() as session:
            head = commit.lock(session, a)
            commit.append(session, head, [artifact("slow", "x", "1")], now_ms=unix_ms())
            other.append(b, [artifact("fast", "x", "1")])
            found, after = everything(other, cursor)
            assert places(found) == [(b, 1)]
        found, after = everything(journal, after)
        assert places(found) == [(a, 1)]
        assert everything(journal, after)[0] == []


def test_what_several_processes_commit_is_all_given_in_order(
    journal_url: str, journal: Journal
) -> None:
    executions = [reserve(journal).pipeline_id for _ in range(3)]
    found: list[Version] = []
    cursor = None
    with actors(journal_url, 3) as several:
        for number, (actor, execution) in enumerate(zip(several, executions, strict=True)):
            actor._connection.send(("append_many", execution, f"n{number}-", 100))
        while len(found) < 300:
            tail = journal.tail(cursor, timeout=10)
            assert tail.versions, f"{len(found)} of 300 came"
            found, cursor = found + tail.versions, tail.cursor
        for actor in several:
            assert len(actor._connection.recv()) == 100
    for execution in executions:
        given = [version for version in found if version.pipeline_id == execution]
        assert given == journal.versions(execution)


def waits(journal: Journal, execution: str, commit_soon: Callable[[str], object]) -> float:
    """How long after a commit a waiting tail came back, in seconds."""
    cursor = journal.cursor()
    committed = commit_soon(f"wake-{cursor}")
    tail = journal.tail(cursor, timeout=10)
    now = time.monotonic()
    assert len(tail.versions) == 1
    return now - (committed() if callable(committed) else 0.0)


def test_a_commit_of_another_process_wakes_a_tail(
    journal_url: str, journal: Journal, execution: str
) -> None:
    with actors(journal_url, 1) as (actor,):

        def soon(delta_id: str) -> Callable[[], float]:
            actor._connection.send(("append_at", execution, delta_id, 0.05))
            return actor._connection.recv

        assert statistics.median(waits(journal, execution, soon) for _ in range(9)) < 0.1


def test_a_commit_of_another_thread_wakes_a_tail(journal: Journal, execution: str) -> None:
    def soon(delta_id: str) -> Callable[[], float]:
        times: list[float] = []

        def commit_it() -> None:
            time.sleep(0.05)
            journal.append(execution, [artifact(delta_id, "x", "1")])
            times.append(time.monotonic())

        thread = threading.Thread(target=commit_it)
        thread.start()

        def when() -> float:
            thread.join()
            return times[0]

        return when

    assert statistics.median(waits(journal, execution, soon) for _ in range(9)) < 0.1


def test_a_tail_ends_when_its_journal_is_closed(journal_url: str, execution: str) -> None:
    other = Journal.open(journal_url)
    cursor = other.cursor()
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(other.tail(cursor)))
    thread.start()
    time.sleep(0.1)
    other.close()
    thread.join(5)
    assert [getattr(answer, "versions", None) for answer in answers] == [[]]


def test_a_tail_which_was_given_up_ends_at_a_wake_up(
    journal: Journal, execution: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aether_dagster.journal.tail._POLL_SECONDS", 60.0)
    cursor, given_up, answers = journal.cursor(), threading.Event(), list[object]()

    def wait() -> None:
        answers.append(journal.tail(cursor, given_up=given_up.is_set))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    journal.wake()  # nobody gave it up yet, and there is nothing new
    time.sleep(0.1)
    assert thread.is_alive()
    given_up.set()
    journal.wake()
    thread.join(20)
    assert [getattr(answer, "versions", None) for answer in answers] == [[]]


@pytest.mark.parametrize("cursor", ["", "x1", "v1", "s", "p1:1:/x", "s1; DROP TABLE"])
def test_a_cursor_of_something_else_is_refused(
    journal: Journal, execution: str, cursor: str
) -> None:
    with pytest.raises(JournalError, match="is not a cursor of this tail"):
        journal.tail(cursor, timeout=0)
