"""The course of one run: Dagster's plan, followed by what workers report."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import dagster as dg

from aether_dagster.orchestration.compat import (
    ActiveExecution,
    ChildProcessCrashException,
    EngineEventData,
    ErrorInfo,
    ExecutionInterrupted,
    ExecutionPlan,
    ExecutionStep,
    InstanceConcurrencyContext,
    KnownExecutionState,
    PlanOrchestrationContext,
    SubprocessError,
    error_info,
    get_run_crash_explanation,
    raise_execution_interrupts,
)
from aether_dagster.orchestration.workers.crew import Crew
from aether_dagster.orchestration.workers.reports import Ended, Happened, Lost, Report
from aether_dagster.orchestration.workers.turns import Turns

# Dagster keeps the slots of pools in its database, so they must be asked for again and again; it
# does so at most once in this many seconds for each step.
_POOL_SECONDS = 1.0
# How often `check` is asked while nothing happens.
_CHECK_SECONDS = 0.5
_INTERRUPTED = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt"})


class Course:
    """The course of one run.

    Args:
        executor: Says how the run treats retries, and what a step waits for.
        crew: Runs the steps.
        context: Dagster's context of the run.
        plan: Its plan.
        check: Called twice a second or more often; what it raises ends the course.
    """

    def __init__(
        self,
        executor: dg.Executor,
        crew: Crew,
        context: PlanOrchestrationContext,
        plan: ExecutionPlan,
        check: Callable[[], None] | None = None,
    ):
        self._executor = executor
        self._check = check
        self._crew = crew
        self._context = context
        self._plan = plan
        self._errors: list[ErrorInfo] = []
        self._due: dict[str, float] = {}
        self._open: set[str] = set()
        self._stopping = False

    def run(
        self, tag_concurrency_limits: list[dict[str, Any]], workers: int
    ) -> Iterator[dg.DagsterEvent]:
        """Runs the plan; yields the run's events.

        Args:
            tag_concurrency_limits: As for the multiprocess executor.
            workers: How many steps run at once.

        Raises:
            ExecutionInterrupted: The run was interrupted, and its steps have ended.
            SubprocessError: What was raised through steps.
        """
        began = time.perf_counter()
        yield self._engine_event(
            f"Executing steps in up to {workers} warm workers: parent process (pid: {os.getpid()})",
            EngineEventData.multiprocess(
                os.getpid(), step_keys_to_execute=self._plan.step_keys_to_execute
            ),
        )
        with ExitStack() as stack:
            self._pools = stack.enter_context(
                InstanceConcurrencyContext(self._context.instance, self._context.dagster_run)
            )
            self._active = stack.enter_context(
                ActiveExecution(
                    self._plan,
                    retry_mode=self._executor.retries,
                    max_concurrent=workers,
                    tag_concurrency_limits=tag_concurrency_limits,
                    instance_concurrency_context=self._pools,
                    step_dependency_config=self._executor.step_dependency_config,
                )
            )
            self._turns = Turns(self._active, self._plan)
            yield from self._follow()
            yield from self._conclude()
        yield self._engine_event(
            f"Warm workers: parent process exiting after {time.perf_counter() - began:.2f}s "
            f"(pid: {os.getpid()})",
            EngineEventData.multiprocess(os.getpid()),
        )

    def _follow(self) -> Iterator[dg.DagsterEvent]:
        while (not self._stopping and not self._active.is_complete) or self._crew.busy:
            if self._check is not None:
                self._check()
            if not self._stopping:
                yield from self._give_steps()
            if self._wait() and not self._stopping:
                yield from self._interrupt()
            for report in self._crew.reports():
                yield from self._hear(report)

    def _give_steps(self) -> Iterator[dg.DagsterEvent]:
        steps = self._turns.next_steps(self._crew.room, running=bool(self._crew.busy))
        yield from self._active.concurrency_event_iterator(self._context)
        for step in steps:
            self._due.pop(step.key, None)
            self._open.add(step.key)
            yield dg.DagsterEvent.step_worker_starting(  # pyright: ignore[reportUnknownMemberType]
                self._context.for_step(step), f'Handing "{step.key}" to a worker.', metadata={}
            )
            self._crew.give(step.key, self._known_state_of(step))

    def _known_state_of(self, step: ExecutionStep) -> KnownExecutionState:
        """What is known that concerns one step: the whole grows with the run."""
        known = self._active.get_known_state()
        attempts = known.previous_retry_attempts.get(step.key)
        above = step.get_execution_dependency_keys()
        return known._replace(
            previous_retry_attempts={} if attempts is None else {step.key: attempts},
            ready_outputs={output for output in known.ready_outputs if output.step_key in above},
        )

    def _wait(self) -> bool:
        """Waits until something happens; tells whether that is an interrupt."""
        try:
            with raise_execution_interrupts():
                self._crew.wait(self._patience())
        except ExecutionInterrupted:
            return True
        return self._active.check_for_interrupts()

    def _patience(self) -> float | None:
        """How long nothing may happen, in seconds, until there is something to do all the same."""
        limit = None if self._check is None else _CHECK_SECONDS
        if self._stopping or not self._crew.room:
            return limit
        now = time.time()
        self._due = {key: due for key, due in self._due.items() if due > now}
        waits = [due - now for due in self._due.values()]
        if self._pools.has_pending_claims():
            waits.append(_POOL_SECONDS)
        if not self._crew.busy:
            waits.append(0.0 if not waits else _POOL_SECONDS)
        if limit is not None:
            waits.append(limit)
        return min(waits, default=None)

    def _interrupt(self) -> Iterator[dg.DagsterEvent]:
        yield self._engine_event(
            "Warm workers: received termination signal - forwarding to active workers",
            EngineEventData.interrupted(sorted(self._crew.busy)),
        )
        self._stopping = True
        self._active.mark_interrupted()
        self._crew.interrupt()

    def _hear(self, report: Report) -> Iterator[dg.DagsterEvent]:
        match report:
            case Happened(step_key, event):
                yield event
                self._take(event)
                if event.is_resource_init_failure:
                    error = event.engine_event_data.error
                    assert error is not None
                    yield from self._fail(step_key, error)
                return
            case Ended(step_key, error):
                if error is not None:
                    self._errors.append(error)
            case Lost(step_key):
                if step_key in self._open:
                    yield from self._lose(report)
        self._turns.ended(step_key)
        self._open.discard(step_key)
        self._active.verify_complete(self._context, step_key)
        yield from self._active.plan_events_iterator(self._context)

    def _take(self, event: dg.DagsterEvent) -> None:
        self._active.handle_event(event)
        if event.is_step_success or event.is_step_failure or event.is_step_up_for_retry:
            self._open.discard(event.step_key or "")
        if event.is_step_up_for_retry:
            wait = event.step_retry_data.seconds_to_wait or 0
            self._due[event.step_key or ""] = time.time() + wait

    def _lose(self, lost: Lost) -> Iterator[dg.DagsterEvent]:
        error = _crash(lost)
        context = self._context.for_step(self._active.get_step_by_key(lost.step_key))
        prefix = f"Warm workers: worker process of step {lost.step_key}"
        explanation = (
            f"{prefix} is gone."
            if lost.exit_code is None
            else get_run_crash_explanation(prefix=prefix, exit_code=lost.exit_code)
        )
        yield dg.DagsterEvent.engine_event(
            context, explanation, EngineEventData.engine_error(error)
        )
        yield from self._fail(lost.step_key, error, count=True)

    def _fail(
        self, step_key: str, error: ErrorInfo, *, count: bool = False
    ) -> Iterator[dg.DagsterEvent]:
        """Fails a step whose worker cannot, or lets it be tried again."""
        event = self._executor.log_failure_or_retry_event_after_error(
            self._context.for_step(self._active.get_step_by_key(step_key)),
            error,
            self._active.get_known_state(),
        )
        yield event
        self._take(event)
        if count and event.is_step_failure:
            self._errors.append(error)

    def _conclude(self) -> Iterator[dg.DagsterEvent]:
        if self._stopping and all(error.cls_name in _INTERRUPTED for error in self._errors):
            yield self._engine_event(
                "Warm workers: interrupted all active workers", EngineEventData()
            )
            raise ExecutionInterrupted
        if self._errors:
            told = "\n".join(error.to_string() for error in self._errors)
            raise SubprocessError(
                f"During execution errors occurred in workers:\n{told}",
                subprocess_error_infos=self._errors,
            )

    def _engine_event(self, message: str, data: EngineEventData) -> dg.DagsterEvent:
        return dg.DagsterEvent.engine_event(self._context, message, data)


def _crash(lost: Lost) -> ErrorInfo:
    try:
        # Told as Dagster's own executor tells it.
        raise ChildProcessCrashException(pid=lost.pid, exit_code=lost.exit_code)  # noqa: TRY301
    except ChildProcessCrashException:
        return error_info(sys.exc_info())
