"""Whether the process which keeps an execution lives, and what proves that it does not.

A silence proves nothing: a process may be stopped, and its host out of reach (spec 1.5, trap 4).
"""

import json
import time
from dataclasses import dataclass

import dagster as dg

from aether_dagster.journal import ExecutionRecord, Journal, Lease
from aether_dagster.manager.ending import EXECUTING
from aether_dagster.manager.identity import is_gone, own_identity

_TERMINAL = frozenset(
    {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
)
_ROLE = "reconciliation"
_FORCE = "if you know that its process is dead, say so with --force"


@dataclass(frozen=True)
class Keeper:
    """The process which ends an execution, and finalizes it.

    Args:
        lease: What it took; None where there is none, or it was let go.
        lives: Whether it lives; None where nothing proves either.
        reason: Why, in a sentence.
    """

    lease: Lease | None
    lives: bool | None
    reason: str


def has_ended(run: dg.DagsterRun | None) -> bool:
    """Tells whether Dagster's record says that a run has ended; without one nobody says so."""
    return run is not None and run.status in _TERMINAL


def find_keeper(
    instance: dg.DagsterInstance,
    journal: Journal,
    record: ExecutionRecord,
    run: dg.DagsterRun | None,
) -> Keeper:
    """Finds out who keeps an execution, and whether that process lives.

    Args:
        instance: The Dagster instance.
        journal: The journal.
        record: The execution.
        run: Dagster's record of its run, if this instance has one.
    """
    lease = journal.lease(record.pipeline_id)
    if run is not None and not has_ended(run) and instance.run_will_resume(run.run_id):
        return Keeper(lease, True, "It lives, or Dagster's daemon will start its process again.")
    if lease is None:
        return Keeper(None, *_without_lease(journal, record, run))
    return Keeper(lease, *_with_lease(record, lease, run))


def reconciler() -> str:
    """Returns the identity under which this process takes the lease of what it reconciles."""
    return json.dumps({**json.loads(own_identity()), "role": _ROLE}, separators=(",", ":"))


def _with_lease(
    record: ExecutionRecord, lease: Lease, run: dg.DagsterRun | None
) -> tuple[bool | None, str]:
    ours = _role(lease) == _ROLE
    gone = is_gone(lease.holder)
    left = lease.expires - time.time()
    if left > 0 and gone is not True:
        later = "" if gone is False else f"; if that one is dead, try again in {left:.0f} s"
        return True, f"{_place(lease)} keeps it{later}."
    if ours:
        return False, "An earlier reconciliation of it did not come to its end."
    if run is None:
        return None, _no_record(record)
    if gone is True:
        return False, "The process which kept it is gone."
    if has_ended(run):
        return False, "Dagster's run has ended."
    if gone is False:
        # One which was stopped for a while has lost its lease and is alive all the same.
        return True, f"{_place(lease)} lives, though it was stopped for a while."
    return None, f"{_place(lease)} is silent, and Dagster's run has not ended; {_FORCE}."


def _without_lease(
    journal: Journal, record: ExecutionRecord, run: dg.DagsterRun | None
) -> tuple[bool | None, str]:
    """Its run is under an executor which is not ours."""
    if run is None:
        return None, _no_record(record)
    if has_ended(run):
        return False, "Dagster's run has ended."
    replica = journal.replica(record.pipeline_id)
    for node in replica.nodes():
        worker = replica.worker(node) if replica.outcome(node).status == EXECUTING else None
        if worker is not None and is_gone(worker) is False:
            return True, f"A process runs its node {node!r}."
    return None, f"Nobody but Dagster keeps it, and Dagster's run has not ended; {_FORCE}."


def _no_record(record: ExecutionRecord) -> str:
    return (
        f"This Dagster instance has no record of its run {record.run_id}: use the instance which "
        f"it ran in (DAGSTER_HOME); {_FORCE}."
    )


def _role(lease: Lease) -> str | None:
    try:
        return json.loads(lease.holder).get("role")
    except (ValueError, AttributeError):
        return None


def _place(lease: Lease) -> str:
    try:
        holder = json.loads(lease.holder)
        return f"Process {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError, TypeError):
        return "A process"
