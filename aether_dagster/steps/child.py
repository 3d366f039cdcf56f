"""The fresh interpreter of an attempt with a timeout: `python -m aether_dagster.steps.child FD`.

It takes one request, runs it, and gives one outcome; the context's logger, artifacts and
connections are its parent's, asked over the same socket. It does not import Dagster.
"""

import logging
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from aether_dagster.errors import StepFailed
from aether_dagster.steps.context import ArtifactAccess, StepContext
from aether_dagster.steps.failure import as_step_failed
from aether_dagster.steps.wire import Answer, Done, Failed, Logged, Question, Ready, Request


def main(descriptor: int) -> None:
    """Serve one request on an inherited socket."""
    os.set_inheritable(descriptor, False)
    # So that `finally` and `with` of the step's code run when its time is over.
    signal.signal(signal.SIGTERM, _leave)
    parent = _Parent(Connection(descriptor))
    request = parent.receive_request()
    sys.path[:] = request.sys_path
    for name, value in request.environ.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    parent.send(Ready())
    try:
        parent.send(_outcome(request, parent))
    except ConnectionError:
        # Its parent gave up on the attempt, so there is nobody left to tell.
        sys.exit(1)


def _leave(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _outcome(request: Request, parent: "_Parent") -> Done | Failed:
    try:
        with as_step_failed():
            args = pickle.loads(request.args)  # noqa: S301 - from our own parent
            value = request.step_type.load()(args, _context(request, parent))
        return _done(value)
    except StepFailed as failed:
        answered = parent.last_error is not None and failed.__cause__ is parent.last_error
        return Failed(failed.type, failed.message, failed.traceback, answered)
    except KeyboardInterrupt:
        return Failed("KeyboardInterrupt", "The step's own process was interrupted.", "")


def _done(value: Any) -> Done | Failed:
    try:
        return Done(pickle.dumps(value, protocol=5))
    except Exception as error:  # noqa: BLE001 - it is the value's own code which pickles it
        return Failed(
            "PicklingError",
            f"The output, of type {type(value).__qualname__}, cannot leave the process which the "
            f"step's timeout needs: {error}. Return JSON, a table, or an object which pickle can "
            "write.",
            "",
        )


class _Parent:
    def __init__(self, connection: Connection):
        self._connection = connection
        self._asking = threading.Lock()
        self._sending = threading.Lock()
        self.last_error: BaseException | None = None

    def receive_request(self) -> Request:
        return self._connection.recv()

    def send(self, message: Ready | Logged | Done | Failed | Question) -> None:
        with self._sending:
            self._connection.send(message)

    def ask(self, subject: str, method: str, *args: Any) -> Any:
        with self._asking:
            self.send(Question(subject, method, args))
            answer: Answer = self._connection.recv()
            if answer.error is not None:
                self.last_error = answer.error
                raise answer.error
            return answer.value


class _Artifacts(ArtifactAccess):
    def __init__(self, parent: _Parent):
        self._parent = parent

    def __getitem__(self, name: str) -> str:
        return self._parent.ask("artifacts", "__getitem__", name)

    def __setitem__(self, name: str, uri: str) -> None:
        self._parent.ask("artifacts", "__setitem__", name, uri)

    def __delitem__(self, name: str) -> None:
        self._parent.ask("artifacts", "__delitem__", name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parent.ask("artifacts", "keys"))

    def __len__(self) -> int:
        return self._parent.ask("artifacts", "__len__")


class _Forward(logging.Handler):
    def __init__(self, parent: _Parent):
        super().__init__()
        self._parent = parent

    def emit(self, record: logging.LogRecord) -> None:
        self._parent.send(Logged(record.levelno, self.format(record)))


def _context(request: Request, parent: _Parent) -> StepContext:
    logger = logging.getLogger(f"aether_dagster.step.{request.facts['step_id']}")
    logger.setLevel(request.log_level)
    logger.propagate = False
    logger.addHandler(_Forward(parent))

    def connection(name: str) -> Mapping[str, Any]:
        return parent.ask("connection", "__call__", name)

    return StepContext(
        **request.facts,
        logger=logger,
        artifacts=_Artifacts(parent),
        connection=connection,
        directory=Path(request.directory),
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
