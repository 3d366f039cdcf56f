"""Reconciliation: executions come to their true end, whoever saw what of them (spec 1.5, 7)."""

import json
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aether_dagster.journal import ExecutionRecord, Journal, Version
from aether_dagster.manager.identity import own_identity
from aether_dagster.orchestration.evidence import evidence_deltas, read_log
from aether_dagster.orchestration.reconcile import Reconciler
from aether_dagster.script import parse_document
from aether_dagster.snapshot import Projection
from aether_dagster.state import Delta, Replica
from aether_dagster.state.document import canonical_bytes
from tests.journals import journal_url
from tests.orchestration.scenarios import Opened, Place, Places, interrupt, kill

RECORDINGS = {
    "success": """
    - {id: one, type: core/echo, args: {message: one}}
    - {id: two, type: core/echo, args: {message: "${steps.one.output}"}}
""",
    "retries": """
    - id: twice
      type: python/call
      args: {callable: "jobs:twice", marker: try}
      retries: 3
      retry: {delay: 0.05}
    - {id: after, type: core/echo, args: {message: "${steps.twice.output.tries}"}}
""",
    "upstream": """
    - id: boom
      type: python/call
      args: {callable: "jobs:boom"}
      retries: 1
      retry: {delay: 0.05}
    - {id: below, type: core/echo, args: {message: "${steps.boom.output}"}}
    - {id: far, type: core/echo, args: {message: "${steps.below.output}"}}
    - {id: slow, type: core/sleep, args: {seconds: 30}, timeout: 0.3}
    - {id: apart, type: core/echo, args: {message: apart}}
    - {id: unresolved, type: core/echo, args: {message: "${steps.apart.output[9]}"}}
""",
    "cancel": """
    - {id: done, type: core/echo, args: {message: x}}
    - {id: runs, type: python/call, args: {callable: "jobs:wait"}, retries: 2, dependsOn: [done]}
    - {id: next, type: core/echo, args: {message: x}, dependsOn: [runs]}
""",
    "killed child": """
    - {id: dies, type: python/call, args: {callable: "jobs:die"}}
    - id: dies-once
      type: python/call
      args: {callable: "jobs:die_once", marker: died}
      retries: 1
      retry: {delay: 0}
    - {id: below, type: core/echo, args: {message: "${steps.dies.output}"}}
""",
    "killed run": """
    - {id: done, type: core/echo, args: {message: x}}
    - id: flaky
      type: python/call
      args: {callable: "jobs:twice", marker: try}
      retries: 1
      retry: {delay: 300}
    - {id: runs, type: python/call, args: {callable: "jobs:wait"}, dependsOn: [done]}
    - {id: below, type: core/echo, args: {message: "${steps.runs.output}"}}
    - {id: last, type: core/echo, args: {message: x}, dependsOn: [below, flaky]}
""",
    "resources": """
    - {id: ask, type: sql/query, args: {connector: store, query: select 1}}
    - {id: apart, type: core/echo, args: {message: x}}
""",
}
CONNECTOR = 'connectors: {store: {type: sql, url: "${NO_SUCH_VARIABLE}"}}\n'
ENDS = {"cancel": interrupt, "killed run": kill}


@dataclass
class Recording:
    """A real run: what Dagster logged of it, and what its live writers committed."""

    name: str
    place: Place
    record: ExecutionRecord
    versions: list[Version]
    evidence: list[Delta]

    @property
    def live(self) -> list[Delta]:
        return [delta for version in self.versions for delta in version.deltas]

    @property
    def initialization(self) -> Delta:
        return self.live[0]


def fold(deltas: Sequence[Delta]) -> Replica:
    replica = Replica()
    for delta in deltas:
        replica.apply(delta)
    return replica


def state(deltas: Sequence[Delta]) -> bytes:
    return canonical_bytes(fold(deltas).document())


@pytest.fixture(scope="module")
def recordings(places: Places) -> dict[str, Recording]:
    begun: dict[str, Any] = {}
    for name in sorted(RECORDINGS, key="killed child".__ne__):  # the slowest first
        place = places(RECORDINGS[name], CONNECTOR if name == "resources" else "")
        begun[name] = (place, place.start(workers=2 if name == "killed child" else 1))
    for name, end in ENDS.items():
        end(*begun[name])
    return {name: _recorded(name, *begun[name]) for name in RECORDINGS}


def _recorded(name: str, place: Place, child: Any) -> Recording:
    child.end()
    with place.opened() as opened:
        list(opened.reconciler.reconcile_all())
        record = opened.record()
        assert record.finalized is not None
        evidence = _evidence(opened, record)
        versions = opened.journal.versions(record.pipeline_id)
    return Recording(name, place, record, versions, evidence)


def _evidence(opened: Opened, record: ExecutionRecord) -> list[Delta]:
    log = read_log(opened.instance, opened.run(), parse_document(json.dumps(record.document)))
    return evidence_deltas(log.records, log.steps, record.pipeline_id)


@pytest.fixture(params=RECORDINGS)
def recording(request: pytest.FixtureRequest, recordings: dict[str, Recording]) -> Recording:
    return recordings[request.param]


def begin_again(journal: Journal, recording: Recording) -> str:
    """The execution as it was when it had just begun; nobody keeps it."""
    record = recording.record
    started = recording.versions[0].deltas[0].pipeline
    assert started is not None
    again = journal.reserve(
        record.run_id,
        record.pipeline,
        now_ms=int(record.created_at * 1000),
        config_hash=record.config_hash,
        document=record.document or {},
    )
    assert again.pipeline_id == record.pipeline_id
    journal.annotate(again.pipeline_id, resolved=record.resolved)
    journal.append(again.pipeline_id, [recording.initialization])
    return again.pipeline_id


def verdicts(document: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """What reconciliation alone must know of each node."""
    return {
        name: (
            node["status"],
            node["retry_count"],
            node["error"] and (node["error"]["type"], node["error"]["attempt"]),
        )
        for name, node in document["nodes"].items()
    }


EXPECTED = {
    "success": {"one": ("succeeded", 0, None), "two": ("succeeded", 0, None)},
    "retries": {"twice": ("succeeded", 2, None), "after": ("succeeded", 0, None)},
    "upstream": {
        "boom": ("failed", 1, ("ValueError", 2)),
        "below": ("pending", 0, ("UpstreamFailed", 0)),
        "far": ("pending", 0, ("UpstreamFailed", 0)),
        "slow": ("failed", 0, ("Timeout", 1)),
        "apart": ("succeeded", 0, None),
        "unresolved": ("failed", 0, ("UnresolvedReference", 1)),
    },
    "cancel": {
        "done": ("succeeded", 0, None),
        "runs": ("failed", 0, ("Cancelled", 1)),
        "next": ("pending", 0, ("Cancelled", 0)),
    },
    "killed child": {
        "dies": ("failed", 0, ("WorkerLost", 1)),
        "dies-once": ("succeeded", 1, None),
        "below": ("pending", 0, ("UpstreamFailed", 0)),
    },
    "killed run": {
        "done": ("succeeded", 0, None),
        "flaky": ("failed", 0, ("ConnectionError", 1)),
        "runs": ("failed", 0, ("WorkerLost", 1)),
        "below": ("pending", 0, ("UpstreamFailed", 0)),
        "last": ("pending", 0, ("UpstreamFailed", 0)),
    },
    "resources": {
        "ask": ("pending", 0, ("ResourceFailed", 0)),
        "apart": ("pending", 0, ("ResourceFailed", 0)),
    },
}


def test_the_live_writers_tell_how_each_node_ended(recording: Recording) -> None:
    assert verdicts(fold(recording.live).document()) == EXPECTED[recording.name]
    recording.place.left().check()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_events_in_any_order_and_number_give_the_same_state(
    recording: Recording, data: st.DataObject
) -> None:
    alone = [recording.initialization, *recording.evidence]
    joined = [*recording.live, *recording.evidence]
    for deltas in (alone, joined):
        twice = data.draw(st.lists(st.sampled_from(deltas)))
        assert state(data.draw(st.permutations(deltas + twice))) == state(deltas)


def test_joined_with_what_the_live_writers_said_events_change_nothing(
    recording: Recording,
) -> None:
    replica = fold(recording.live)
    events = recording.evidence * 2
    random.Random(7).shuffle(events)
    assert [replica.apply(event) for event in events] == [frozenset()] * len(events)


def test_reconciliation_alone_agrees_with_the_live_writers(
    recording: Recording, tmp_path: Path
) -> None:
    with (
        recording.place.opened() as opened,
        Journal.open(journal_url(tmp_path, "new.db")) as journal,
    ):
        pipeline_id = begin_again(journal, recording)
        reconciler = Reconciler(opened.instance, journal, opened.values)
        result = reconciler.reconcile(pipeline_id)
        assert verdicts(journal.state(pipeline_id)) == EXPECTED[recording.name]
        live = fold(recording.live).report or {}
        assert (result.verdict, result.status) == ("ended", live["status"])
        report = journal.replica(pipeline_id).report or {}
        for member in ("status", "nodes", "retries", "failed"):
            assert report[member] == live[member]
        assert reconciler.reconcile(pipeline_id).verdict == "already"


def test_an_execution_which_has_ended_is_left_as_it_is(recording: Recording) -> None:
    with recording.place.opened() as opened:
        before = opened.journal.versions(recording.record.pipeline_id)
        result = opened.reconciler.reconcile(recording.record.pipeline_id)
        assert result.verdict == "already"
        assert list(opened.reconciler.reconcile_all()) == []
        assert opened.journal.versions(recording.record.pipeline_id) == before


def test_two_writers_with_half_of_the_events_each_and_all_twice(
    recording: Recording, tmp_path: Path
) -> None:
    events = [*recording.live[1:-1], *recording.evidence]
    random.Random(1).shuffle(events)
    half = len(events) // 2
    url = journal_url(tmp_path, "a.db")
    with Journal.open(url) as one, Journal.open(url) as other:
        pipeline_id = begin_again(one, recording)
        for first, second in zip(events[:half] * 2, reversed(events[half:] * 2), strict=False):
            one.append(pipeline_id, [first])
            other.append(pipeline_id, [second])
        one.append(pipeline_id, events)
        found = other.state(pipeline_id)
    assert canonical_bytes(found) == state([recording.initialization, *events])


def test_two_processes_with_half_of_the_events_each(
    recordings: dict[str, Recording], places: Places, tmp_path: Path
) -> None:
    recording = recordings["upstream"]
    url = journal_url(tmp_path, "b.db")
    with Journal.open(url) as journal:
        pipeline_id = begin_again(journal, recording)
        events = [delta.to_json() for delta in (*recording.live[1:-1], *recording.evidence)]
        halves = [events[: len(events) // 2], events[len(events) // 2 :]]
        children = [
            places.zygote.start(
                tmp_path, "deliver", journal=url, execution=pipeline_id, deltas=half, seed=seed
            )
            for seed, half in enumerate(halves)
        ]
        for child in children:
            assert child.end() == {}
        deltas = [Delta.from_json(event) for event in events]
        assert canonical_bytes(journal.state(pipeline_id)) == state(
            [recording.initialization, *deltas]
        )


STEPS = """
    - {id: first, type: core/echo, args: {message: one}}
    - id: flaky
      type: python/call
      args: {callable: "jobs:twice", marker: try}
      retries: 1
      retry: {delay: 0.1}
      dependsOn: [first]
    - {id: last, type: core/echo, args: {message: "${steps.flaky.output}"}}
"""
LOST = ("pending", 0, ("WorkerLost", 0))
DONE = ("succeeded", 0, None)
UPSTREAM = ("pending", 0, ("UpstreamFailed", 0))
DEATHS = {
    "initialized": {"first": LOST, "flaky": LOST, "last": LOST},
    "between steps": {"first": DONE, "flaky": LOST, "last": LOST},
    "retrying": {"first": DONE, "flaky": ("failed", 0, ("ConnectionError", 1)), "last": UPSTREAM},
    "nodes ended": {
        "first": DONE,
        "flaky": ("failed", 1, ("ConnectionError", 2)),
        "last": UPSTREAM,
    },
}


def expected_files(versions: Sequence[Version]) -> dict[str, bytes]:
    projection = Projection()
    return {
        file.name: file.data
        for version in versions
        if not version.late
        for file in projection.fold(version.number, version.deltas)
    }


def check_files(place: Place) -> None:
    """The folder holds what the run itself would have written of these versions."""
    left = place.left()
    files = {file.name: file.read_bytes() for file in left.folder.iterdir()}
    assert files == expected_files(left.versions)


@pytest.mark.parametrize(
    ("death", "history"), [*((death, True) for death in DEATHS), ("retrying", False)]
)
def test_a_killed_run_is_brought_to_its_true_end(death: str, history: bool, places: Places) -> None:
    place = places(STEPS)
    assert place.start(death=death, history=history).end() is None
    with place.opened() as opened:
        assert opened.run().status == dg.DagsterRunStatus.STARTED
        assert opened.record().finalized is None
        (result,) = opened.reconciler.reconcile_all()
        assert (result.verdict, result.status) == ("ended", "failed")
        assert opened.run().status == dg.DagsterRunStatus.FAILURE
        assert opened.journal.lease(result.pipeline_id) is None
    left = place.left()
    assert verdicts(left.state) == DEATHS[death]
    left.check(history=history)
    if history:
        check_files(place)


def test_a_run_killed_after_it_was_finalized_gets_its_last_files(places: Places) -> None:
    place = places(STEPS)
    assert place.start(death="finalized").end() is None
    with place.opened() as opened:
        before = opened.record()
        assert before.finalized is not None
        assert not (Path(str(before.history)) / "state_final.json").exists()
        (result,) = opened.reconciler.reconcile_all()
        assert (result.verdict, result.status) == ("ended", before.status)
        assert opened.record() == before, "no new version"
        assert opened.run().status == dg.DagsterRunStatus.FAILURE
        assert list(opened.reconciler.reconcile_all()) == []
    check_files(place)
    place.left().check()


@pytest.mark.parametrize("death", ["reserved", "folder made"])
def test_a_run_killed_before_it_began_leaves_nothing(death: str, places: Places) -> None:
    place = places(STEPS)
    assert place.start(death=death).end() is None
    with place.opened() as opened:
        record = opened.record()
        assert record.head == 0
        (result,) = opened.reconciler.reconcile_all()
        assert (result.pipeline_id, result.verdict) == (record.pipeline_id, "removed")
        assert opened.journal.executions() == []
        assert opened.run().status == dg.DagsterRunStatus.FAILURE
    history = place.directory / "executions"
    assert not history.exists() or list(history.iterdir()) == []


@pytest.mark.parametrize("death", ["told", "joined", "nodes ended", "files", "last file"])
def test_a_reconciliation_which_is_killed_is_done_by_the_next(death: str, places: Places) -> None:
    place = places(STEPS)
    place.start(death="retrying").end()
    assert place.start("recover", death=death).end() is None
    with place.opened() as opened:
        (result,) = opened.reconciler.reconcile_all()
        assert (result.verdict, result.status) == ("ended", "failed")
        assert list(opened.reconciler.reconcile_all()) == []
    left = place.left()
    assert verdicts(left.state) == DEATHS["retrying"]
    left.check()
    check_files(place)


def test_what_ran_before_the_machine_was_restarted_is_brought_to_its_end(places: Places) -> None:
    place = places("""
    - {id: runs, type: python/call, args: {callable: "jobs:wait"}}
    - {id: next, type: core/echo, args: {message: "${steps.runs.output}"}}
""")
    child = place.start()
    kill(place, child)
    child.end()
    # The process of another boot had an id which a living process has now, and its lease lasts.
    holder = json.dumps({**json.loads(own_identity()), "boot": "the one before"})
    with place.opened() as opened:
        pipeline_id = opened.record().pipeline_id
        lease = opened.journal.lease(pipeline_id)
        assert lease is not None
        assert opened.journal.release(pipeline_id, lease.holder)
        assert opened.journal.acquire(pipeline_id, holder, 600)
        assert opened.run().status == dg.DagsterRunStatus.STARTED
    status = place.start("recover").end()["exit"]
    assert status == 0
    with place.opened() as opened:
        assert opened.run().status == dg.DagsterRunStatus.FAILURE
    left = place.left()
    assert verdicts(left.state) == {"runs": ("failed", 0, ("WorkerLost", 1)), "next": UPSTREAM}
    left.check()
    check_files(place)


def test_a_stopped_process_is_not_taken_for_dead(places: Places) -> None:
    place = places("""
    - {id: runs, type: python/call, args: {callable: "jobs:wait"}}
    - {id: next, type: core/echo, args: {message: "${steps.runs.output}"}}
""")
    child = place.start(lease=0.5)
    place.wait_for("waiting", child)
    child.signal(signal.SIGSTOP)
    with place.opened() as opened:
        pipeline_id = opened.record().pipeline_id
        lease = opened.journal.lease(pipeline_id)
        assert lease is not None
        time.sleep(max(0.0, lease.expires - time.time()) + 0.1)
        before = opened.journal.versions(pipeline_id)
        for force in (False, True):
            (result,) = opened.reconciler.reconcile_all(force=force)
            assert result.verdict == "alive"
            assert "stopped" in result.reason
        assert opened.journal.versions(pipeline_id) == before
        assert opened.run().status == dg.DagsterRunStatus.STARTED
    child.signal(signal.SIGCONT)
    (place.directory / "go").touch()
    assert child.end() == {"status": "succeeded"}
    place.left().check()


@pytest.mark.parametrize(
    ("executor", "call", "error"),
    [
        pytest.param("foreign", "boom", "ValueError", id="a step failed"),
        pytest.param("parallel", "die", "WorkerLost", id="a step's process was killed"),
    ],
)
def test_under_an_executor_which_is_not_ours_reconciliation_finalizes(
    executor: str, call: str, error: str, places: Places
) -> None:
    place = places(f"""
    - {{id: one, type: core/echo, args: {{message: [1, 2]}}}}
    - {{id: fails, type: python/call, args: {{callable: "jobs:{call}"}}, dependsOn: [one]}}
    - {{id: below, type: core/echo, args: {{message: "${{steps.fails.output}}"}}}}
""")
    assert place.start(executor).end() == {}
    with place.opened() as opened:
        assert opened.record().finalized is None
        (result,) = opened.reconciler.reconcile_all()
        assert (result.verdict, result.status) == ("ended", "failed")
    left = place.left()
    assert verdicts(left.state) == {
        "one": DONE,
        "fails": ("failed", 0, (error, 1)),
        "below": UPSTREAM,
    }
    assert left.nodes["one"]["output_payload"] == [1, 2]
    left.check()
    check_files(place)


def test_a_run_under_an_executor_which_is_not_ours_is_left_alone_while_it_runs(
    places: Places,
) -> None:
    place = places("""
    - {id: runs, type: python/call, args: {callable: "jobs:wait"}}
""")
    child = place.start("foreign")
    place.wait_for("waiting", child)
    with place.opened() as opened:
        (result,) = opened.reconciler.reconcile_all(force=True)
        assert result.verdict == "alive"
        child.signal(signal.SIGKILL)
        child.end()
        (result,) = opened.reconciler.reconcile_all()
        assert result.verdict == "unproven", "the run's own process may be another one"
        assert "--force" in result.reason
        (result,) = opened.reconciler.reconcile_all(force=True)
        assert (result.verdict, result.status) == ("ended", "failed")
    left = place.left()
    assert verdicts(left.state) == {"runs": ("failed", 0, ("WorkerLost", 1))}
    left.check()


def test_a_clock_which_is_set_back_changes_neither_order_nor_state(places: Places) -> None:
    place = places(STEPS.replace("retries: 1", "retries: 2"))
    assert place.start(clock=True).end() == {"status": "succeeded"}
    left = place.left()
    assert verdicts(left.state) == {
        "first": DONE,
        "flaky": ("succeeded", 2, None),
        "last": DONE,
    }
    assert left.nodes["last"]["output_payload"] == {"tries": 3}
    times = [version.committed_at for version in left.versions]
    assert times == sorted(times)
    assert min(node["execution_time"] for node in left.nodes.values()) >= 0
    assert left.report["duration"] >= 0
    left.check()
    with place.opened() as opened:
        record = opened.record()
        events = _evidence(opened, record)
        replica = fold([delta for version in left.versions for delta in version.deltas])
        assert {replica.apply(event) for event in events} == {frozenset()}
        logged = [
            evidence.time
            for event in events
            for node in event.nodes.values()
            for evidence in node.evidence.values()
        ]
        assert max(logged) - min(logged) > 3000, "Dagster's log does hold the clock's jump"
