from aether_dagster.state import Authority, Delta, NodeDelta, Outcome
from aether_dagster.state.checkpoint import checkpoint
from tests.state.laws import replica_of


def test_a_checkpoint_is_as_small_as_what_is_known_and_not_as_what_happened() -> None:
    declared = [
        Delta(
            f"i{i}", Authority.RUN, clock=1, nodes={f"s{i}": NodeDelta(node_id=f"s{i}_1", index=i)}
        )
        for i in range(10)
    ]
    attempts = [
        Delta(
            f"s{i}-{attempt}-{status}",
            Authority.STEP,
            clock=2,
            nodes={f"s{i}": NodeDelta(outcome=Outcome(attempt, status))},
        )
        for i in range(10)
        for attempt in range(1, 50)
        for status in ("executing", "retrying")
    ]
    assert len(checkpoint(replica_of(declared + attempts))) <= 1 + 10


def test_what_was_in_the_checkpoint_changes_nothing_when_it_is_delivered_again() -> None:
    deltas = [
        Delta("i", Authority.RUN, clock=1, nodes={"a": NodeDelta(node_id="a_1", index=0)}),
        Delta(
            "s",
            Authority.STEP,
            clock=2,
            nodes={"a": NodeDelta(outcome=Outcome(1, "executing"), has_input=True, worker="w")},
            artifacts={"x": "/tmp/x"},
        ),
        Delta(
            "e", Authority.STEP, clock=3, nodes={"a": NodeDelta(outcome=Outcome(1, "succeeded"))}
        ),
        Delta("d", Authority.RUN, clock=4, artifacts={"x": None}),
    ]
    restored = replica_of(checkpoint(replica_of(deltas)))
    assert [restored.apply(delta) for delta in deltas] == [frozenset()] * len(deltas)
