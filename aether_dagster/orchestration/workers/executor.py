"""The executor of warm workers (spec 7, "Warm workers")."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from aether_dagster.orchestration.compat import (
    ExecutionPlan,
    PlanOrchestrationContext,
    RetryMode,
    StepDependencyConfig,
)
from aether_dagster.orchestration.workers.course import Course
from aether_dagster.orchestration.workers.crew import Crew, Recycling, StartMethod
from aether_dagster.orchestration.workers.messages import Assignment


class WarmExecutor(dg.Executor):
    """Runs steps in worker processes which load the job once.

    To the outside it does what Dagster's multiprocess executor does: the same events in the same
    order for each step, the same limits, retries and cancellation.

    Args:
        workers: How many steps run at once.
        retries: How the run treats retries.
        tag_concurrency_limits: As for the multiprocess executor.
        recycling: When a worker is replaced.
        start_method: How workers start.

    Attributes:
        check: Called twice a second or more often while the plan is followed; what it raises ends
            the run and interrupts its steps. None where there is nothing to check.
    """

    def __init__(
        self,
        *,
        workers: int,
        retries: RetryMode,
        tag_concurrency_limits: list[dict[str, Any]],
        recycling: Recycling,
        start_method: StartMethod,
    ):
        self._workers = workers
        self._retries = retries
        self._tag_concurrency_limits = tag_concurrency_limits
        self._recycling = recycling
        self._start_method: StartMethod = start_method
        self._crew: Crew | None = None
        self.check: Callable[[], None] | None = None

    @property
    def retries(self) -> RetryMode:
        """How the run treats retries."""
        return self._retries

    @property
    def step_dependency_config(self) -> StepDependencyConfig:
        """Dagster's default: a step waits until all steps above it have ended."""
        return StepDependencyConfig.default()

    @contextmanager
    def ready(self, context: PlanOrchestrationContext, plan: ExecutionPlan) -> Generator[None]:
        """Prepares workers for `execute`, and ends them at last.

        To be entered while this process has no threads yet: it may then be forked, with all which
        it has imported and built.
        """
        self._crew = Crew(
            Assignment.of(context, plan),
            plan,
            size=self._workers,
            recycling=self._recycling,
            start_method=self._start_method,
        )
        first = [key for key, above in plan.get_executable_step_deps().items() if not above]
        self._crew.hire(len(first))
        try:
            yield
        finally:
            self._crew.end()
            self._crew = None

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Runs the plan with the workers which `ready` prepared."""
        assert self._crew is not None
        finished = False
        try:
            yield from Course(self, self._crew, plan_context, execution_plan, self.check).run(
                self._tag_concurrency_limits, self._workers
            )
            finished = True
        finally:
            if finished:
                self._crew.dismiss()
            else:
                self._crew.end()
