"""Brings executions to their true end by reading Dagster's event log again (spec 7).

Used by `aetherscript recover` and by the sensor which `build_defs` includes. It reads the log
through the same projection as the live run side, and joins what it finds: with a live journal
that changes nothing. All which it does may be done twice, by two processes at once, and after it
was killed in the middle.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import dagster as dg

from aether_dagster.crypto import KeyRing
from aether_dagster.errors import AetherError, UnknownExecution
from aether_dagster.journal import ExecutionRecord, Journal
from aether_dagster.manager import Execution, StateManager
from aether_dagster.manager.ending import RunEnd
from aether_dagster.manager.history import HistoryFiles
from aether_dagster.manager.manager import LEASE_SECONDS
from aether_dagster.orchestration.evidence import CANCELLED, evidence_deltas, read_log, run_end
from aether_dagster.orchestration.keeper import find_keeper, has_ended, reconciler
from aether_dagster.plugins.secrets import secret_reader
from aether_dagster.script import parse_document
from aether_dagster.snapshot import HistoryStore, Projection
from aether_dagster.state import Delta, Replica
from aether_dagster.state.mask import Path
from aether_dagster.values import ValueStore

Verdict = Literal["ended", "removed", "already", "alive", "unproven", "error"]

_DIED = "The process of this run died, as AetherScript found."


@dataclass(frozen=True)
class Reconciliation:
    """What reconciliation found of one execution.

    Args:
        pipeline_id: The execution.
        verdict: `ended`: brought to its end now; `removed`: it had never begun, and nothing is
            kept of it; `already`: it had ended; `alive`: its process lives; `unproven`: nothing
            proves that it died; `error`: it could not be brought to its end.
        status: The report's status, where it has ended.
        reason: One sentence for people.
    """

    pipeline_id: str
    verdict: Verdict
    status: str | None
    reason: str


@dataclass(frozen=True)
class Reconciler:
    """Brings executions of a journal to their true end.

    Args:
        instance: The Dagster instance which has their runs.
        journal: The journal which has their state.
        values: Its artifact store.
        history: Where state histories are kept, with its password where it has one; the journal
            knows the folders, and no passwords.
        keys: What sealed histories are opened and sealed with.
        secret_store: The store of documents which name none; what it holds is masked in errors.
    """

    instance: dg.DagsterInstance
    journal: Journal
    values: ValueStore
    history: str | None = None
    keys: KeyRing | None = None
    secret_store: str | None = None

    def reconcile_all(self, *, force: bool = False) -> Iterator[Reconciliation]:
        """Reconciles every execution which has not ended, oldest first.

        What goes wrong with one is told as its verdict, and keeps nobody from the others.

        Args:
            force: Take processes of which nothing can be proven for dead.
        """
        for record in self.journal.unfinished():
            try:
                yield self.reconcile(record.pipeline_id, force=force)
            except UnknownExecution:
                continue  # another process has removed it meanwhile
            except AetherError as error:
                yield Reconciliation(record.pipeline_id, "error", None, str(error))

    def reconcile(self, pipeline_id: str, *, force: bool = False) -> Reconciliation:
        """Ends one execution if its process is proven dead or its run has ended; else leaves it.

        Args:
            pipeline_id: The execution.
            force: Take its process for dead where nothing can be proven.

        Raises:
            UnknownExecution: There is no such execution.
            SnapshotError: Its state history cannot be written; it is tried again the next time.
            AetherError: Something else of it cannot be read or written.
        """
        record = self.journal.record(pipeline_id)
        run = self.instance.get_run_by_id(record.run_id)
        keeper = find_keeper(self.instance, self.journal, record, run)
        # Read again: who let go of it since the first time has finalized it before.
        record = self.journal.record(pipeline_id)
        if record.refused is not None:
            return _result(record, "already", "A state hook refused it before its first step.")
        if record.finalized is not None and keeper.lease is None:
            return _result(record, "already", f"It had {record.status} before.")
        if keeper.lives or (keeper.lives is None and not force):
            return _result(record, "alive" if keeper.lives else "unproven", keeper.reason)
        holder = reconciler()
        if keeper.lease is not None:
            # Ended and not released: until somebody else has it, it says whose death was proven.
            self.journal.renew(pipeline_id, keeper.lease.holder, 0)
        if not self.journal.acquire(pipeline_id, holder, LEASE_SECONDS):
            return _result(record, "alive", "Another process is bringing it to its end.")
        try:
            return self._end(record, run, holder)
        except BaseException:
            self.journal.renew(pipeline_id, holder, 0)
            raise

    def _end(
        self, record: ExecutionRecord, run: dg.DagsterRun | None, holder: str
    ) -> Reconciliation:
        run = self._told(run)
        if record.head == 0:
            self._remove(record)
            return _result(record, "removed", "It was reserved and never began.")
        if record.finalized is None:
            self._finalize(record, run)
        if record.history is not None:
            head = write_history(self.journal, record, self._store(record.history), self.keys)
            if run is not None and head is not None:
                self.instance.add_run_tags(
                    run.run_id, {f"aether/{record.pipeline}.history_head": head}
                )
        self.journal.release(record.pipeline_id, holder)
        record = self.journal.record(record.pipeline_id)
        return _result(record, "ended", f"Brought to its end: {record.status}.")

    def _told(self, run: dg.DagsterRun | None) -> dg.DagsterRun | None:
        """Tells Dagster that a run's process is dead, if it does not know; returns the run."""
        if run is None or has_ended(run):
            return run
        if run.status in CANCELLED:
            self.instance.report_run_canceled(run, _DIED)
        else:
            self.instance.report_run_failed(run, _DIED)
        return self.instance.get_run_by_id(run.run_id)

    def _finalize(self, record: ExecutionRecord, run: dg.DagsterRun | None) -> None:
        document = parse_document(json.dumps(record.document), file=record.pipeline)
        execution = StateManager(self.journal, self.values).attach(record, document)
        secrets = document.pipeline.context.secret_store or self.secret_store
        reader = secret_reader(secrets, os.environ)
        execution.redaction.learn(execution.resolved.secrets(secret=reader, environ=os.environ))
        end = RunEnd(lost=True) if run is None else self._join_log(execution, run)
        execution.end_nodes(end)
        removed = self.values.remove(execution.id, execution.referenced_values())
        details: Mapping[str, object] = (
            {"cleanup": {"failures": list(removed.failures)}} if removed.failures else {}
        )
        execution.finalize(end, details=details)

    def _join_log(self, execution: Execution, run: dg.DagsterRun) -> RunEnd:
        log = read_log(self.instance, run, execution.document)
        deltas = evidence_deltas(
            log.records, log.steps, execution.id, redact=execution.redaction.value
        )
        if _say_something_new(execution.replica, deltas):
            self.journal.append(execution.id, deltas)
        return run_end(run, log.records)

    def _remove(self, record: ExecutionRecord) -> None:
        self.journal.prune([record.pipeline_id])
        if record.history is not None:
            store, folder = self._store(record.history)
            store.discard(folder)

    def _store(self, location: str) -> tuple[HistoryStore, str]:
        store, folder = HistoryStore.containing(location)
        if self.history is not None:
            known = HistoryStore(self.history)
            if f"{known.url.rstrip('/')}/{folder}" == location:
                return known, folder
        return store, folder


def write_history(
    journal: Journal,
    record: ExecutionRecord,
    place: tuple[HistoryStore, str],
    keys: KeyRing | None = None,
) -> str | None:
    """Writes those of an execution's files which are missing, as the run itself would have.

    Args:
        journal: The journal.
        record: The execution.
        place: The history, and the execution's folder in it.
        keys: Seal the files, where its history is sealed or not begun yet.

    Returns:
        The head of the chain of its files.

    Raises:
        SnapshotError: They cannot be written.
        UnknownKey: Its history is sealed and there is no key.
    """
    store, folder = place
    files = HistoryFiles(journal, record.pipeline_id, store, folder, keys)
    projection = Projection()
    for version in journal.versions(record.pipeline_id):
        if not version.late:
            files.issue(projection.fold(version.number, version.deltas))
    return files.head


def _say_something_new(replica: Replica, deltas: Iterable[Delta]) -> bool:
    trial = replica.copy()
    # Every delta is applied: what one event means may hang on another.
    return bool(set[Path]().union(*(trial.apply(delta) for delta in deltas)))


def _result(record: ExecutionRecord, verdict: Verdict, reason: str) -> Reconciliation:
    status = None if record.finalized is None else record.status
    return Reconciliation(record.pipeline_id, verdict, status, reason)
