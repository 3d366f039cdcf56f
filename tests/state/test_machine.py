import itertools

import pytest

from aether_dagster.errors import IllegalTransition
from aether_dagster.state import check_transition
from aether_dagster.state.machine import RANK, TERMINAL
from aethersdk import NodeStatus

# Written out by hand from spec 1.3, and what Dagster does after an output was handled.
LEGAL = {
    ("pending", 0, "pending", 0),
    ("pending", 0, "executing", 1),
    ("executing", 1, "succeeded", 1),
    ("executing", 1, "failed", 1),
    ("executing", 1, "retrying", 1),
    ("executing", 2, "succeeded", 2),
    ("executing", 2, "failed", 2),
    ("executing", 2, "retrying", 2),
    ("retrying", 1, "executing", 2),
    ("retrying", 2, "executing", 3),
    ("retrying", 1, "failed", 1),
    ("retrying", 2, "failed", 2),
    ("succeeded", 1, "failed", 1),
    ("succeeded", 2, "failed", 2),
    ("succeeded", 1, "retrying", 1),
    ("succeeded", 2, "retrying", 2),
}
TRANSITIONS = list(itertools.product(NodeStatus, range(3), NodeStatus, range(4)))


@pytest.mark.parametrize("transition", sorted(LEGAL))
def test_a_writer_may(transition: tuple[str, int, str, int]) -> None:
    check_transition("load", *transition)


def test_a_writer_may_nothing_else() -> None:
    refused = [t for t in TRANSITIONS if (str(t[0]), t[1], str(t[2]), t[3]) not in LEGAL]
    assert len(refused) == len(TRANSITIONS) - len(LEGAL)
    for transition in refused:
        with pytest.raises(IllegalTransition):
            check_transition("load", *transition)


def test_a_refusal_names_node_from_and_to() -> None:
    with pytest.raises(IllegalTransition, match="Node 'load' cannot go from failed") as refusal:
        check_transition("load", "failed", 2, "executing", 3)
    assert refusal.value.node == "load"
    assert refusal.value.before == "failed (attempt 2)"
    assert refusal.value.after == "executing (attempt 3)"


def test_an_unknown_status_is_refused_like_any_other() -> None:
    with pytest.raises(IllegalTransition, match="skipped"):
        check_transition("load", "pending", 0, "skipped", 0)


def test_failure_evidence_outranks_success_inside_an_attempt() -> None:
    assert sorted(RANK, key=RANK.__getitem__) == [
        "pending",
        "executing",
        "succeeded",
        "retrying",
        "failed",
    ]
    assert {"succeeded", "failed"} == TERMINAL


def test_every_legal_change_inside_an_attempt_goes_up_in_rank() -> None:
    """Otherwise join would drop what a writer was allowed to say."""
    for before, attempt, after, next_attempt in LEGAL:
        if attempt == next_attempt and before != after:
            assert RANK[after] > RANK[before]
