"""Deliveries which are left in a journal's outbox, for a sensor or `aetherscript recover`."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from aether_dagster.errors import AetherError, PluginError
from aether_dagster.journal import ExecutionRecord, Journal
from aether_dagster.journal.outbox import HookCursor
from aether_dagster.manager import Execution, StateManager
from aether_dagster.manager.deliveries import Drained, HookDeliveries
from aether_dagster.manager.document_hooks import PREFIX, SOURCE, document_hooks
from aether_dagster.plugins.activation import activate, hooks_of_source
from aether_dagster.plugins.hooks import ActiveHook, activate_hooks
from aether_dagster.plugins.secrets import secret_reader
from aether_dagster.script import parse_document
from aether_dagster.values import ValueStore

# How many executions' deliveries are remembered between ticks.
_REMEMBERED = 64
Log = Callable[[int, str], None]


@dataclass
class Outstanding:
    """The outbox of a journal, seen by somebody who does not run its executions.

    Args:
        instance: The Dagster instance which has their runs.
        journal: The journal.
        values: Its artifact store.
        secret_store: The deployment's secret store.
        hooks: Hooks which are here already, by key; others are found where they were found when
            their execution began.
        launches: Whether the caller launches the jobs of triggers.
        log: Takes what hooks log.
    """

    instance: dg.DagsterInstance
    journal: Journal
    values: ValueStore
    secret_store: str | None
    hooks: Mapping[str, ActiveHook]
    launches: bool = False
    log: Log | None = None

    def __post_init__(self) -> None:
        self._known: dict[tuple[str, str], HookDeliveries] = {}

    def cursors(self, hook: str | None = None, *, prefix: str = "") -> dict[str, list[HookCursor]]:
        """Returns what hooks have left to look at, by execution, oldest first.

        Args:
            hook: Of the hook with this key only.
            prefix: Of hooks whose keys begin so.
        """
        found: dict[str, list[HookCursor]] = {}
        for cursor in self.journal.outbox.behind(hook):
            if cursor.hook.startswith(prefix):
                found.setdefault(cursor.pipeline_id, []).append(cursor)
        return found

    def drain(
        self,
        cursors: Sequence[HookCursor],
        *,
        give_up: float,
        over: float | None = None,
        most: int | None = None,
    ) -> Drained:
        """Delivers what is due to the hooks of one execution.

        Args:
            cursors: Of one execution.
            give_up: When to begin no more, by `time.monotonic()`.
            over: When the last one must be over; `give_up` unless given.
            most: How many deliveries at most.

        Raises:
            PluginError: A hook is not there any more, or cannot be loaded.
            AetherError: Something else of the execution cannot be read.
        """
        pipeline_id = cursors[0].pipeline_id
        key = (pipeline_id, "|".join(cursor.hook for cursor in cursors))
        record = self.journal.record(pipeline_id)
        written = record.finalized is not None and self.journal.lease(pipeline_id) is None
        if key not in self._known:
            while len(self._known) >= _REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[key] = self._open(record, cursors)
        deliveries = self._known[key]
        drained = deliveries.drain(written=written, give_up=give_up, over=over, most=most)
        self._show(record, deliveries)
        if written and not (drained.waiting or drained.held):
            del self._known[key]
        return drained

    def _open(self, record: ExecutionRecord, cursors: Sequence[HookCursor]) -> HookDeliveries:
        document = parse_document(json.dumps(record.document), file=record.pipeline)
        execution = StateManager(self.journal, self.values).attach(record, document)
        store = execution.replica.context["secret_store"] or self.secret_store
        reader = secret_reader(store, os.environ)
        execution.redaction.learn(execution.resolved.secrets(secret=reader, environ=os.environ))
        hooks = [hook for cursor in cursors for hook in self._hooks_of(cursor, execution)]
        return HookDeliveries(
            self.journal,
            record.pipeline_id,
            hooks,
            begin=execution.transaction,
            redact=execution.redaction.value,
            launches=self.launches,
        )

    def _hooks_of(self, cursor: HookCursor, execution: Execution) -> list[ActiveHook]:
        if cursor.hook.startswith(PREFIX):
            return [h for h in self._document_hooks(cursor, execution) if h.key == cursor.hook]
        if cursor.hook in self.hooks:
            return [self.hooks[cursor.hook]]
        classes = [each for each in hooks_of_source(cursor.source) if each.key == cursor.hook]
        if not classes:
            raise PluginError(f"The state hook {cursor.hook} is not in {cursor.source} any more.")
        return list(activate_hooks(classes))

    def _document_hooks(self, cursor: HookCursor, execution: Execution) -> list[ActiveHook]:
        directory = Path(cursor.source.removeprefix(SOURCE))
        active = activate(execution.document, directory)
        store = execution.replica.context["secret_store"] or self.secret_store
        return document_hooks(
            execution.document,
            directory,
            execution,
            secret=secret_reader(store, os.environ, active.secret_stores),
            step_types=active.step_types,
        )

    def _show(self, record: ExecutionRecord, deliveries: HookDeliveries) -> None:
        run = None
        while deliveries.log:
            level, text = deliveries.log.popleft()
            if self.log is not None:
                self.log(level, text)
            run = run or self.instance.get_run_by_id(record.run_id)
            if run is not None:
                self.instance.report_engine_event(text, run)


@dataclass(frozen=True)
class Recovered:
    """What was delivered of one execution.

    Args:
        pipeline_id: The execution.
        drained: What it came to.
        error: Why it could not be looked at, if so.
    """

    pipeline_id: str
    drained: Drained
    error: str | None = None


def deliver_outstanding(outstanding: Outstanding, *, seconds: float) -> list[Recovered]:
    """Delivers what ended executions have left, waiting for what is to be tried again.

    Args:
        outstanding: The outbox.
        seconds: How long it may take at most.
    """
    give_up = time.monotonic() + seconds
    found: list[Recovered] = []
    for pipeline_id, cursors in outstanding.cursors().items():
        if outstanding.journal.lease(pipeline_id) is not None:
            continue  # somebody runs it, or will end it
        try:
            total = Drained()
            while True:
                drained = outstanding.drain(cursors, give_up=give_up)
                total = Drained(
                    total.delivered + drained.delivered,
                    total.dead + drained.dead,
                    drained.waiting,
                    drained.retry_at,
                    drained.held,
                )
                if drained.retry_at is None or time.monotonic() >= give_up:
                    break
                time.sleep(max(0.0, min(drained.retry_at - time.time(), 1.0)))
            found.append(Recovered(pipeline_id, total))
        except AetherError as error:
            found.append(Recovered(pipeline_id, Drained(), str(error)))
    return [each for each in found if each.error or each.drained.delivered or each.drained.waiting]
