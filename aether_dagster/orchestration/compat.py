"""What we need of Dagster beyond its public interface, each with the reason (design: rings)."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import dagster as dg

# `dagster.build_reconstructable_job` takes functions which return a job; a job alone loses the
# repository's other assets, which a run of a selection loads from.
from dagster._core.code_pointer import CustomPointer, ModuleCodePointer

# An executor which runs steps in processes asks for an instance which those can open.
from dagster._core.definitions.executor_definition import multiple_process_executor_requirements
from dagster._core.definitions.reconstruct import ReconstructableJob, ReconstructableRepository

# Dagster refuses an owner when the asset is built; a document's problems are told by its lines.
from dagster._core.definitions.utils import is_valid_owner

# What a cancelled run raises inside a step; it is public only as "some BaseException".
from dagster._core.errors import DagsterExecutionInterruptedError as ExecutionInterrupted

# What a run under a multiprocess executor ends with where its processes failed.
from dagster._core.errors import DagsterSubprocessError as SubprocessError

# Dagster holds interrupts back between steps, also while it sleeps until a retry is due.
from dagster._core.errors import raise_execution_interrupts

# An executor tells of itself in the run's log by these, and an event of the run can carry a link.
from dagster._core.events import EngineEventData

# `dg.execute_job` re-executes a run's own steps, and not others of a document which was changed;
# and it keeps every event of a run in a list until the end.
from dagster._core.execution.api import execute_run_iterator

# The signature of `Executor.execute`, which is public, is made of these, which are not.
from dagster._core.execution.context.system import PlanOrchestrationContext

# Which steps may run now: dependencies, retries, tag limits and pools, as in every executor.
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.execution.plan.step import ExecutionStep
from dagster._core.execution.retries import RetryMode, get_retries_config
from dagster._core.execution.step_dependency_config import StepDependencyConfig

# The option of the multiprocess executor which ours has too.
from dagster._core.execution.tags import get_tag_concurrency_limits_config

# What a worker which died is told as: those who read Dagster's log know it by this name.
from dagster._core.executor.child_process_executor import ChildProcessCrashException
from dagster._core.executor.in_process import InProcessExecutor

# A worker opens the instance anew by its reference.
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import ConfigurableClassData

# Says of an exit status what it usually means, such as that memory ran out.
from dagster._utils import get_run_crash_explanation

# How an error passes from process to process.
from dagster._utils.error import serializable_error_info_from_exc_info as error_info

# Keeps an interrupt for the next place where it may be raised.
from dagster._utils.interrupts import capture_interrupts

# What integrations offer as `translation:` and `partitions_def:` in a `defs.yaml`; Dagster's own
# packages import them from here.
from dagster.components.resolved.core_models import (
    DailyPartitionsDefinitionModel,
    HourlyPartitionsDefinitionModel,
    StaticPartitionsDefinitionModel,
    TimeWindowPartitionsDefinitionModel,
    WeeklyPartitionsDefinitionModel,
)
from dagster.components.resolved.core_models import (
    resolve_partitions_def as _resolve_partitions_def,  # pyright: ignore[reportUnknownVariableType]
)
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver

# How step failure events hold the error.
from dagster_shared.error import SerializableErrorInfo as ErrorInfo

# Code references are in beta; the warning is for those who chose them, and our users did not.
from dagster_shared.utils.warnings import disable_dagster_warnings

# A `defs.yaml` is read as Dagster reads it: several components in one file, dates as texts.
from dagster_shared.yaml_utils import parse_yamls_with_source_position

PartitionsModel = (
    HourlyPartitionsDefinitionModel
    | DailyPartitionsDefinitionModel
    | WeeklyPartitionsDefinitionModel
    | TimeWindowPartitionsDefinitionModel
    | StaticPartitionsDefinitionModel
)
"""The partitions which a `defs.yaml` can write down."""

__all__ = [
    "ActiveExecution",
    "ChildProcessCrashException",
    "ConfigurableClassData",
    "EngineEventData",
    "ErrorInfo",
    "ExecutionInterrupted",
    "ExecutionPlan",
    "ExecutionStep",
    "InProcessExecutor",
    "InstanceConcurrencyContext",
    "InstanceRef",
    "KnownExecutionState",
    "PartitionsModel",
    "PlanOrchestrationContext",
    "ReconstructableJob",
    "RetryMode",
    "StepDependencyConfig",
    "SubprocessError",
    "TranslationFn",
    "TranslationFnResolver",
    "allow_depth",
    "capture_interrupts",
    "context_of_executor",
    "disable_dagster_warnings",
    "error_info",
    "execute_run_iterator",
    "get_retries_config",
    "get_run_crash_explanation",
    "get_tag_concurrency_limits_config",
    "is_valid_owner",
    "multiple_process_executor_requirements",
    "op_definition",
    "parse_defs",
    "raise_execution_interrupts",
    "reconstructable_job",
    "resolve_partitions",
    "retries_enabled",
]


def resolve_partitions(
    context: dg.ResolutionContext, model: PartitionsModel | str | None
) -> dg.PartitionsDefinition | None:
    """Returns the partitions which a `defs.yaml` writes down, or gives by a template."""
    if isinstance(model, str):
        return cast("Any", context).resolve_value(model, as_type=dg.PartitionsDefinition)
    return _resolve_partitions_def(context, model)


def parse_defs(file: Path) -> Iterator[Mapping[str, Any]]:
    """Yields the attributes of each component in a `defs.yaml`.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no YAML.
    """
    text = file.read_text(encoding="utf-8")
    try:
        parsed = parse_yamls_with_source_position(text, str(file))
    except Exception as error:  # of a parser which is none of our business
        raise ValueError(error) from error
    for component in (each.value for each in parsed):
        if not isinstance(component, Mapping):
            continue
        attributes = cast("Mapping[str, Any]", component).get("attributes")
        if isinstance(attributes, Mapping):
            yield cast("Mapping[str, Any]", attributes)


def reconstructable_job(
    module: str, function: str, arguments: Mapping[str, object], job_name: str
) -> ReconstructableJob:
    """A job which child processes build anew.

    Args:
        module: The module which holds `function`.
        function: Returns the `RepositoryDefinition` which holds the job.
        arguments: Its keyword arguments; JSON values only.
        job_name: The job's name.
    """
    pointer = CustomPointer(
        ModuleCodePointer(module, function, working_directory=None),
        reconstructable_args=[],
        reconstructable_kwargs=[[name, value] for name, value in arguments.items()],
    )
    return ReconstructableJob(repository=ReconstructableRepository(pointer), job_name=job_name)


def allow_depth(steps: int) -> None:
    """Lets Dagster walk a chain of this many steps.

    Dagster visits a job's graph recursively and begins anywhere in it, so that a chain of a
    thousand steps is deeper than Python's default limit.
    """
    needed = 4 * steps + 1000
    if needed > sys.getrecursionlimit():
        sys.setrecursionlimit(needed)


def context_of_executor(
    plan_context: PlanOrchestrationContext, executor: dg.Executor
) -> PlanOrchestrationContext:
    """Returns a run's context in which an executor finds itself, as if nothing wrapped it.

    Those of celery and dask read their own configuration from there.
    """
    return PlanOrchestrationContext(
        plan_data=plan_context.plan_data,
        log_manager=plan_context.log,
        executor=executor,
        output_capture=plan_context.output_capture,
        resume_from_failure=plan_context.resume_from_failure,
    )


def op_definition(context: dg.InputContext | dg.OutputContext) -> dg.OpDefinition | None:
    """Returns the op of a context, or None for an asset which no op of this run makes."""
    try:
        return context.op_def
    except dg.DagsterInvariantViolationError:
        return None


def retries_enabled(context: dg.OpExecutionContext) -> bool:
    """Tells whether Dagster will try a step again which asks for it.

    An executor may be configured not to, and the one of Dask never does.
    """
    return not context.get_step_execution_context().retry_mode.disabled
