"""The state manager of a process: opens executions, and takes each through its four phases."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aether_dagster.errors import ExecutionMismatch, FolderExists, SnapshotError, StateError
from aether_dagster.journal import ExecutionRecord, Journal
from aether_dagster.manager.execution import Execution
from aether_dagster.manager.identity import own_identity
from aether_dagster.manager.resumption import Resumption
from aether_dagster.script import Document, Resolved, SystemValues, resolve
from aether_dagster.snapshot import HistoryStore, folder_name
from aether_dagster.state import Authority, Delta, NodeDelta, Outcome
from aether_dagster.state.ids import delta_id, node_id
from aether_dagster.values import ValueStore

if TYPE_CHECKING:
    from aether_dagster.plugins.hooks import ActiveHook

# How long a process waits for another one which is initializing the same execution, in seconds.
_INITIALIZATION_LIMIT = 60.0
# The lease of an execution, in seconds; whoever holds it renews it well before.
LEASE_SECONDS = 30.0


class StateManager:
    """Opens executions for the process which holds it.

    Args:
        journal: Where executions are kept.
        values: The artifact store.
        now: Unix seconds; passed in for tests.
    """

    def __init__(
        self,
        journal: Journal,
        values: ValueStore,
        *,
        now: Callable[[], float] = time.time,
    ):
        self.journal = journal
        self.values = values
        self._now = now

    def initialize(
        self,
        document: Document,
        *,
        run_id: str,
        selected: Sequence[str] | None = None,
        environ: Mapping[str, str],
        partition: str | None = None,
        resumption: Resumption | None = None,
        plugins: Sequence[str] = (),
        hooks: "Sequence[ActiveHook]" = (),
        deliveries: "Sequence[ActiveHook]" = (),
        secret: Callable[[str], str] | None = None,
        history: HistoryStore | None = None,
        history_required: bool = False,
        read_file: Callable[[str], str] | None = None,
        keep: bool = False,
    ) -> Execution:
        """Opens the execution of a run and a pipeline; the first who comes initializes it.

        Initialization reserves the id, resolves what is resolved once, creates the history folder
        and commits version 1: the pipeline, the context, and every selected node as pending.

        Args:
            document: The validated document.
            run_id: Dagster's run.
            selected: The steps which the run covers; all where None.
            environ: The process environment.
            partition: The run's partition key.
            resumption: What is taken over of the execution which this one resumes.
            plugins: The resolved plugins, `Name@x.y.z`.
            hooks: The active state hooks, in their order.
            deliveries: Further hooks, which are told and never asked.
            secret: Gives a secret by name, to mask it in what is noted of hooks.
            history: Where a state history is kept, if it is.
            history_required: Refuse to begin where its folder cannot be created. Otherwise whoever
                writes the first file there meets the error and tells it.
            read_file: Reads the `${file./path}` references.
            keep: This process will end the execution. From its first version on it has the lease,
                so that its death can be proven at any time.

        Raises:
            ExecutionMismatch: The execution was begun with another document.
            ScriptError: A name which the document refers to is missing.
            StateError: Another process began to initialize it and did not end.
            SnapshotError: The history folder cannot be created, and is required.
            HookError: A state hook refused (`Vetoed`), or failed and its failures count.
        """
        record = self.journal.reserve(
            run_id,
            document.name,
            now_ms=self._now_ms(),
            config_hash=document.config_hash,
            document=document.canonical(),
            partition=partition,
            resumed_from=None if resumption is None else resumption.resumed_from,
        )
        if record.config_hash == document.config_hash:
            resolver = _Resolver(
                document=document,
                environ=environ,
                partition=partition,
                read_file=read_file or _read_text,
                hooks=tuple(hooks),
                deliveries=tuple(deliveries),
                secret=secret,
                resumption=resumption,
            )
            place = None if history is None else _Place(history, history_required)
            record = self._initialized(record, resolver, selected, plugins, place, keep)
        return self.attach(record, document, hooks)

    def attach(
        self, record: ExecutionRecord, document: Document, hooks: "Sequence[ActiveHook]" = ()
    ) -> Execution:
        """Opens an execution which was initialized.

        Args:
            record: The journal's record of it.
            document: The document.
            hooks: The state hooks which are asked before its changes.

        Raises:
            ExecutionMismatch: The execution was begun with another document.
        """
        if record.config_hash != document.config_hash:
            raise ExecutionMismatch(
                f"Execution {record.pipeline_id} was begun with a document whose config_hash is "
                f"{record.config_hash}; this process compiled {document.file} with "
                f"{document.config_hash}. The document, or a --var of it, changed during the run: "
                "start a new run."
            )
        resolved = Resolved.from_json(record.resolved or {}, document)
        # The document is at hand already; the journal's copy of it is let go.
        record = replace(record, document=None, resolved=None)
        execution = Execution(self.journal, record, document, resolved, self.values, now=self._now)
        if hooks:
            # Imported here: an execution without hooks pays nothing for them.
            from aether_dagster.manager.ledger import CallLedger
            from aether_dagster.plugins.manager import HookManager

            ledger = CallLedger(self.journal.outbox)
            manager = HookManager(hooks, ledger, execution.redaction.value)
            execution.use_hooks(manager, ledger)
        return execution

    def _initialized(
        self,
        record: ExecutionRecord,
        resolver: "_Resolver",
        selected: Sequence[str] | None,
        plugins: Sequence[str],
        place: "_Place | None",
        keep: bool,
    ) -> ExecutionRecord:
        """Initializes the execution, or waits for the process which does, or for its death."""
        holder = own_identity()
        give_up = time.monotonic() + _INITIALIZATION_LIMIT
        while record.head == 0:
            if record.refused is not None:
                raise StateError(f"Execution {record.pipeline_id} was refused: {record.refused}")
            if self.journal.acquire(record.pipeline_id, holder, LEASE_SECONDS):
                try:
                    self._initialize(record, resolver, selected, plugins, place)
                finally:
                    # Its id may be another one now.
                    record = self.journal.find(record.run_id, record.pipeline) or record
                    if not keep or record.head == 0:
                        self.journal.release(record.pipeline_id, holder)
            elif time.monotonic() > give_up:
                raise StateError(
                    f"Execution {record.pipeline_id} was reserved by another process which did "
                    f"not initialize it within {_INITIALIZATION_LIMIT:.0f} s. Start a new run."
                )
            else:
                time.sleep(0.02)
                record = self.journal.find(record.run_id, record.pipeline) or record
        return self.journal.record(record.pipeline_id)

    def _initialize(
        self,
        record: ExecutionRecord,
        resolver: "_Resolver",
        selected: Sequence[str] | None,
        plugins: Sequence[str],
        place: "_Place | None",
    ) -> None:
        record = self.journal.record(record.pipeline_id)
        if record.head > 0:
            return
        start = round(self._now(), 3)
        # Before the folder is made, so that a name which is missing leaves nothing behind.
        resolved, context = self._begin(record, resolver, start, plugins)
        while place is not None and not self._create_folder(record, place, start):
            # Another journal's execution has this id: ids are unique in a history too.
            record = self.journal.renumber(record.pipeline_id, now_ms=self._now_ms())
            resolved, context = self._begin(record, resolver, start, plugins)
        self.journal.annotate(record.pipeline_id, resolved=resolved.to_json())
        if resolver.hooks or resolver.deliveries:
            from aether_dagster.manager.delivery_ledger import register_hooks

            told = [*resolver.hooks, *resolver.deliveries]
            register_hooks(self.journal, record.pipeline_id, told)
        delta = _initial_delta(record, resolver, selected, context, start)
        self.journal.append(record.pipeline_id, [delta], now_ms=self._now_ms())

    def _begin(
        self, record: ExecutionRecord, resolver: "_Resolver", start: float, plugins: Sequence[str]
    ) -> tuple[Resolved, dict[str, Any]]:
        """Resolves what is resolved once, and asks the hooks about the context."""
        resolved = resolver.resolve(start, record.pipeline_id)
        context: dict[str, Any] = {**resolved.context(), "active_plugins": sorted(plugins)}
        if resolver.resumption is not None:
            context["artifacts"] = resolver.resumption.artifacts_over(context["artifacts"])
        if resolver.hooks:
            from aether_dagster.manager.beginning import ask_hooks

            context = ask_hooks(
                self.journal,
                _pipeline_state(record, resolver.document, start),
                context,
                resolver.hooks,
                resolver.secrets(resolved),
            )
        return resolved, context

    def _create_folder(self, record: ExecutionRecord, place: "_Place", start: float) -> bool:
        folder = folder_name(start, record.pipeline_id)
        try:
            place.store.create(folder)
        except FolderExists:
            return False
        except SnapshotError:
            if place.required:
                raise
        location = f"{place.store.url.rstrip('/')}/{folder}"
        self.journal.annotate(record.pipeline_id, history=location)
        return True

    def _now_ms(self) -> int:
        return int(self._now() * 1000)


@dataclass(frozen=True)
class _Place:
    """Where the history is kept, and whether it must be."""

    store: HistoryStore
    required: bool


@dataclass(frozen=True)
class _Resolver:
    """Resolves a document's references once its execution has an id."""

    document: Document
    environ: Mapping[str, str]
    partition: str | None
    read_file: Callable[[str], str]
    hooks: "tuple[ActiveHook, ...]" = ()
    deliveries: "tuple[ActiveHook, ...]" = ()
    secret: Callable[[str], str] | None = None
    resumption: Resumption | None = None

    def secrets(self, resolved: Resolved) -> frozenset[str]:
        if self.secret is None:
            return frozenset()
        return resolved.secrets(secret=self.secret, environ=self.environ)

    def resolve(self, start: float, pipeline_id: str) -> Resolved:
        system = SystemValues(_iso(start), pipeline_id, self.partition)
        return resolve(self.document, environ=self.environ, system=system, read_file=self.read_file)


def _pipeline_state(record: ExecutionRecord, document: Document, start: float) -> dict[str, Any]:
    return {
        "id": record.pipeline_id,
        "version": document.version,
        "start_timestamp": start,
        "config_hash": document.config_hash,
    }


def _initial_delta(
    record: ExecutionRecord,
    resolver: _Resolver,
    selected: Sequence[str] | None,
    context: Mapping[str, Any],
    start: float,
) -> Delta:
    document, resumption = resolver.document, resolver.resumption
    reused: Mapping[str, Outcome] = {} if resumption is None else resumption.reused
    chosen = {*(document.order if selected is None else selected), *reused}
    return Delta(
        delta_id(record.pipeline_id, "initialize"),
        Authority.RUN,
        pipeline=_pipeline_state(record, document, start),
        context={
            "environment_vars": context["environment_vars"],
            "secret_store": context["secret_store"],
            "active_plugins": context["active_plugins"],
        },
        nodes={
            # Suffixes count over the whole document, whatever part of it a run selects.
            step: NodeDelta(
                node_id(record.pipeline_id, step, index),
                index,
                outcome=reused.get(step),
                settled=1 if step in reused else 0,
            )
            for index, step in enumerate(document.order)
            if step in chosen
        },
        artifacts=context["artifacts"],
    )


def _iso(unix_seconds: float) -> str:
    moment = datetime.fromtimestamp(unix_seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _read_text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")
