"""How nodes end for which nobody reported an end: decided when the run ends (spec 1.3).

Dagster emits no event for a node below a failed one, for a resource which failed in the run's own
process, or for a process which was killed. Pure functions over a replica.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aether_dagster.state import Outcome, Replica
from aethersdk.state import NodeStatus

RunStatus = Literal["succeeded", "failed", "cancelled"]

PENDING = NodeStatus.PENDING.value
EXECUTING = NodeStatus.EXECUTING.value
SUCCEEDED = NodeStatus.SUCCEEDED.value
FAILED = NodeStatus.FAILED.value
RETRYING = NodeStatus.RETRYING.value


@dataclass(frozen=True)
class RunEnd:
    """What is known of how the run ended.

    Args:
        cancelled: Somebody cancelled or interrupted it.
        resource_error: The message, where resources failed before a step could start.
        error: The message of another reason why the run as a whole failed.
        lost: The run's process died.
    """

    cancelled: bool = False
    resource_error: str | None = None
    error: str | None = None
    lost: bool = False


def error_record(type: str, message: str, attempt: int, **more: Any) -> dict[str, Any]:
    """Returns a node's `error` object, members in the documented order."""
    return {"type": type, "message": message, "attempt": attempt, "traceback": None} | more


def missing_ends(
    replica: Replica, dependencies: Mapping[str, Sequence[str]], end: RunEnd
) -> Iterator[tuple[str, Outcome]]:
    """Yields the outcome of every node which has none yet, in topological order.

    Args:
        replica: The state when the run ended.
        dependencies: All dependencies of each step, by name.
        end: How the run ended.
    """
    causes = _failed_causes(replica, dependencies, end)
    for name in replica.nodes():
        outcome = replica.outcome(name)
        if outcome.status in (EXECUTING, RETRYING):
            yield name, _stopped(outcome, end)
        elif outcome.status == PENDING and outcome.error is None:
            error = _why_never_started(causes[name], end)
            if error is not None:
                yield name, Outcome(0, PENDING, error=error)


def run_status(replica: Replica, end: RunEnd) -> RunStatus:
    """Returns the execution's status: succeeded only where every node did and the run did."""
    if end.cancelled:
        return "cancelled"
    done = all(replica.outcome(name).status == SUCCEEDED for name in replica.nodes())
    whole = not (end.resource_error or end.error or end.lost)
    return "succeeded" if done and whole else "failed"


def count_nodes(replica: Replica) -> dict[str, Any]:
    """Returns the report's `nodes`, `retries` and `failed` of a state."""
    counts = {status.value: 0 for status in NodeStatus}
    retries = 0
    failed: list[str] = []
    for name in replica.nodes():
        record = replica.node(name)
        counts[record["status"]] += 1
        retries += record["retry_count"]
        if record["status"] == FAILED:
            failed.append(name)
    return {"nodes": counts, "retries": retries, "failed": failed}


def _stopped(outcome: Outcome, end: RunEnd) -> Outcome:
    error: Mapping[str, Any] | None = outcome.error
    if end.cancelled:
        error = error_record("Cancelled", "The run was cancelled.", outcome.attempt)
    elif outcome.status == EXECUTING:
        message = "The process which ran this attempt ended without a word."
        error = error_record("WorkerLost", message, outcome.attempt)
    return Outcome(outcome.attempt, FAILED, error=error, execution_time=outcome.execution_time)


def _why_never_started(causes: Sequence[str], end: RunEnd) -> dict[str, Any] | None:
    if causes:
        names = ", ".join(repr(cause) for cause in causes[:3])
        more = f" and {len(causes) - 3} more" if len(causes) > 3 else ""
        message = f"Did not start: {names}{more} failed."
        return error_record("UpstreamFailed", message, 0, upstream=list(causes))
    if end.cancelled:
        return error_record("Cancelled", "The run was cancelled before this node started.", 0)
    if end.resource_error is not None:
        return error_record("ResourceFailed", end.resource_error, 0)
    if end.lost:
        return error_record("WorkerLost", "The run's process died before this node started.", 0)
    if end.error is not None:
        return error_record("RunFailed", end.error, 0)
    return None


def _failed_causes(
    replica: Replica, dependencies: Mapping[str, Sequence[str]], end: RunEnd
) -> dict[str, tuple[str, ...]]:
    """Maps each node to the failed nodes above it which keep it from starting."""
    names = replica.nodes()
    place = {name: index for index, name in enumerate(names)}
    causes: dict[str, tuple[str, ...]] = {}
    for name in names:
        found: set[str] = set()
        for upstream in dependencies.get(name, ()):
            if upstream not in place:
                continue
            outcome = replica.outcome(upstream)
            if outcome.status == PENDING:
                found.update(causes[upstream])
            elif _counts_as_failed(outcome, end):
                found.add(upstream)
        causes[name] = tuple(sorted(found, key=place.__getitem__))
    return causes


def _counts_as_failed(outcome: Outcome, end: RunEnd) -> bool:
    if outcome.status == FAILED:
        return (outcome.error or {}).get("type") != "Cancelled"
    # An attempt which is being ended now has failed, unless it is being cancelled.
    return outcome.status in (EXECUTING, RETRYING) and not end.cancelled
