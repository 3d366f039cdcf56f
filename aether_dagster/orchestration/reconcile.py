"""Brings executions to their true end by reading Dagster's event log again (spec 7).

Used by `aetherscript recover` and by the sensor which `build_defs` includes. It reads the log
through the same projection as the live run side, and joins what it finds: with a live journal
that changes nothing.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import dagster as dg

from aether_dagster.journal import ExecutionRecord, Journal
from aether_dagster.manager.ending import RunEnd
from aether_dagster.manager.identity import is_gone, own_identity
from aether_dagster.manager.manager import LEASE_SECONDS, StateManager
from aether_dagster.orchestration.listener import STEP_EVENTS, step_report
from aether_dagster.orchestration.names import op_name
from aether_dagster.script import Document, parse_document
from aether_dagster.snapshot import HistoryStore, Projection
from aether_dagster.state import Authority, Delta, Evidence, NodeDelta, Replica
from aether_dagster.state.ids import delta_id
from aether_dagster.state.mask import Path
from aether_dagster.values import ValueStore, fit_node_record

Verdict = Literal["ended", "alive", "unproven", "already", "never began"]

_TERMINAL = frozenset(
    {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
)
_CANCELLED = frozenset({dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.CANCELING})

_UNPROVEN = (
    "It ran on another host and Dagster's run has not ended; if you know that its process is "
    "dead, say so with --force."
)


@dataclass(frozen=True)
class Reconciliation:
    """What reconciliation found of one execution.

    Args:
        pipeline_id: The execution.
        verdict: `ended`: brought to its end now; `alive`: its process lives; `unproven`: it ran on
            another host and Dagster's run has not ended; `already`: it had ended; `never began`:
            it has no state.
        status: The report's status, where it has ended.
        reason: One sentence for people.
    """

    pipeline_id: str
    verdict: Verdict
    status: str | None
    reason: str


def reconcile(
    instance: dg.DagsterInstance,
    journal: Journal,
    record: ExecutionRecord,
    values: ValueStore,
    *,
    force: bool = False,
) -> Reconciliation:
    """Ends one execution if its process is proven dead or its run has ended; else leaves it.

    Args:
        instance: The Dagster instance which has its run.
        journal: The journal which has its state.
        record: The execution.
        values: The artifact store.
        force: Take its process for dead without proof.
    """
    if record.head == 0:
        return _result(record, "never began", None, "It was reserved and never initialized.")
    if record.finalized is not None:
        return _result(record, "already", record.status, f"It had {record.status} before.")
    run = instance.get_run_by_id(record.run_id)
    ended = run is None or run.status in _TERMINAL
    alive = _holder_lives(journal, record, ended=ended)
    if alive is True:
        return _result(record, "alive", None, "The process which runs it lives.")
    if alive is None and not force:
        return _result(record, "unproven", None, _UNPROVEN)
    holder = own_identity()
    lost = journal.lease(record.pipeline_id)
    if lost is not None:
        journal.release(record.pipeline_id, lost.holder)
    if not journal.acquire(record.pipeline_id, holder, LEASE_SECONDS):
        return _result(record, "alive", None, "Another process is ending it.")
    try:
        if run is not None and run.status not in _TERMINAL:
            instance.report_run_failed(run, "The process of this run died, as AetherScript found.")
            run = instance.get_run_by_id(record.run_id)
        status = _end(instance, journal, record, values, run)
    finally:
        journal.release(record.pipeline_id, holder)
    return _result(record, "ended", status, f"Brought to its end: {status}.")


def reconcile_all(
    instance: dg.DagsterInstance, journal: Journal, artifacts_url: str, *, force: bool = False
) -> Iterator[Reconciliation]:
    """Reconciles every execution of a journal which has not ended, oldest first.

    Args:
        instance: The Dagster instance which has their runs.
        journal: The journal.
        artifacts_url: Its artifact store.
        force: Take their processes for dead without proof.
    """
    values = ValueStore(artifacts_url)
    for record in reversed(journal.executions()):
        if record.finalized is None and record.head > 0:
            yield reconcile(instance, journal, record, values, force=force)


def evidence_deltas(
    records: Iterable[dg.EventLogRecord], document: Document, pipeline_id: str
) -> list[Delta]:
    """Returns what Dagster's step events say of an execution, one delta for each event.

    Args:
        records: Events of the run, in any order and any number of times.
        document: The execution's document.
        pipeline_id: The execution.
    """
    steps = {op_name(document, step): step for step in document.order}
    deltas: dict[int, Delta] = {}
    for record in records:
        event = record.event_log_entry.dagster_event
        report = None if event is None else step_report(event)
        step = None if report is None else steps.get(report.step_key)
        if report is None or step is None:
            continue
        error = report.error
        if error is not None:
            error = fit_node_record({"error": error}, _nothing_to_spill)["error"]
        evidence = Evidence(report.kind, error, round(record.event_log_entry.timestamp, 3))
        deltas[record.storage_id] = Delta(
            delta_id(pipeline_id, "dagster", record.storage_id),
            Authority.RECONCILIATION,
            actor="dagster",
            clock=record.storage_id,
            nodes={step: NodeDelta(evidence={record.storage_id: evidence})},
        )
    return list(deltas.values())


def run_end(run: dg.DagsterRun | None) -> RunEnd:
    """Returns how a run ended, as Dagster's record of it says."""
    if run is None:
        return RunEnd(error="Dagster has no record of the run any more.")
    if run.status in _CANCELLED:
        return RunEnd(cancelled=True)
    failed = run.status != dg.DagsterRunStatus.SUCCESS
    return RunEnd(error="The run ended before this node started." if failed else None)


def _end(
    instance: dg.DagsterInstance,
    journal: Journal,
    record: ExecutionRecord,
    values: ValueStore,
    run: dg.DagsterRun | None,
) -> str:
    record = journal.record(record.pipeline_id)
    document = parse_document(json.dumps(record.document), file=record.pipeline)
    execution = StateManager(journal, values).attach(record, document)
    events = instance.get_records_for_run(record.run_id, of_type=set(STEP_EVENTS)).records
    deltas = evidence_deltas(events, document, execution.id)
    if _says_something_new(execution.replica, deltas):
        journal.append(execution.id, deltas)
    end = run_end(run)
    execution.end_nodes(end)
    removed = values.remove(execution.id, execution.referenced_values())
    details: Mapping[str, object] = (
        {"cleanup": {"failures": list(removed.failures)}} if removed.failures else {}
    )
    report = execution.finalize(end, details=details)
    if record.history is not None:
        write_history(journal, record, record.history)
    return str(report["status"])


def write_history(journal: Journal, record: ExecutionRecord, location: str) -> None:
    """Writes an execution's files from the journal, as the run itself would have.

    Args:
        journal: The journal.
        record: The execution.
        location: Path or URL of its folder.

    Raises:
        SnapshotError: They cannot be written.
    """
    store, folder = HistoryStore.containing(location)
    projection = Projection()
    for version in journal.versions(record.pipeline_id):
        if not version.late:
            for file in projection.fold(version.number, version.deltas):
                store.write(folder, file.name, file.data)


def _holder_lives(journal: Journal, record: ExecutionRecord, *, ended: bool) -> bool | None:
    """Tells whether the process which keeps an execution lives; None where nothing proves it."""
    lease = journal.lease(record.pipeline_id)
    if lease is None:
        # A run under an executor which is not ours: nobody keeps it but Dagster.
        return not ended
    if is_gone(lease.holder) is True:
        return False
    expired = lease.expires <= time.time()
    if not expired:
        return True
    # A process which was stopped for a while has lost its lease and is alive all the same.
    return True if is_gone(lease.holder) is False else (False if ended else None)


def _says_something_new(replica: Replica, deltas: Iterable[Delta]) -> bool:
    trial = replica.copy()
    # Every delta is applied: what one event means may hang on another.
    return bool(set[Path]().union(*(trial.apply(delta) for delta in deltas)))


def _nothing_to_spill(value: object) -> dict[str, object]:
    raise AssertionError(f"an error is cut, never spilled: {type(value)}")


def _result(
    record: ExecutionRecord, verdict: Verdict, status: str | None, reason: str
) -> Reconciliation:
    return Reconciliation(record.pipeline_id, verdict, status, reason)
