import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings

from aether_dagster.state import Authority, Delta, Evidence, NodeDelta, Outcome, Replica
from tests.state.laws import LAWS, replica_of
from tests.state.strategies import Scenario, scenarios

ERROR = {"type": "ValueError", "message": "no", "attempt": 1, "traceback": "…"}


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(law: Callable[[Scenario], None]) -> None:
    @settings(max_examples=100, deadline=None)
    @given(scenarios())
    def holds(scenario: Scenario) -> None:
        law(scenario)

    holds()


def _conflicting() -> list[Delta]:
    """One node, two attempts, all three writers, a zombie, a false alarm, and its artifacts."""
    error = {"type": "ValueError", "message": "no", "attempt": 1}
    lost = {"type": "WorkerLost", "message": "gone", "attempt": 1}

    def said(key: str, authority: Authority, clock: int, node: NodeDelta) -> Delta:
        return Delta(key, authority, clock=clock, nodes={"a": node})

    def did(attempt: int, status: str, **more: object) -> NodeDelta:
        given = {"has_input": True, "input_payload": {"attempt": attempt}}
        worker = {"worker": f"w{attempt}"}
        return NodeDelta(
            outcome=Outcome(attempt, status, **more),
            **(given | worker if status == "executing" else {}),
        )

    step, run, late = Authority.STEP, Authority.RUN, Authority.RECONCILIATION
    return [
        said("init", run, 1, NodeDelta(node_id="a_01H3XZAB", index=0)),
        said("start1", step, 2, did(1, "executing")),
        said("retry1", step, 3, did(1, "retrying", error=error, execution_time=0.5)),
        said("start2", step, 4, did(2, "executing")),
        said("done2", step, 5, did(2, "succeeded", output_payload=7, execution_time=0.8)),
        said("zombie1", step, 9, did(1, "succeeded", output_payload=6, execution_time=9.0)),
        said("again1", step, 10, did(1, "executing")),
        said("lost1", late, 11, did(1, "failed", error=lost)),
        said("done2-run", run, 6, did(2, "succeeded", execution_time=0.9)),
        said("settled", run, 7, NodeDelta(settled=2)),
        said("log-retry", late, 8, NodeDelta(evidence={40: Evidence("retry", error, 3.0)})),
        said("log-end", late, 8, NodeDelta(evidence={50: Evidence("success", None, 4.0)})),
        Delta("set", step, clock=5, artifacts={"raw": "/tmp/raw"}),
        Delta("unset", run, clock=8, artifacts={"raw": None}),
    ]


def test_every_delivery_order_of_14_conflicting_deltas_ends_in_one_state() -> None:
    deltas = _conflicting()
    assert len(deltas) == 14
    # If every order of each smaller set ends in one state, the orders of a set are told apart
    # by their last delta alone: 14 · 2^13 joins stand for the 14! orders.
    states = [Replica()]
    for subset in range(1, 1 << len(deltas)):
        ends = []
        for last, delta in enumerate(deltas):
            if subset >> last & 1:
                replica = states[subset & ~(1 << last)].copy()
                replica.apply(delta)
                ends.append(replica)
        first = ends[0].knowledge()
        assert all(replica.knowledge() == first for replica in ends)
        assert all(replica.document() == ends[0].document() for replica in ends)
        states.append(ends[0])
    assert states[-1].document() == {
        "pipeline": {},
        "nodes": {
            "a": {
                "node_id": "a_01H3XZAB",
                "status": "succeeded",
                "input_payload": {"attempt": 2},
                "output_payload": 7,
                "error": None,
                "retry_count": 1,
                "execution_time": 0.8,
            }
        },
        "context": {
            "environment_vars": {},
            "secret_store": None,
            "active_plugins": [],
            "artifacts": {},
        },
    }


def _record(*deltas: Delta) -> dict[str, object]:
    declared = Delta("i", Authority.RUN, clock=1, nodes={"a": NodeDelta(node_id="a_1", index=0)})
    return dict(replica_of([declared, *deltas]).node("a"))


def _report(key: str, outcome: Outcome, authority: Authority, clock: int) -> Delta:
    return Delta(key, authority, clock=clock, nodes={"a": NodeDelta(outcome=outcome)})


def test_a_zombie_of_attempt_1_does_not_overwrite_attempt_2() -> None:
    done = _report("d", Outcome(2, "succeeded", 1), Authority.RECONCILIATION, 5)
    zombie = _report("z", Outcome(1, "failed", None, ERROR), Authority.STEP, 99)
    assert _record(done, zombie) == _record(done)


def test_failure_evidence_wins_inside_an_attempt_whatever_its_authority() -> None:
    done = _report("d", Outcome(1, "succeeded", 1), Authority.STEP, 9)
    failed = _report("f", Outcome(1, "failed", None, ERROR), Authority.RECONCILIATION, 2)
    record = _record(failed, done)
    assert (record["status"], record["output_payload"], record["error"]) == ("failed", None, ERROR)


def test_the_step_side_knows_better_than_a_later_run_side() -> None:
    step = _report("s", Outcome(1, "succeeded", {"rows": 3}), Authority.STEP, 2)
    run = _report("r", Outcome(1, "succeeded"), Authority.RUN, 9)
    assert _record(run, step)["output_payload"] == {"rows": 3}


def test_a_pending_node_keeps_its_error_until_an_attempt_starts() -> None:
    upstream = {"type": "UpstreamFailed", "message": "b failed", "attempt": 0, "upstream": ["b"]}
    pending = _report("p", Outcome(0, "pending", error=upstream), Authority.RUN, 9)
    record = _record(pending)
    assert (record["status"], record["error"], record["retry_count"]) == ("pending", upstream, 0)
    started = _report("s", Outcome(1, "executing"), Authority.STEP, 2)
    assert _record(pending, started)["error"] is None


def test_errors_of_dagsters_log_have_their_members_in_the_documented_order() -> None:
    error = {"type": "ValueError", "message": "no", "traceback": "…"}
    events = {3: Evidence("start", None, 1.0), 4: Evidence("failure", error, 1.25)}
    record = _record(Delta("e", Authority.RECONCILIATION, nodes={"a": NodeDelta(evidence=events)}))
    assert json.dumps(record["error"]) == json.dumps(ERROR)
    assert record["execution_time"] == 0.25
