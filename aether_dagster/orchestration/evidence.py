"""What Dagster's event log says of an execution: deltas of its nodes, and how its run ended."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from aether_dagster.manager.ending import RunEnd
from aether_dagster.orchestration.listener import STEP_EVENTS, step_report
from aether_dagster.orchestration.names import op_name
from aether_dagster.script import Document
from aether_dagster.state import Authority, Delta, Evidence, NodeDelta
from aether_dagster.state.ids import delta_id
from aether_dagster.values import fit_node_record

CANCELLED = frozenset({dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.CANCELING})
"""The statuses of a run which somebody wanted to end."""

_READ = STEP_EVENTS | {
    dg.DagsterEventType.RESOURCE_INIT_FAILURE,
    dg.DagsterEventType.RUN_FAILURE,
}
# A failure which the run's own process told of has one of these reasons. Any other was told from
# outside, because that process ended without a word.
_STEPS_FAILED = "STEP_FAILURE"
_INTERRUPTED = "UNEXPECTED_TERMINATION"
_FAILED_BY_ITSELF = frozenset({"RUN_EXCEPTION", "JOB_INITIALIZATION_FAILURE"})


@dataclass(frozen=True)
class RunLog:
    """What Dagster knows of the run of an execution.

    Args:
        run: Its record.
        records: The events which say something of its steps or of its end.
        steps: The steps of the execution's document, by Dagster's key.
    """

    run: dg.DagsterRun
    records: Sequence[dg.EventLogRecord]
    steps: Mapping[str, str]


def read_log(instance: dg.DagsterInstance, run: dg.DagsterRun, document: Document) -> RunLog:
    """Reads what Dagster knows of a run and of the steps of one of its documents."""
    records = instance.get_records_for_run(run.run_id, of_type=set(_READ)).records
    return RunLog(run, records, _steps(instance, run, document))


def evidence_deltas(
    records: Iterable[dg.EventLogRecord],
    steps: Mapping[str, str],
    pipeline_id: str,
    redact: Callable[[Any], Any] = lambda error: error,
) -> list[Delta]:
    """Returns what Dagster's step events say of an execution, one delta for each event.

    Args:
        records: Events of the run, in any order and any number of times.
        steps: The execution's steps, by Dagster's key.
        pipeline_id: The execution.
        redact: Masks secrets in an error.
    """
    deltas: dict[int, Delta] = {}
    for record in records:
        event = record.event_log_entry.dagster_event
        report = None if event is None else step_report(event)
        step = None if report is None else steps.get(report.step_key)
        if report is None or step is None:
            continue
        error = report.error
        if error is not None:
            error = fit_node_record({"error": redact(error)}, _nothing_to_spill)["error"]
        evidence = Evidence(report.kind, error, round(record.event_log_entry.timestamp, 3))
        deltas[record.storage_id] = Delta(
            delta_id(pipeline_id, "dagster", record.storage_id),
            Authority.RECONCILIATION,
            actor="dagster",
            clock=record.storage_id,
            nodes={step: NodeDelta(evidence={record.storage_id: evidence})},
        )
    return list(deltas.values())


def run_end(run: dg.DagsterRun, records: Iterable[dg.EventLogRecord]) -> RunEnd:
    """Returns how an ended run ended.

    Args:
        run: Dagster's record of it.
        records: Its events; see `read_log`.
    """
    if run.status == dg.DagsterRunStatus.SUCCESS:
        return RunEnd()
    if run.status in CANCELLED:
        return RunEnd(cancelled=True)
    started, resources, failure = False, None, None
    for record in records:
        event = record.event_log_entry.dagster_event
        if event is None:
            continue
        if event.event_type in STEP_EVENTS:
            started = True
        elif event.event_type == dg.DagsterEventType.RESOURCE_INIT_FAILURE:
            error = event.engine_event_data.error
            resources = "Resources failed." if error is None else error.message.strip()
        elif event.event_type == dg.DagsterEventType.RUN_FAILURE:
            failure = event
    if resources is not None and not started:
        return RunEnd(resource_error=resources)
    return RunEnd(lost=True) if failure is None else _failed_end(failure)


def _failed_end(event: dg.DagsterEvent) -> RunEnd:
    # A failure which was told from outside has no data at all.
    data = None if event.event_specific_data is None else event.job_failure_data
    reason = None if data is None or data.failure_reason is None else data.failure_reason.value
    if reason == _STEPS_FAILED:
        return RunEnd()
    if reason == _INTERRUPTED:
        return RunEnd(cancelled=True)
    if reason in _FAILED_BY_ITSELF:
        error = None if data is None else data.error
        message = event.message if error is None else error.message.strip()
        return RunEnd(error=message or "The run failed.")
    return RunEnd(lost=True)


def _steps(instance: dg.DagsterInstance, run: dg.DagsterRun, document: Document) -> dict[str, str]:
    """The plan knows its steps by their tags, wherever in a job's graphs they lie."""
    if run.execution_plan_snapshot_id is None:
        return {op_name(document, step): step for step in document.order}
    plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
    tagged = ((step.key, step.tags or {}) for step in plan.steps)
    return {
        key: tags["aether/step"]
        for key, tags in tagged
        if tags.get("aether/pipeline") == document.name
    }


def _nothing_to_spill(value: object) -> dict[str, object]:
    raise AssertionError(f"an error is cut, never spilled: {type(value)}")
