import json
import time
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aether_dagster.errors import IllegalTransition
from aether_dagster.state import (
    Authority,
    Delta,
    Evidence,
    NodeDelta,
    Outcome,
    Replica,
    apply,
    check_transition,
)
from aether_dagster.state.checkpoint import checkpoint, restore
from aether_dagster.state.document import canonical_bytes
from aether_dagster.state.ids import delta_id
from aether_dagster.state.machine import RANK
from aether_dagster.state.mask import Path, select
from tests.state.laws import replica_of, shown
from tests.state.model import expected

PIPELINE = {
    "id": "pipeline_01H3XYZ9",
    "version": "2.1.0",
    "start_timestamp": 1689876543.212,
    "config_hash": "e3b0c44298fc1cd",
}
CONTEXT = {
    "environment_vars": {"B": "2", "A": "1"},
    "secret_store": None,
    "active_plugins": ["DataValidator@1.4.0"],
}
STEPS = ("extract", "load")
INIT = Delta(
    "init",
    Authority.RUN,
    clock=1,
    pipeline=PIPELINE,
    context=CONTEXT,
    nodes={
        name: NodeDelta(node_id=f"{name}_01H3XYZ{9 - i}", index=i) for i, name in enumerate(STEPS)
    },
)
places = st.integers(0, 2)
steps = st.sampled_from(STEPS)


class Client:
    """Someone who is sent the leaves which changed, and nothing else after the first frame."""

    def __init__(self, replica: Replica) -> None:
        self.state: dict[str, Any] = replica.document()
        self.pending: set[Path] = set()

    def receive(self, replica: Replica) -> None:
        mask, payload = select(replica.document(), self.pending)
        self.state = apply(self.state, mask, json.loads(json.dumps(payload)))
        self.pending.clear()


class Convergence(RuleBasedStateMachine):
    """Three replicas of one execution, each with a client, between a journal and its writers."""

    def __init__(self) -> None:
        super().__init__()
        self.journal: list[Delta] = []
        self.replicas = [Replica() for _ in range(3)]
        self.clients = [Client(replica) for replica in self.replicas]
        self.newest: list[dict[str, tuple[int, int]]] = [{} for _ in range(3)]
        self.events = 100

    @initialize()
    def begin(self) -> None:
        self.commit(INIT)

    def commit(self, delta: Delta) -> None:
        if all(known.id != delta.id for known in self.journal):
            self.journal.append(delta.at(len(self.journal) + 1))

    def deliver(self, place: int, delta: Delta) -> None:
        self.clients[place].pending |= self.replicas[place].apply(delta)

    def report(self, step: str, outcome: Outcome, authority: Authority) -> None:
        start = outcome.status == "executing"
        said = NodeDelta(
            outcome=outcome,
            has_input=start,
            input_payload={"attempt": outcome.attempt} if start else None,
            worker=f"w{outcome.attempt}" if start else None,
        )
        key = delta_id(PIPELINE["id"], step, outcome.attempt, outcome.status, int(authority))
        self.commit(Delta(key, authority, nodes={step: said}))

    @rule(
        place=places,
        step=steps,
        status=st.sampled_from(sorted(RANK)),
        grows=st.integers(0, 1),
        authority=st.sampled_from([Authority.RUN, Authority.STEP]),
    )
    def a_writer_goes_on_from_what_it_knows(
        self, place: int, step: str, status: str, grows: int, authority: Authority
    ) -> None:
        now = self.replicas[place].outcome(step)
        outcome = _outcome(now.attempt + grows, status)
        try:
            check_transition(step, now.status, now.attempt, status, outcome.attempt)
        except IllegalTransition:
            return
        self.report(step, outcome, authority)

    @rule(
        step=steps,
        attempt=st.integers(1, 3),
        status=st.sampled_from(["executing", "succeeded", "retrying", "failed"]),
        authority=st.sampled_from(Authority),
    )
    def a_zombie_of_an_old_attempt_reports_whatever_it_likes(
        self, step: str, attempt: int, status: str, authority: Authority
    ) -> None:
        if attempt < max(replica.outcome(step).attempt for replica in self.replicas):
            self.report(step, _outcome(attempt, status), authority)

    @rule(step=steps, kind=st.sampled_from(["start", "restart", "retry", "success", "failure"]))
    def dagster_logs_an_event(self, step: str, kind: Any) -> None:
        self.events += 1
        error = {"type": "E", "message": "m"} if kind in ("retry", "failure") else None
        event = Evidence(kind, error, self.events / 4)
        said = NodeDelta(evidence={self.events: event})
        self.commit(Delta(f"dagster-{self.events}", Authority.RECONCILIATION, nodes={step: said}))

    @rule(name=st.sampled_from(["raw", "a.b`*"]), value=st.none() | st.sampled_from(["/1", "/2"]))
    def a_plugin_writes_an_artifact(self, name: str, value: str | None) -> None:
        key = f"plugin-{len(self.journal)}"
        self.commit(Delta(key, Authority.RUN, actor="P@1.0.0", artifacts={name: value}))

    @rule(place=places, data=st.data(), count=st.integers(1, 8))
    def versions_arrive_in_any_order(self, place: int, data: st.DataObject, count: int) -> None:
        for delta in data.draw(st.lists(st.sampled_from(self.journal), max_size=count)):
            self.deliver(place, delta)

    @rule(here=places, there=places)
    def replicas_meet(self, here: int, there: int) -> None:
        changed = self.replicas[there].join(self.replicas[here])
        self.clients[there].pending |= changed

    @rule(place=places, acknowledged=st.booleans())
    def a_replica_crashes_and_is_restored(self, place: int, acknowledged: bool) -> None:
        written = json.dumps([delta.to_json() for delta in checkpoint(self.replicas[place])])
        restored = restore([Delta.from_json(d) for d in json.loads(written)], version=0)
        assert shown(restored) == shown(self.replicas[place])
        self.replicas[place] = restored
        if acknowledged:
            for delta in self.journal:
                self.deliver(place, Delta.from_json(json.loads(json.dumps(delta.to_json()))))

    @rule(place=places)
    def a_frame_reaches_the_client(self, place: int) -> None:
        client = self.clients[place]
        client.receive(self.replicas[place])
        wanted = self.replicas[place].document()
        assert canonical_bytes(client.state) == canonical_bytes(wanted)

    @invariant()
    def nothing_goes_back(self) -> None:
        for replica, newest in zip(self.replicas, self.newest, strict=True):
            for step in STEPS:
                now = replica.outcome(step)
                place = now.attempt, RANK[now.status]
                assert place >= newest.get(step, (0, 0))
                newest[step] = place

    @invariant()
    def records_are_whole(self) -> None:
        for replica in self.replicas:
            for step in replica.nodes():
                record = replica.node(step)
                ended_well = record["status"] == "succeeded"
                assert (record["output_payload"] is not None) <= ended_well
                assert (record["error"] is not None) <= (not ended_well)
                given = record["input_payload"]
                assert given is None or given["attempt"] == record["retry_count"] + 1

    def teardown(self) -> None:
        for place in range(3):
            for delta in self.journal if place else reversed(self.journal):
                self.deliver(place, delta)
            self.a_frame_reaches_the_client(place)
        ends = {json.dumps(replica.document()) for replica in self.replicas}
        assert len(ends) == 1
        assert json.loads(ends.pop()) == expected(self.journal)["document"]


def _outcome(attempt: int, status: str) -> Outcome:
    error = {"type": "E", "message": "m", "attempt": attempt}
    if status == "succeeded":
        return Outcome(attempt, status, {"rows": attempt}, None, 0.5)
    return Outcome(attempt, status, None, error if status in ("failed", "retrying") else None)


TestConvergence = Convergence.TestCase
TestConvergence.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


def test_the_document_has_its_members_in_the_documented_order() -> None:
    artifacts = Delta("a", Authority.STEP, clock=2, artifacts={"z": "/z", "a": "/a"})
    assert json.dumps(replica_of([artifacts, INIT]).document()) == json.dumps(
        {
            "pipeline": PIPELINE,
            "nodes": {
                "extract": {
                    "node_id": "extract_01H3XYZ9",
                    "status": "pending",
                    "input_payload": None,
                    "output_payload": None,
                    "error": None,
                    "retry_count": 0,
                    "execution_time": 0.0,
                },
                "load": {
                    "node_id": "load_01H3XYZ8",
                    "status": "pending",
                    "input_payload": None,
                    "output_payload": None,
                    "error": None,
                    "retry_count": 0,
                    "execution_time": 0.0,
                },
            },
            "context": {
                "environment_vars": {"A": "1", "B": "2"},
                "secret_store": None,
                "active_plugins": ["DataValidator@1.4.0"],
                "artifacts": {"a": "/a", "z": "/z"},
            },
        }
    )


def test_a_node_is_shown_once_it_is_declared() -> None:
    started = Delta(
        "s", Authority.STEP, clock=2, nodes={"load": NodeDelta(outcome=_outcome(1, "executing"))}
    )
    replica = Replica()
    assert replica.apply(started) == frozenset()
    assert (replica.nodes(), replica.initialized) == ([], False)
    assert replica.outcome("load").status == "executing"
    replica.apply(INIT)
    assert replica.node("load")["status"] == "executing"
    assert replica.initialized


def test_an_artifact_deleted_later_does_not_come_back() -> None:
    written = Delta("w", Authority.STEP, clock=2, artifacts={"raw": "/tmp/raw"})
    deleted = Delta("d", Authority.RUN, clock=3, actor="P@1.0.0", artifacts={"raw": None})
    for order in ([written, deleted], [deleted, written]):
        replica = replica_of(order)
        assert replica.artifact("raw") is None
        assert replica.artifacts() == {}


def test_a_report_knows_its_version_and_a_second_comes_too_late() -> None:
    first = Delta("f", Authority.RUN, clock=9, report={"status": "failed"})
    second = Delta("s", Authority.RUN, clock=10, report={"status": "cancelled"})
    for order in ([first, second], [second, first]):
        assert replica_of(order).report == {"status": "failed", "version": 9}


def test_a_worker_is_that_of_the_newest_attempt() -> None:
    def start(attempt: int, worker: str | None) -> Delta:
        said = NodeDelta(outcome=Outcome(attempt, "executing"), worker=worker)
        return Delta(f"s{attempt}", Authority.STEP, clock=attempt, nodes={"load": said})

    assert replica_of([start(1, "boot:7:1")]).worker("load") == "boot:7:1"
    assert replica_of([start(1, "boot:7:1"), start(2, None)]).worker("load") is None
    assert Replica().worker("load") is None


@pytest.mark.parametrize("order", [1, -1])
def test_declaring_and_reporting_cost_the_same_for_many_nodes_as_for_few(order: int) -> None:
    def seconds_per_node(count: int) -> float:
        indices = range(count)[::order]
        declared = [
            Delta(f"i{i}", Authority.RUN, clock=1, nodes={f"s{i}": NodeDelta(f"s{i}_1", i)})
            for i in indices
        ]
        started = [
            Delta(
                f"e{i}",
                Authority.STEP,
                clock=2,
                nodes={f"s{i}": NodeDelta(outcome=Outcome(1, "executing"))},
            )
            for i in indices
        ]
        replica = Replica()
        begin = time.perf_counter()
        for delta in declared + started:
            replica.apply(delta)
        assert replica.nodes() == [f"s{i}" for i in range(count)]
        return (time.perf_counter() - begin) / count

    few = min(seconds_per_node(250) for _ in range(5))
    many = min(seconds_per_node(8000) for _ in range(2))
    assert many < 6 * few
