"""A worker process: runs the steps which it is given, until it is told to leave."""

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import dagster as dg
import psutil

from aether_dagster.orchestration.compat import (
    ErrorInfo,
    ExecutionInterrupted,
    capture_interrupts,
    error_info,
)
from aether_dagster.orchestration.runtime import close_executions
from aether_dagster.orchestration.workers.compute_logs import redirecting
from aether_dagster.orchestration.workers.messages import (
    Assignment,
    Events,
    RunStep,
    StepEnded,
)
from aether_dagster.orchestration.workers.steps import Built, StepRunner, build

INTERRUPT = b"interrupt"
"""What the control pipe says when the step which runs is to be interrupted."""

ORPHANED = 70
"""The exit status of a worker whose run's process died."""

# What the run's process takes note of, and does nothing about while the step runs, is told with
# what comes next: each message wakes that process up. All of it is in Dagster's log at once.
_MAY_WAIT = frozenset(
    {
        dg.DagsterEventType.RESOURCE_INIT_STARTED,
        dg.DagsterEventType.RESOURCE_INIT_SUCCESS,
        dg.DagsterEventType.LOGS_CAPTURED,
        dg.DagsterEventType.LOADED_INPUT,
        dg.DagsterEventType.STEP_INPUT,
        dg.DagsterEventType.STEP_OUTPUT,
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        dg.DagsterEventType.HANDLED_OUTPUT,
    }
)


@dataclass(frozen=True)
class Pipes:
    """A worker's ends of its pipes.

    Args:
        commands: `RunStep` and `Leave` come from it.
        events: `Events` and `StepEnded` go to it.
        control: Interrupts come from it; its end tells that the run's process is gone.
    """

    commands: "Connection[Any, Any]"
    events: "Connection[Any, Any]"
    control: "Connection[Any, Any]"


def work(assignment: Assignment, built: Built | None, pipes: Pipes) -> None:
    """Is the life of a worker.

    Args:
        assignment: The run.
        built: What the server had built of it, where this process is a fork of it.
        pipes: To the run's process.
    """
    _begin()
    threading.Thread(target=_obey, args=(pipes.control,), name="control", daemon=True).start()
    with capture_interrupts():
        failure: ErrorInfo | None = None
        try:
            with _runner(assignment, built) as runner:
                _serve(runner, pipes)
                close_executions()
                return
        except (EOFError, BrokenPipeError):
            return
        except Exception:  # noqa: BLE001 - the run tells of it
            failure = error_info(sys.exc_info())
        with suppress(EOFError, OSError):
            # The worker could not be set up; whoever gave it a step is told why.
            if isinstance(pipes.commands.recv(), RunStep):
                pipes.events.send(StepEnded(failure, 0))


@contextmanager
def _runner(assignment: Assignment, built: Built | None) -> Generator[StepRunner]:
    with dg.DagsterInstance.from_ref(redirecting(assignment.instance)) as instance:
        yield StepRunner(assignment, built or build(assignment), instance)


def _serve(runner: StepRunner, pipes: Pipes) -> None:
    process = psutil.Process()
    while isinstance(command := pipes.commands.recv(), RunStep):
        error: ErrorInfo | None = None
        untold: list[dg.DagsterEvent] = []
        try:
            for event in runner.run(command.step_key, command.known_state):
                untold.append(event)
                if event.event_type not in _MAY_WAIT:
                    pipes.events.send(Events(untold))
                    untold = []
        except (Exception, KeyboardInterrupt, ExecutionInterrupted):  # noqa: BLE001 - as Dagster's
            error = error_info(sys.exc_info())
        pipes.events.send(StepEnded(error, process.memory_info().rss, untold))


def _begin() -> None:
    """Lets go of what a fork brings along and is not a worker's."""
    gc.enable()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # A line which a step prints is in its log at once, and what a parent's streams lead to, such
    # as a terminal's display, is not a worker's.
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = os.fdopen(
        2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        # As `random` does by itself: two workers must not draw the same numbers.
        numpy.random.seed()


def _obey(control: "Connection[Any, Any]") -> None:
    while True:
        try:
            control.recv_bytes()
        except (EOFError, OSError):
            _die()
        os.kill(os.getpid(), signal.SIGINT)


def _die() -> None:
    """Ends this process and all which came from it, as the end of the run's own process does."""
    with suppress(psutil.Error):
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                process.kill()
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(ORPHANED)
