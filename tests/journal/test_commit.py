import math
import threading
from itertools import chain

import pytest

from aether_dagster.errors import JournalError, UnknownExecution
from aether_dagster.journal import Journal
from aether_dagster.state import Authority, Delta
from aether_dagster.state.document import canonical_bytes
from tests.journal.actor import actors
from tests.journal.builders import artifact, outcome, report, reserve

HOUR = 3_600_000


def numbers(journal: Journal, execution: str) -> list[int]:
    return [version.number for version in journal.versions(execution)]


def test_versions_count_from_one_without_gaps_each_execution_for_itself(journal: Journal) -> None:
    a, b = reserve(journal).pipeline_id, reserve(journal).pipeline_id
    assert journal.append(a, [artifact("1", "x", "1")]) == 1
    assert journal.append(b, [artifact("1", "x", "1")]) == 1
    assert journal.append(a, [artifact("2", "x", "2")]) == 2
    assert (numbers(journal, a), numbers(journal, b)) == ([1, 2], [1])
    assert [v.number for v in journal.versions(a, after=1)] == [2]
    assert [v.number for v in journal.versions(a, upto=1)] == [1]


def test_deltas_of_one_call_are_one_version_and_come_back_as_they_were(
    journal: Journal, execution: str
) -> None:
    deltas = [
        outcome("s", "load", 1, "executing"),
        artifact("☃", 'ü"\\\x00\n😀', "\ud800 lone"),
        Delta("own clock", Authority.RECONCILIATION, actor="dagster", clock=977),
    ]
    version = journal.append(execution, deltas)
    (read,) = journal.versions(execution, after=1)
    assert (read.number, read.pipeline_id, read.late) == (version, execution, False)
    assert list(read.deltas) == [delta.at(version) for delta in deltas]
    assert read.deltas[2].clock == 977


def test_a_delta_which_is_there_already_adds_no_version(journal: Journal, execution: str) -> None:
    first = journal.append(execution, [artifact("a", "x", "1")])
    assert journal.append(execution, [artifact("a", "x", "1")]) == first
    assert journal.append(execution, []) == first
    assert journal.append(execution, [artifact("a", "x", "1"), artifact("b", "y", "2")]) == 3
    assert [delta.id for delta in journal.versions(execution)[-1].deltas] == ["b"]
    assert journal.append(execution, [artifact("c", "z", "3")] * 2) == 4
    assert len(journal.versions(execution)[-1].deltas) == 1


def test_processes_which_append_at_once_leave_no_gap_and_lose_nothing(
    journal_url: str, journal: Journal, execution: str
) -> None:
    with actors(journal_url, 3) as several:
        for number, actor in enumerate(several):
            actor._connection.send(("append_many", execution, f"n{number}-", 60))
        given = []
        for actor in several:
            assert actor._connection.poll(60)
            given.append(actor._connection.recv())
    assert sorted(chain(*given)) == list(range(2, 182))
    assert all(versions == sorted(versions) for versions in given)
    assert numbers(journal, execution) == list(range(1, 182))


def test_threads_share_one_journal(journal: Journal, execution: str) -> None:
    def append(name: str) -> None:
        for i in range(30):
            journal.append(execution, [artifact(f"{name}{i}", name, str(i))])
            assert journal.state(execution)["context"]["artifacts"][name] == str(i)

    threads = [threading.Thread(target=append, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert numbers(journal, execution) == list(range(1, 122))
    assert journal.state(execution)["context"]["artifacts"] == dict.fromkeys("abcd", "29")


def test_a_clock_set_back_changes_neither_order_nor_state(journal: Journal) -> None:
    states = []
    for step in (1, -HOUR):
        execution = reserve(journal).pipeline_id
        for i, at in enumerate([HOUR * 9, HOUR * 9 + step, HOUR * 9 + 2 * step]):
            journal.append(execution, [artifact(f"d{i}", "x", str(i))], now_ms=at)
        versions = journal.versions(execution)
        times = [version.committed_at for version in versions]
        assert times == sorted(times)
        assert times[0] == 9 * 3600
        states.append(canonical_bytes(journal.state(execution)))
    assert states[0] == states[1]
    assert b'"x":"2"' in states[0]


def test_what_comes_after_the_finalization_is_kept_and_changes_nothing(
    journal: Journal, execution: str
) -> None:
    final = journal.append(execution, [report()])
    state = canonical_bytes(journal.state(execution))
    assert journal.append(execution, [outcome("zombie", "load", 1, "executing")]) == final + 1
    assert journal.append(execution, [report("failed")]) == final + 1
    second = Delta("other", Authority.RUN, report={**(report("failed").report or {})})
    assert journal.append(execution, [second]) == final + 2
    assert [version.late for version in journal.versions(execution)] == [False, False, True, True]
    assert canonical_bytes(journal.state(execution)) == state
    assert canonical_bytes(journal.state(execution, final)) == state
    assert (journal.replica(execution).report or {})["status"] == "succeeded"
    record = journal.record(execution)
    assert (record.status, record.finalized, record.head) == ("succeeded", final, final + 2)


def test_the_report_says_status_nodes_and_end_in_lists(journal: Journal, execution: str) -> None:
    journal.append(execution, [report("cancelled", end=1689876599.25)])
    (listed,) = journal.executions()
    assert (listed.status, listed.nodes) == ("cancelled", {"succeeded": 2})
    assert listed.ended_at == 1689876599.25


def test_the_summary_which_comes_with_a_commit_shows_in_lists(
    journal: Journal, execution: str
) -> None:
    assert journal.executions()[0].status == "executing"
    summary = {"status": "executing", "nodes": {"executing": 1, "pending": 1}}
    journal.append(execution, [outcome("s", "load", 1, "executing")], summary=summary)
    assert journal.executions()[0].nodes == summary["nodes"]
    journal.append(execution, [artifact("a", "x", "1")])
    assert journal.executions()[0].nodes == summary["nodes"]


@pytest.mark.parametrize("output", [math.nan, math.inf, b"bytes", {1, 2}])
def test_what_is_not_json_is_refused_whole(
    journal: Journal, execution: str, output: object
) -> None:
    deltas = [artifact("a", "x", "1"), outcome("s", "load", 1, "succeeded", output)]
    with pytest.raises(JournalError, match="Only JSON can be committed"):
        journal.append(execution, deltas)
    assert numbers(journal, execution) == [1]
    assert journal.append(execution, deltas[:1]) == 2


@pytest.mark.parametrize("pipeline_id", ["pipeline_00000000", "pipeline_x", "", "quakes"])
def test_an_unknown_execution_is_named_with_those_there_are(
    journal: Journal, execution: str, pipeline_id: str
) -> None:
    for call in (
        lambda: journal.append(pipeline_id, [artifact("a", "x", "1")]),
        lambda: journal.versions(pipeline_id),
        lambda: journal.state(pipeline_id),
        lambda: journal.record(pipeline_id),
        lambda: journal.acquire(pipeline_id, "me", 1),
        lambda: journal.tail(pipeline_id=pipeline_id, timeout=0),
    ):
        with pytest.raises(UnknownExecution, match=execution) as caught:
            call()
        assert caught.value.pipeline_id == pipeline_id
