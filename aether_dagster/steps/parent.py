"""Runs an attempt in a child process, answers it, and ends it when its time is over (spec 2)."""

import os
import pickle
import signal
import socket
import sys
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, cast

import aether_dagster.errors
from aether_dagster.errors import StepFailed, StepTimeout
from aether_dagster.steps.context import StepContext
from aether_dagster.steps.environment import inherited_environment
from aether_dagster.steps.imports import path_of, put_first
from aether_dagster.steps.registry import StepType
from aether_dagster.steps.supervised import Supervised
from aether_dagster.steps.wire import Answer, Done, Failed, Logged, Question, Request

START_SECONDS = 60.0
EXIT_SECONDS = 1.0

_PACKAGE_FOLDER = str(Path(aether_dagster.errors.__file__).parent.parent)


def run_in_child(
    step_type: StepType, args: Mapping[str, Any], context: StepContext, timeout: float
) -> Any:
    """Run one attempt in a fresh interpreter and give its output.

    Its standard output and error are this process's. However this ends, the child and everything
    which it started have ended before it returns.

    Raises:
        StepTimeout: The timeout (seconds) passed.
        StepFailed: The attempt failed; or its arguments or output cannot be pickled; or its
            process ended without an outcome (`WorkerLost`).
    """
    request = _request(step_type, args, context)
    environ, command = _start()
    ours, theirs = socket.socketpair()
    connection = Connection(ours.detach())
    try:
        with Supervised(
            [*command, str(theirs.fileno())],
            env=environ,
            cwd=Path.cwd(),
            pass_fds=[theirs.fileno()],
        ) as process:
            theirs.close()
            return _Conversation(connection, process, context, timeout).run(request)
    finally:
        theirs.close()
        connection.close()


def _start() -> tuple[dict[str, str], list[str]]:
    # The package may be importable here by a path which only this process knows.
    python_path = [_PACKAGE_FOLDER, *filter(None, [os.environ.get("PYTHONPATH")])]
    environ = inherited_environment() | {"PYTHONPATH": os.pathsep.join(python_path)}
    return environ, [sys.executable, "-P", "-m", "aether_dagster.steps.child"]


def _request(step_type: StepType, args: Mapping[str, Any], context: StepContext) -> Request:
    return Request(
        step_type=step_type,
        args=_pickled(args),
        facts={
            "step_id": context.step_id,
            "attempt": context.attempt,
            "execution_id": context.execution_id,
            "pipeline": context.pipeline,
        },
        directory=str(context.directory),
        sys_path=path_of(context.directory),
        environ={"PYTHONPATH": os.environ.get("PYTHONPATH")},
        log_level=context.logger.getEffectiveLevel(),
    )


def _pickled(args: Mapping[str, Any]) -> bytes:
    for name, value in args.items():
        try:
            pickle.dumps(value, protocol=5)
        except Exception as error:
            raise StepFailed(
                "PicklingError",
                f"The argument {name!r}, of type {type(value).__qualname__}, cannot be sent to "
                f"the process which the step's timeout needs: {error}. Pass something which "
                "pickle can write, or leave out the timeout.",
                "",
            ) from error
    return pickle.dumps(dict(args), protocol=5)


class _Conversation:
    def __init__(
        self, connection: Connection, process: Supervised, context: StepContext, timeout: float
    ):
        self._connection = connection
        self._process = process
        self._context = context
        self._timeout = timeout
        self._error: BaseException | None = None

    def run(self, request: Request) -> Any:
        try:
            self._connection.send(request)
            # The first word is Ready; the start of an interpreter is not the step's time.
            self._receive(time.monotonic() + START_SECONDS)
            deadline = time.monotonic() + self._timeout
            while True:
                message = self._receive(deadline)
                if isinstance(message, Done | Failed):
                    # Its buffers and exit handlers deserve a moment, its threads no more than it.
                    wait([self._process.control], EXIT_SECONDS)
                    return self._result(message)
                if isinstance(message, Logged):
                    self._context.logger.log(message.level, message.text)
                elif isinstance(message, Question):
                    self._answer(message)
        except (EOFError, ConnectionError) as error:
            raise self._lost() from error

    def _receive(self, deadline: float) -> Any:
        sources = [self._connection, self._process.control]
        remaining = max(0.0, deadline - time.monotonic())
        ready = wait(sources, remaining)
        if not ready:
            raise StepTimeout(self._timeout)
        if self._connection not in ready and not self._connection.poll(0):
            raise EOFError
        return self._connection.recv()

    def _answer(self, question: Question) -> None:
        subject = getattr(self._context, question.subject)
        try:
            value = getattr(subject, question.method)(*question.args)
            answer = Answer(list(value) if question.method == "keys" else _plain(value))
        except Exception as error:  # noqa: BLE001 - it belongs to the step's code, in the child
            self._error = error
            answer = Answer(error=_portable(error))
        self._connection.send(answer)

    def _result(self, outcome: Done | Failed) -> Any:
        if isinstance(outcome, Failed):
            failed = StepFailed(outcome.type, outcome.message, outcome.traceback)
            raise failed from (self._error if outcome.answered else None)
        try:
            put_first(self._context.directory)
            return pickle.loads(outcome.value)  # noqa: S301 - from our own child
        except Exception as error:
            raise StepFailed(
                type(error).__name__,
                f"The output cannot be read back from the step's process: {error}.",
                "",
            ) from error

    def _lost(self) -> StepFailed:
        status = self._process.status()
        if status is not None and status >= 0:
            how = f"ended by itself with exit status {status}, without an outcome"
        elif status is not None:
            how = f"was killed by {_signal_name(-status)}"
        else:
            how = "was killed together with its supervisor"
        return StepFailed("WorkerLost", f"The step's process {how}.", "")


def _plain(value: Any) -> Any:
    return dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else value


def _portable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - what was just pickled
    except Exception:  # noqa: BLE001 - any exception class may fail to come back in its own way
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
