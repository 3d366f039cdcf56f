"""The executor which keeps state on the run side: it wraps another and sees every event."""

import multiprocessing
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, cast

import dagster as dg

from aether_dagster.orchestration.compat import (
    ExecutionInterrupted,
    ExecutionPlan,
    InProcessExecutor,
    PlanOrchestrationContext,
    RetryMode,
    StepDependencyConfig,
    context_of_executor,
    get_retries_config,
    get_tag_concurrency_limits_config,
    multiple_process_executor_requirements,
    raise_execution_interrupts,
)
from aether_dagster.orchestration.run_side import RunSide
from aether_dagster.orchestration.workers.crew import Recycling
from aether_dagster.orchestration.workers.executor import WarmExecutor

# A worker costs a tenth of a second, so these only bound what code of steps leaks.
RECYCLE_AFTER_STEPS = 500
RECYCLE_ABOVE_MEGABYTES = 2_000

# How long steps have to end themselves, in seconds, when the run is left.
_END_SECONDS = 20.0


class AetherExecutor(dg.Executor):
    """Initializes the executions of a run, follows its events, and finalizes.

    Args:
        inner: The executor which runs the steps.
    """

    def __init__(self, inner: dg.Executor):
        self._inner = inner

    @property
    def retries(self) -> RetryMode:
        """The inner executor's."""
        return self._inner.retries

    @property
    def step_dependency_config(self) -> StepDependencyConfig:
        """The inner executor's."""
        return self._inner.step_dependency_config

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Runs the plan by the inner executor."""
        inner = self._inner
        ready = (
            inner.ready(plan_context, execution_plan)
            if isinstance(inner, WarmExecutor)
            else nullcontext()
        )
        # Workers first: they may be forked from a process which has no threads yet.
        with ready, RunSide(plan_context, execution_plan) as run_side:
            if isinstance(inner, WarmExecutor) and run_side.requires_history:
                # A step may run for hours without an event.
                inner.check = run_side.check_history
            others = set(multiprocessing.active_children())
            try:
                yield from self._follow(plan_context, execution_plan, run_side)
            except BaseException:
                # An executor which is left in the middle leaves its steps running.
                _end(set(multiprocessing.active_children()) - others)
                raise

    def _follow(
        self,
        plan_context: PlanOrchestrationContext,
        execution_plan: ExecutionPlan,
        run_side: RunSide,
    ) -> Iterator[dg.DagsterEvent]:
        events = self._inner.execute(context_of_executor(plan_context, self._inner), execution_plan)
        try:
            while (event := self._next(events, run_side)) is not None:
                interrupted = run_side.observe(event)
                yield event
                if interrupted:
                    raise ExecutionInterrupted
        finally:
            _close(events)

    def _next(self, events: Iterator[dg.DagsterEvent], run_side: RunSide) -> dg.DagsterEvent | None:
        if run_side.waiting and isinstance(self._inner, InProcessExecutor):
            with raise_execution_interrupts():
                return next(events, None)
        return next(events, None)


def _close(events: Iterator[dg.DagsterEvent]) -> None:
    """Ends an executor's events where they are.

    Dagster answers the end of a step's events with one more event, and Python would print a
    complaint about it on standard error.
    """
    close = getattr(events, "close", None)
    before = sys.unraisablehook
    sys.unraisablehook = lambda _: None
    try:
        with suppress(RuntimeError):
            if close is not None:
                close()
    finally:
        sys.unraisablehook = before


def _end(processes: Collection[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    give_up = time.monotonic() + _END_SECONDS
    for process in processes:
        process.join(max(0.0, give_up - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


class AetherExecutorDefinition(dg.ExecutorDefinition):
    """`aether_executor`: an executor definition which can wrap another."""

    def wrapping(self, inner: dg.ExecutorDefinition) -> dg.ExecutorDefinition:
        """Returns an executor which runs steps as `inner` does, and keeps state beside it.

        Args:
            inner: Any executor: `dg.multiprocess_executor`, `k8s_job_executor`, …; its
                configuration stays as it is. One which keeps state already is returned.
        """
        create = inner.executor_creation_fn
        if create is _create_default or isinstance(create, _Wrapping):
            return inner
        return dg.ExecutorDefinition(
            name=f"aether_{inner.name}",
            config_schema=cast("Any", inner.config_schema),  # it takes what it gives
            requirements=inner.get_requirements,
            executor_creation_fn=_Wrapping(inner),
            description=f"Keeps AetherScript's state around {inner.name}.",
        )


@dataclass(frozen=True)
class _Wrapping:
    """Makes an executor which wraps another; it is known again after `configured`."""

    inner: dg.ExecutorDefinition

    def __call__(self, context: dg.InitExecutorContext) -> dg.Executor:
        return AetherExecutor(_create(self.inner, context, context.executor_config))


def _create(
    inner: dg.ExecutorDefinition, context: dg.InitExecutorContext, config: Mapping[str, Any]
) -> dg.Executor:
    create = inner.executor_creation_fn
    assert create is not None, f"{inner.name} has no creation function"
    return create(
        dg.InitExecutorContext(
            job=context.job,
            executor_def=inner,
            executor_config=config,
            instance=context.instance,
        )
    )


def _create_default(context: dg.InitExecutorContext) -> dg.Executor:
    config = context.executor_config
    workers: Any = config["workers"]
    retries = {"retries": config["retries"]}
    if workers == 1:
        return AetherExecutor(_create(dg.in_process_executor, context, retries))
    recycle: Any = config["recycle"]
    limits: Any = config.get("tag_concurrency_limits", [])
    method: Any = config["start_method"]
    mode: Any = config["retries"]
    return AetherExecutor(
        WarmExecutor(
            workers=workers,
            retries=RetryMode(*mode),
            tag_concurrency_limits=limits,
            recycling=Recycling(recycle["steps"], recycle["memory_mb"] * 1_000_000),
            start_method=method,
        )
    )


def _requirements(config: Mapping[str, Any]) -> Sequence[Any]:
    return [] if config.get("workers", 1) == 1 else multiple_process_executor_requirements()


aether_executor = AetherExecutorDefinition(
    name="aether",
    config_schema={
        "workers": dg.Field(
            dg.IntSource,
            default_value=1,
            description="Processes which run steps; 1 runs them in the run's own process.",
        ),
        "retries": get_retries_config(),
        "tag_concurrency_limits": get_tag_concurrency_limits_config(),
        "recycle": dg.Field(
            {
                "steps": dg.Field(
                    dg.IntSource,
                    default_value=RECYCLE_AFTER_STEPS,
                    description="A worker which has run this many steps is replaced.",
                ),
                "memory_mb": dg.Field(
                    dg.IntSource,
                    default_value=RECYCLE_ABOVE_MEGABYTES,
                    description=(
                        "A worker which has more resident memory after a step, in megabytes, is "
                        "replaced."
                    ),
                ),
            },
            description="When a worker ends and a fresh one takes its place.",
        ),
        "start_method": dg.Field(
            dg.Enum("StartMethod", [dg.EnumValue("auto"), dg.EnumValue("spawn")]),
            default_value="auto",
            description=(
                "auto: fork workers from a process which has loaded the job, where that is safe; "
                "spawn: each loads it by itself."
            ),
        ),
    },
    requirements=_requirements,
    executor_creation_fn=_create_default,
    description="Runs AetherScript's nodes and keeps their state.",
)
"""The executor of AetherScript's jobs. `aether_executor.wrapping(inner)` wraps another one."""
