"""What the run's process, the server and the workers say to each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from aether_dagster.orchestration.compat import (
    ErrorInfo,
    ExecutionPlan,
    InstanceRef,
    KnownExecutionState,
    PlanOrchestrationContext,
    ReconstructableJob,
    RetryMode,
)


@dataclass(frozen=True)
class Assignment:
    """What a crew of workers is there for: one run. It can be pickled.

    Args:
        job: The run's job.
        run: The run.
        instance: Where the workers open its instance.
        retries: How the run treats retries.
        step_keys: The steps which the run covers.
        known_state: What was known of them when the run began.
        load_data: What loading the code location had computed before.
    """

    job: ReconstructableJob
    run: dg.DagsterRun
    instance: InstanceRef
    retries: RetryMode
    step_keys: tuple[str, ...]
    known_state: KnownExecutionState
    load_data: Any

    @classmethod
    def of(cls, context: PlanOrchestrationContext, plan: ExecutionPlan) -> "Assignment":
        """The assignment of a run's workers."""
        return cls(
            job=context.reconstructable_job.with_repository_load_data(plan.repository_load_data),
            run=context.dagster_run,
            instance=context.instance.get_ref(),
            retries=context.retry_mode,
            step_keys=tuple(plan.step_keys_to_execute),
            known_state=plan.known_state,
            load_data=plan.repository_load_data,
        )


@dataclass(frozen=True)
class StartWorker:
    """To the server: start a worker. Its three pipe ends follow: commands, events, control."""

    number: int


@dataclass(frozen=True)
class WorkerStarted:
    """From the server."""

    number: int
    pid: int


@dataclass(frozen=True)
class WorkerGone:
    """From the server: a worker's process has ended.

    Args:
        number: Which.
        exit_code: As `multiprocessing.Process.exitcode` has it.
    """

    number: int
    exit_code: int | None


@dataclass(frozen=True)
class RunStep:
    """To a worker.

    Args:
        step_key: The step.
        known_state: What the run knows that concerns it.
    """

    step_key: str
    known_state: KnownExecutionState


@dataclass(frozen=True)
class Leave:
    """To a worker: close everything and end."""


@dataclass(frozen=True)
class Events:
    """From a worker: events of its step, which are in the instance's log.

    Args:
        events: In their order.
    """

    events: Sequence[dg.DagsterEvent]


@dataclass(frozen=True)
class StepEnded:
    """From a worker: it has no more events of its step.

    Args:
        error: What was raised through the step: an interrupt, or a failure to set the worker up.
        memory: Resident memory of the worker's process, in bytes.
        events: The last ones.
    """

    error: ErrorInfo | None
    memory: int
    events: Sequence[dg.DagsterEvent] = ()
