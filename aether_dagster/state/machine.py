"""The lifecycle of a node as one table (spec 1.3), which every writer respects.

Join never refuses a delta: this table is asked before a delta is made, not when it is joined.
"""

from aether_dagster.errors import IllegalTransition
from aethersdk.state import NodeStatus

P, E, S, F, R = (
    NodeStatus.PENDING,
    NodeStatus.EXECUTING,
    NodeStatus.SUCCEEDED,
    NodeStatus.FAILED,
    NodeStatus.RETRYING,
)

# (status now, status next) -> by how much the attempt number grows
TRANSITIONS: dict[tuple[NodeStatus, NodeStatus], int] = {
    (P, P): 0,  # gains an error: UpstreamFailed, Cancelled, ResourceFailed
    (P, E): 1,
    (E, S): 0,
    (E, F): 0,
    (E, R): 0,
    (R, E): 1,
    (R, F): 0,  # cancelled, or the run ended, while waiting
    (S, F): 0,  # Dagster failed the step after its output was handled
    (S, R): 0,  # the same, and it will be tried again
}

# Failure evidence wins inside one attempt, as in Dagster's own step statistics (spec 1.5).
RANK: dict[str, int] = {P.value: 0, E.value: 1, S.value: 2, R.value: 3, F.value: 4}

TERMINAL = frozenset({S, F})


def check_transition(node: str, before: str, attempt: int, after: str, next_attempt: int) -> None:
    """Raises IllegalTransition unless a writer may make this change.

    Args:
        node: The step's name.
        before: Its status now.
        attempt: Its attempt now; 0 while it is pending.
        after: The status to be committed.
        next_attempt: The attempt which that status belongs to.
    """
    grows = TRANSITIONS.get((NodeStatus(before), NodeStatus(after)))
    if grows is None or next_attempt != attempt + grows:
        raise IllegalTransition(
            node, f"{before} (attempt {attempt})", f"{after} (attempt {next_attempt})"
        )
