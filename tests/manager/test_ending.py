from typing import Any

import pytest

from aether_dagster.manager.ending import RunEnd, count_nodes, missing_ends, run_status
from aether_dagster.state import Authority, Delta, NodeDelta, Outcome, Replica

# a → b → d, c → d; e alone
DEPENDENCIES = {"a": (), "b": ("a",), "c": (), "d": ("b", "c"), "e": ()}
ERROR = {"type": "ValueError", "message": "no", "attempt": 1}


def state(**statuses: str) -> Replica:
    replica = Replica()
    nodes = {name: NodeDelta(f"{name}_00000000", n) for n, name in enumerate(DEPENDENCIES)}
    replica.apply(Delta("init", Authority.RUN, clock=1, nodes=nodes))
    for clock, (name, status) in enumerate(statuses.items(), 2):
        kind = status.partition("-")[2]
        error = None
        if kind:
            error = {**ERROR, "type": kind}
        elif status in ("failed", "retrying"):
            error = ERROR
        outcome = Outcome(1, status.partition("-")[0], error=error, execution_time=2.5)
        node = NodeDelta(outcome=outcome)
        replica.apply(Delta(name, Authority.STEP, clock=clock, nodes={name: node}))
    return replica


def ends(replica: Replica, end: RunEnd) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for name, outcome in missing_ends(replica, DEPENDENCIES, end):
        assert outcome.error is not None
        found[name] = (outcome.status, str(outcome.error["type"]))
    return found


UPSTREAM = ("pending", "UpstreamFailed")


@pytest.mark.parametrize(
    ("statuses", "end", "expected"),
    [
        (
            {"a": "failed", "c": "succeeded", "e": "succeeded"},
            RunEnd(),
            {"b": UPSTREAM, "d": UPSTREAM},
        ),
        (
            {"a": "executing", "c": "succeeded", "e": "succeeded"},
            RunEnd(),
            {"a": ("failed", "WorkerLost"), "b": UPSTREAM, "d": UPSTREAM},
        ),
        (
            {"a": "executing", "c": "retrying", "e": "failed"},
            RunEnd(cancelled=True),
            {
                "a": ("failed", "Cancelled"),
                "b": ("pending", "Cancelled"),
                "c": ("failed", "Cancelled"),
                "d": ("pending", "Cancelled"),
            },
        ),
        (
            {"a": "failed", "c": "failed-Cancelled"},
            RunEnd(cancelled=True),
            {"b": UPSTREAM, "d": UPSTREAM, "e": ("pending", "Cancelled")},
        ),
        (
            {},
            RunEnd(resource_error="no database"),
            dict.fromkeys("abcde", ("pending", "ResourceFailed")),
        ),
        (
            {"a": "retrying", "c": "succeeded"},
            RunEnd(error="out of memory"),
            {
                "a": ("failed", "ValueError"),
                "b": UPSTREAM,
                "d": UPSTREAM,
                "e": ("pending", "RunFailed"),
            },
        ),
        (dict.fromkeys(DEPENDENCIES, "succeeded"), RunEnd(), {}),
    ],
)
def test_every_node_is_given_the_end_which_nobody_reported(
    statuses: dict[str, str], end: RunEnd, expected: dict[str, tuple[str, str]]
) -> None:
    assert ends(state(**statuses), end) == expected


def test_an_end_keeps_attempt_and_time_of_what_it_ends() -> None:
    replica = state(a="retrying")
    ((_, outcome), *_) = missing_ends(replica, DEPENDENCIES, RunEnd(cancelled=True))
    assert (outcome.attempt, outcome.execution_time) == (1, 2.5)
    assert outcome.error is not None
    assert outcome.error["attempt"] == 1


def test_a_node_names_the_failed_nodes_above_it_in_topological_order() -> None:
    replica = state(c="failed", a="failed")
    errors = {name: o.error for name, o in missing_ends(replica, DEPENDENCIES, RunEnd())}
    assert errors["b"] is not None
    assert errors["d"] is not None
    assert errors["b"]["upstream"] == ["a"]
    assert errors["d"]["upstream"] == ["a", "c"]


def test_ends_once_committed_are_not_missing() -> None:
    replica = state(a="failed")
    end = RunEnd(error="x")
    for clock, (name, outcome) in enumerate(list(missing_ends(replica, DEPENDENCIES, end)), 10):
        node = NodeDelta(outcome=outcome)
        replica.apply(Delta(f"end-{name}", Authority.RUN, clock=clock, nodes={name: node}))
    assert ends(replica, end) == {}


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (RunEnd(), "succeeded"),
        (RunEnd(cancelled=True), "cancelled"),
        (RunEnd(error="the history is gone"), "failed"),
        (RunEnd(resource_error="x"), "failed"),
    ],
)
def test_a_run_whose_nodes_all_succeeded_ends_as_the_run_did(end: RunEnd, status: str) -> None:
    assert run_status(state(**dict.fromkeys(DEPENDENCIES, "succeeded")), end) == status


def test_a_run_with_a_node_which_did_not_succeed_has_failed() -> None:
    replica = state(a="succeeded", b="failed")
    assert run_status(replica, RunEnd()) == "failed"
    counts: dict[str, Any] = count_nodes(replica)
    assert counts["failed"] == ["b"]
    assert counts["nodes"]["pending"] == 3
