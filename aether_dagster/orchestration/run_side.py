"""What the run's own process does for the state: initialize, follow Dagster's events, finalize."""

import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import dagster as dg

from aether_dagster.errors import SnapshotError
from aether_dagster.journal import Journal
from aether_dagster.manager import Change, Execution, Follower
from aether_dagster.manager.ending import FAILED, RETRYING, SUCCEEDED, RunEnd
from aether_dagster.manager.follower import Observer
from aether_dagster.manager.history import HistoryFiles, HistoryWriter
from aether_dagster.manager.identity import own_identity
from aether_dagster.manager.manager import LEASE_SECONDS
from aether_dagster.orchestration.compat import (
    EngineEventData,
    ExecutionInterrupted,
    ExecutionPlan,
    PlanOrchestrationContext,
)
from aether_dagster.orchestration.hook_delivery import start_deliveries
from aether_dagster.orchestration.listener import STEP_EVENTS, StepReport, step_report
from aether_dagster.orchestration.materialization import live_page
from aether_dagster.orchestration.node import node_body
from aether_dagster.orchestration.pipeline import CompiledPipeline
from aether_dagster.orchestration.runtime import close_execution, key_ring, open_execution
from aether_dagster.snapshot import HistoryStore

_logger = logging.getLogger(__name__)
_STATUS = {"success": SUCCEEDED, "failure": FAILED, "retry": RETRYING}
# How long finalization waits for the files of what was committed, in seconds.
_DRAIN_LIMIT = 60.0


@dataclass
class Watch:
    """A command line which watches the run that its own process executes.

    Args:
        on_change: Called with each version of the execution.

    Attributes:
        error: Why the execution could not be initialized; Dagster would keep it to its own log.
        history_error: Why the state history is not whole. The report cannot say it of the file
            which holds the report.
        hook_error: Why a state hook failed whose failures count.
        undelivered: How many deliveries to state hooks are left in the outbox.
        ended: The execution, once it is finalized: its state need not be folded once more.
    """

    on_change: Callable[[Change], None]
    error: BaseException | None = None
    history_error: str | None = None
    hook_error: str | None = None
    undelivered: int = 0
    ended: Execution | None = None


watched: ContextVar[Watch | None] = ContextVar("watched", default=None)


class HistoryRequired(Exception):
    """The state history could not be written, and the run must not go on without."""


class HookFailed(Exception):
    """A state hook failed, and its class says that this fails the run."""


class RunSide:
    """The executions of one Dagster run, as the run's own process keeps them.

    Args:
        plan_context: Dagster's context of the run.
        execution_plan: The steps which will run.
    """

    def __init__(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan):
        self._context = plan_context
        self._plan = execution_plan
        self._nodes: dict[str, tuple[_Tracked, str]] = {}
        self._tracked: list[_Tracked] = []
        self._attempts = Counter[str]()
        self._resource_error: str | None = None
        self._started = False
        self._running: set[str] = set()
        self._retrying: set[str] = set()
        self._watch = watched.get()

    def __enter__(self) -> Self:
        job = self._context.job.get_definition()
        steps: dict[int, tuple[CompiledPipeline, list[tuple[str, str]]]] = {}
        # Dagster makes the list of them each time it is asked.
        to_execute = frozenset(self._plan.step_keys_to_execute)
        for step in self._plan.steps:
            if step.key not in to_execute:
                continue
            body = node_body(job.get_op(step.node_handle).definition)
            if body is not None:
                found = steps.setdefault(id(body.pipeline), (body.pipeline, []))
                found[1].append((step.key, body.step.id))
        try:
            for pipeline, nodes in steps.values():
                tracked = _Tracked(self._context, pipeline, tuple(step for _, step in nodes))
                self._tracked.append(tracked)
                self._nodes.update({key: (tracked, step) for key, step in nodes})
        except BaseException as error:
            if self._watch is not None:
                self._watch.error = error
            self.__exit__(type(error), error, None)
            raise
        return self

    @property
    def waiting(self) -> bool:
        """Whether steps wait for their next attempt and none runs."""
        return bool(self._retrying) and not self._running

    @property
    def requires_history(self) -> bool:
        """Whether the run ends when a history cannot be written."""
        return any(tracked.requires_history for tracked in self._tracked)

    def check_history(self) -> None:
        """Ends the run where a history which is required could not be written.

        Raises:
            HistoryRequired: So it is.
        """
        for tracked in self._tracked:
            tracked.check_history()

    def observe(self, event: dg.DagsterEvent) -> bool:
        """Takes an event of the run; commits what it says of a node.

        Returns:
            Whether this process was interrupted in a step and Dagster would try the step again
            instead of ending the run: it does where the step has a retry policy.

        Raises:
            HistoryRequired: The history could not be written, and is required.
        """
        if event.event_type == dg.DagsterEventType.RESOURCE_INIT_FAILURE:
            error = event.engine_event_data.error
            self._resource_error = "Resources failed." if error is None else error.message.strip()
        report = step_report(event)
        if report is not None:
            self._note(report)
        if report is not None and report.step_key in self._nodes:
            self._started = True
            tracked, step = self._nodes[report.step_key]
            attempt = self._attempts[report.step_key] + 1
            status = _STATUS.get(report.kind)
            if status is not None:
                tracked.execution.settle(step, attempt, status, report.error, report.seconds)
            if report.kind == "retry":
                self._attempts[report.step_key] += 1
        self.check_history()
        for tracked in self._tracked:
            tracked.show_hook_log()
        return (
            report is not None
            and report.kind == "retry"
            and (report.error or {})["type"] == "Cancelled"
            and event.pid == os.getpid()
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        interrupted = isinstance(error, KeyboardInterrupt | ExecutionInterrupted)
        if interrupted and self._watch is not None:
            self._report_cancelling()
        end = RunEnd(
            cancelled=interrupted or self._is_cancelling(),
            resource_error=None if self._started else self._resource_error,
            error=None if error is None or interrupted else f"{type(error).__name__}: {error}",
        )
        if isinstance(error, HistoryRequired):
            self._fail_cut_off(error)
        failures = [failure for tracked in self._tracked for failure in tracked.finalize(end)]
        if failures and error is None:
            raise HookFailed(failures[0])

    def _fail_cut_off(self, error: HistoryRequired) -> None:
        """Ends the steps which are cut off because the run is, as Dagster's log has them.

        The log says more than was heard of here: a step in a process of its own may have begun or
        succeeded meanwhile, and one whose output was taken already may yet have been cut off.
        """
        told = {"type": "RunFailed", "message": f"The run was ended: {error}"}
        last: dict[str, StepReport] = {}
        attempts = Counter[str]()
        log = self._context.instance.all_logs(self._context.run_id, of_type=set(STEP_EVENTS))
        for entry in log:
            report = None if entry.dagster_event is None else step_report(entry.dagster_event)
            if report is not None:
                last[report.step_key] = report
                attempts[report.step_key] += report.kind == "retry"
        for key, report in last.items():
            if key in self._nodes and report.kind in ("start", "restart", "failure"):
                tracked, step = self._nodes[key]
                tracked.execution.settle(step, attempts[key] + 1, FAILED, report.error or told)

    def _note(self, report: StepReport) -> None:
        self._running.discard(report.step_key)
        self._retrying.discard(report.step_key)
        if report.kind in ("start", "restart"):
            self._running.add(report.step_key)
        elif report.kind == "retry":
            self._retrying.add(report.step_key)

    def _report_cancelling(self) -> None:
        # Who presses Ctrl-C cancels; Dagster calls an interrupt without a request a failure.
        instance, run_id = self._context.instance, self._context.run_id
        run = instance.get_run_by_id(run_id)
        if run is not None and run.status == dg.DagsterRunStatus.STARTED:
            instance.report_run_canceling(run)

    def _is_cancelling(self) -> bool:
        run = self._context.instance.get_run_by_id(self._context.run_id)
        cancelling = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)
        return run is not None and run.status in cancelling


class _Tracked:
    """One execution of the run, its follower and its history."""

    def __init__(
        self,
        context: PlanOrchestrationContext,
        pipeline: CompiledPipeline,
        selected: tuple[str, ...],
    ):
        self._settings = pipeline.settings
        self.execution: Execution = open_execution(
            context.instance, context.dagster_run, pipeline, selected=selected, keep=True
        )
        self._journal: Journal = self.execution.journal
        self._holder = own_identity()
        self._renewed = float("-inf")
        self._renew_lease()
        self._history = self._history_writer()
        self._watch = watched.get()
        observers: list[Observer] = [] if self._history is None else [self._history]
        if self._watch is not None:
            observers.append(self._watch.on_change)
        self._context, self._name = context, pipeline.document.name
        self._hooks = start_deliveries(self.execution, pipeline, everything=self._watch is not None)
        if self._hooks is not None:
            observers.append(self._hooks.see)
        self._follower = Follower(
            self._journal, self.execution.id, observers, tick=self._renew_lease
        )
        self._follower.start()
        resumed_from = self.execution.record.resumed_from
        self._tag(
            id=self.execution.id,
            config_hash=pipeline.document.config_hash,
            **({} if resumed_from is None else {"resumed_from": resumed_from}),
        )
        self._tell_where()

    def _tell_where(self) -> None:
        """Puts a link to the live page into the run's log; values of tags are no links."""
        live = self._settings.live_url
        if live is None:
            return
        link = dg.MetadataValue.url(live_page(live, self.execution.id))
        self._context.instance.report_engine_event(
            f"AetherScript keeps the state of {self._name} as {self.execution.id}.",
            self._context.dagster_run,
            EngineEventData({"aether/live": link}),
        )

    @property
    def requires_history(self) -> bool:
        return self._settings.history_required and self._history is not None

    def check_history(self) -> None:
        if self.requires_history and self._history and self._history.error:
            raise HistoryRequired(str(self._history.error))

    def show_hook_log(self) -> None:
        """Puts what hooks logged into Dagster's log, from the thread which may write there."""
        if self._hooks is not None:
            for level, text in self._hooks.take_log():
                self._context.log.log(level, text)

    def finalize(self, end: RunEnd) -> list[str]:
        """Ends the execution; returns the failures of state hooks which count."""
        execution = self.execution
        if execution.hooks is not None:
            execution.hooks.log = self._context.log.log
        execution.end_nodes(end)
        self._drain()
        hook_failures: list[str] = []
        if self._hooks is not None:
            self._hooks.settle()
            hook_failures = self._hooks.failures
        if hook_failures and end.error is None:
            end = replace(end, error=hook_failures[0])
        failures = close_execution(execution)
        removed = execution.values.remove(execution.id, execution.referenced_values())
        failures.extend(removed.failures)
        details: dict[str, object] = {}
        if failures:
            details["cleanup"] = {"failures": failures}
        if self._history is not None and self._history.error is not None:
            details["history_error"] = str(self._history.error)
        if execution.active is not None and execution.active.instances:
            details["plugins"] = execution.redaction.value(execution.active.cleanup())
        execution.finalize(end, details=details)
        if self._watch is not None:
            self._watch.ended = execution
        self._drain()
        if self._hooks is not None:
            left = self._hooks.finish()
            self.show_hook_log()
            hook_failures = self._hooks.failures
            if self._watch is not None:
                self._watch.undelivered = left.waiting
                self._watch.hook_error = hook_failures[0] if hook_failures else None
        if self._watch is not None and self._history is not None and self._history.error:
            self._watch.history_error = str(self._history.error)
        self._follower.stop()
        if self._history is not None:
            self._history.close()
            if self._history.head is not None:
                self._tag(history_head=self._history.head)
        self._journal.release(self.execution.id, self._holder)
        return hook_failures

    def _tag(self, **tags: str) -> None:
        named = {f"aether/{self._name}.{key}": value for key, value in tags.items()}
        self._context.instance.add_run_tags(self._context.run_id, named)

    def _drain(self) -> None:
        version = self.execution.replica.version
        if not self._follower.drain(version, _DRAIN_LIMIT) and self._history is not None:
            self._history.fail(SnapshotError(f"Version {version} was not written in time."))

    def _history_writer(self) -> HistoryWriter | None:
        history, location = self._settings.history, self.execution.record.history
        if history is None or location is None:
            return None
        folder = location.rstrip("/").rpartition("/")[2]
        keys = key_ring(self._settings)
        store = HistoryStore(history, beside=True)
        files = HistoryFiles(self._journal, self.execution.id, store, folder, keys)
        return HistoryWriter(files, self._complain)

    def _complain(self, error: SnapshotError) -> None:
        _logger.error("The state history of %s is incomplete: %s", self.execution.id, error)

    def _renew_lease(self) -> None:
        now = time.monotonic()
        if now - self._renewed >= LEASE_SECONDS / 3:
            self._journal.acquire(self.execution.id, self._holder, LEASE_SECONDS)
            self._renewed = now
