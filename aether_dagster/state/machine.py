"""The lifecycle of a node as one table (spec 1.3), which every writer respects.

Join never refuses a delta: this table is asked before a delta is made, not when it is joined.
"""

from aether_dagster.errors import IllegalTransition
from aethersdk.state import NodeStatus

_P, _E, _S, _F, _R = (
    NodeStatus.PENDING.value,
    NodeStatus.EXECUTING.value,
    NodeStatus.SUCCEEDED.value,
    NodeStatus.FAILED.value,
    NodeStatus.RETRYING.value,
)

# (status now, status next) -> by how much the attempt number grows
TRANSITIONS: dict[tuple[str, str], int] = {
    (_P, _P): 0,  # gains an error: UpstreamFailed, Cancelled, ResourceFailed
    (_P, _E): 1,
    (_E, _S): 0,
    (_E, _F): 0,
    (_E, _R): 0,
    (_R, _E): 1,
    (_R, _F): 0,  # cancelled, or the run ended, while waiting
    (_S, _F): 0,  # Dagster failed the step after its output was handled
    (_S, _R): 0,  # the same, and it will be tried again
}

# Failure evidence wins inside one attempt, as in Dagster's own step statistics (spec 1.5).
RANK: dict[str, int] = {_P: 0, _E: 1, _S: 2, _R: 3, _F: 4}

TERMINAL = frozenset({NodeStatus.SUCCEEDED, NodeStatus.FAILED})


def check_transition(node: str, before: str, attempt: int, after: str, next_attempt: int) -> None:
    """Raises IllegalTransition unless a writer may make this change (spec 1.3).

    Args:
        node: The step's name.
        before: Its status now.
        attempt: Its attempt now: 0 while it is pending, from 1 afterwards.
        after: The status to be committed.
        next_attempt: The attempt which that status belongs to.
    """
    grows = TRANSITIONS.get((before, after))
    started = before != _P
    if grows is None or next_attempt != attempt + grows or started != (attempt > 0):
        raise IllegalTransition(
            node, f"{before} (attempt {attempt})", f"{after} (attempt {next_attempt})"
        )
