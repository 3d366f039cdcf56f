"""What Dagster's event log alone says of a run: an oracle which shares no code with the product."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

_SAYS = {
    dg.DagsterEventType.STEP_START: "start",
    dg.DagsterEventType.STEP_RESTARTED: "start",
    dg.DagsterEventType.STEP_UP_FOR_RETRY: "retry",
    dg.DagsterEventType.STEP_SUCCESS: "success",
    dg.DagsterEventType.STEP_FAILURE: "failure",
}


@dataclass(frozen=True)
class Verdict:
    """How a step ended.

    Args:
        status: `pending`, `succeeded` or `failed`.
        attempts: How many there were.
        failed_above: Of a step which never started: the failed steps above it, sorted; those
            which were cancelled do not count.
        cancelled: Whether it failed because the run was interrupted.
    """

    status: str
    attempts: int
    failed_above: tuple[str, ...] = ()
    cancelled: bool = False


def verdicts(
    instance: dg.DagsterInstance, run_id: str, dependencies: Mapping[str, Sequence[str]]
) -> dict[str, Verdict]:
    """Returns how each step of a finished run ended.

    Args:
        instance: The instance which has the run.
        run_id: The run.
        dependencies: The step keys which each step key waits for.
    """
    said: dict[str, list[str]] = {step: [] for step in dependencies}
    interrupted: set[str] = set()
    stopped = run_status(instance, run_id) == "cancelled"
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        if event is not None and event.event_type in _SAYS and event.step_key in said:
            word = _SAYS[event.event_type]
            said[event.step_key].append(word)
            error = None
            if word == "failure":
                error = event.step_failure_data.error
            elif word == "retry":
                error = event.step_retry_data.error
            if error is not None and "Interrupt" in f"{error.cls_name} {error.message}":
                interrupted.add(event.step_key)
    found: dict[str, Verdict] = {}
    while len(found) < len(said):
        for step, above in dependencies.items():
            if step not in found and all(up in found or up not in said for up in above):
                known = [(up, found[up]) for up in above if up in found]
                # Whatever a cancelled run left unfinished was cancelled with it.
                cut = stopped and said[step][-1:] in (["start"], ["retry"])
                found[step] = _verdict(said[step], known, cut or step in interrupted)
    return found


def run_status(instance: dg.DagsterInstance, run_id: str) -> str:
    """Returns what Dagster's record of the run says, in the report's words."""
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return {
        dg.DagsterRunStatus.SUCCESS: "succeeded",
        dg.DagsterRunStatus.FAILURE: "failed",
        dg.DagsterRunStatus.CANCELED: "cancelled",
    }[run.status]


def _verdict(said: Sequence[str], above: Sequence[tuple[str, Verdict]], cancelled: bool) -> Verdict:
    if not said:
        failed = {up for up, v in above if v.status == "failed" and not v.cancelled}
        failed.update(name for _, verdict in above for name in verdict.failed_above)
        return Verdict("pending", 0, tuple(sorted(failed)))
    # A retry ends an attempt; the next one is there when it has said something.
    attempts = said.count("retry") + (said[-1] != "retry")
    if said[-1] == "success":
        return Verdict("succeeded", attempts)
    return Verdict("failed", attempts, cancelled=cancelled)
