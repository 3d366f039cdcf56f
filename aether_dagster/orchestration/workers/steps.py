"""Runs single steps of a run whose job, plan and configuration were built once."""

import asyncio
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import dagster as dg

# Private: `execute_plan_iterator`, which Dagster's own step processes call, resolves the run's
# configuration anew for every step. These are the parts which it is made of.
from dagster._core.execution.api import ExecuteRunWithPlanIterable, create_execution_plan
from dagster._core.execution.context.system import PlanExecutionContext
from dagster._core.execution.context_creation_job import (
    ContextCreationData,
    ExecutionContextManager,
    create_execution_data,
    create_log_manager,
    create_plan_data,
)
from dagster._core.execution.plan.execute_plan import inner_plan_execution_iterator
from dagster._core.execution.resources_init import (
    get_required_resource_keys_to_init,
    resource_initialization_manager,
)
from dagster._core.log_manager import DagsterLogManager
from dagster._core.system_config.objects import ResolvedRunConfig

from aether_dagster.orchestration.compat import (
    ExecutionPlan,
    KnownExecutionState,
    StepDependencyConfig,
)
from aether_dagster.orchestration.workers.messages import Assignment


@dataclass(frozen=True)
class Built:
    """What workers need of a run that can be built before they exist.

    Args:
        job: The job's definition.
        plan: The plan of the whole run.
        config: The run's configuration, resolved.
    """

    job: dg.JobDefinition
    plan: ExecutionPlan
    config: ResolvedRunConfig


def build(assignment: Assignment, plan: ExecutionPlan | None = None) -> Built:
    """Builds a run's job and plan in this process.

    Args:
        assignment: The run.
        plan: Its plan, where this process has it already.
    """
    job = assignment.job.get_definition()
    assignment.job.get_repository_definition()
    return Built(
        job=job,
        plan=plan or _plan(assignment, assignment.step_keys, assignment.known_state),
        config=ResolvedRunConfig.build(job, assignment.run.run_config),
    )


class StepRunner:
    """Runs steps of one run in this process, one after another.

    Args:
        assignment: The run.
        built: What was built of it.
        instance: Its instance, as this process opened it.
    """

    def __init__(self, assignment: Assignment, built: Built, instance: dg.DagsterInstance):
        self._assignment = assignment
        self._built = built
        self._instance = instance
        self._log: DagsterLogManager | None = None

    def run(self, step_key: str, known_state: KnownExecutionState) -> Iterator[dg.DagsterEvent]:
        """Runs a step; yields its events, which are in the instance's log by then."""
        plan = self._plan_of(step_key, known_state)
        data = self._creation_data(plan)
        if self._log is None:
            # As in one process: of each run, and not of each step.
            self._log = create_log_manager(data)
        run = self._assignment.run
        yield dg.DagsterEvent.step_worker_started(  # pyright: ignore[reportUnknownMemberType]
            self._log,
            run.job_name,
            message=f'Executing step "{step_key}" in a warm worker.',
            metadata={"pid": dg.MetadataValue.text(str(os.getpid()))},
            step_key=step_key,
        )
        yield from ExecuteRunWithPlanIterable(
            execution_plan=plan,
            iterator=inner_plan_execution_iterator,
            execution_context_manager=_StepContext(data, self._assignment, self._log),
        )

    def _plan_of(self, step_key: str, known_state: KnownExecutionState) -> ExecutionPlan:
        whole = self._built.plan
        if whole.resolvable_map:
            # What a dynamic output maps to is known by now, and shapes the plan.
            return _plan(self._assignment, (step_key,), known_state)
        handle = whole.get_step_by_key(step_key).handle
        return whole._replace(
            executable_map={step_key: handle},
            step_handles_to_execute=[handle],
            known_state=known_state,
        )

    def _creation_data(self, plan: ExecutionPlan) -> ContextCreationData:
        return ContextCreationData(
            job=self._assignment.job,
            resolved_run_config=self._built.config,
            dagster_run=self._assignment.run,
            executor_def=self._built.job.executor_def,
            instance=self._instance,
            resource_keys_to_init=get_required_resource_keys_to_init(plan, self._built.job),
            execution_plan=plan,
        )


class _StepContext(ExecutionContextManager[PlanExecutionContext]):
    """Dagster's context of a step: its resources and its log."""

    def __init__(self, data: ContextCreationData, assignment: Assignment, log: DagsterLogManager):
        super().__init__(_context_events(data, assignment, log))

    @property
    def context_type(self) -> type[PlanExecutionContext]:
        return PlanExecutionContext


def _context_events(
    data: ContextCreationData, assignment: Assignment, log: DagsterLogManager
) -> Generator[dg.DagsterEvent | PlanExecutionContext]:
    loop = asyncio.new_event_loop()
    try:
        resources = resource_initialization_manager(
            resource_defs=data.job_def.get_required_resource_defs(),
            resource_configs=data.resolved_run_config.resources,
            log_manager=log,
            execution_plan=data.execution_plan,
            dagster_run=data.dagster_run,
            resource_keys_to_init=data.resource_keys_to_init,
            instance=data.instance,
            emit_persistent_events=True,
            event_loop=loop,
        )
        yield from resources.generate_setup_events()
        yield PlanExecutionContext(
            plan_data=create_plan_data(
                data,
                raise_on_error=False,
                retry_mode=assignment.retries.for_inner_plan(),
                step_dependency_config=StepDependencyConfig.default(),
            ),
            execution_data=create_execution_data(data, resources.get_object()),
            log_manager=log,
            output_capture=None,
            event_loop=loop,
        )
        yield from resources.generate_teardown_events()
    finally:
        with suppress(RuntimeError):
            # A step may have left its own loop running, in which nothing can be run.
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _plan(
    assignment: Assignment, step_keys: tuple[str, ...], known_state: KnownExecutionState
) -> ExecutionPlan:
    config: Mapping[str, Any] = assignment.run.run_config
    return create_execution_plan(
        assignment.job,
        run_config=config,
        step_keys_to_execute=list(step_keys),
        known_state=known_state,
        repository_load_data=assignment.load_data,
    )
