"""The process which starts workers: it has one thread, and does nothing else."""

import gc
import importlib
import os
import signal
import socket
import time
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from aether_dagster.orchestration.compat import ConfigurableClassData, ExecutionPlan, InstanceRef
from aether_dagster.orchestration.workers.forking import may_fork
from aether_dagster.orchestration.workers.messages import (
    Assignment,
    StartWorker,
    WorkerGone,
    WorkerStarted,
)
from aether_dagster.orchestration.workers.steps import Built, build
from aether_dagster.orchestration.workers.worker import Pipes, work

# How long workers have to end when the run's process has left, in seconds.
_END_SECONDS = 20.0


def serve(
    channel: "Connection[Any, Any]", assignment: Assignment, plan: ExecutionPlan | None
) -> None:
    """Is the life of the server: starts workers when it is told to, and tells of their ends.

    Args:
        channel: To the run's process. When it ends, so does this process.
        assignment: The run.
        plan: Its plan, where this process is a fork of the run's.
    """
    # A group of its own: Ctrl-C is for the run's process, which interrupts steps in its turn.
    with suppress(OSError):
        os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    Server(channel, assignment, plan).serve()


class Server:
    """See `serve`."""

    def __init__(
        self,
        channel: "Connection[Any, Any]",
        assignment: Assignment,
        plan: ExecutionPlan | None,
    ):
        self._channel = channel
        self._assignment = assignment
        self._built = _prepare(assignment, plan)
        self._workers: dict[int, BaseProcess] = {}
        self._forks = may_fork()
        self._wake, self._wakeup = _wake_on_exits()

    def serve(self) -> None:
        """Starts workers until the run's process leaves."""
        while True:
            ready = wait([self._channel, self._wake])
            self._report()
            if self._channel in ready:
                try:
                    order = self._channel.recv()
                except (EOFError, OSError):
                    break
                self._start(order)
        self._end()

    def _start(self, order: StartWorker) -> None:
        pipes = Pipes(*(Connection(fd) for fd in _descriptors(self._channel)))
        name = f"worker-{order.number}"
        if self._forks:
            process: BaseProcess = get_context("fork").Process(
                target=self._be_worker, args=(pipes,), name=name
            )
        else:
            process = get_context("spawn").Process(
                target=work, args=(self._assignment, None, pipes), name=name
            )
        process.start()
        for end in (pipes.commands, pipes.events, pipes.control):
            end.close()
        self._workers[order.number] = process
        self._tell(WorkerStarted(order.number, process.pid or 0))

    def _be_worker(self, pipes: Pipes) -> None:
        signal.set_wakeup_fd(-1)
        self._channel.close()
        os.close(self._wake)
        os.close(self._wakeup)
        work(self._assignment, self._built, pipes)

    def _report(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._wake, 4096)
        for number, process in list(self._workers.items()):
            if process.exitcode is not None:
                del self._workers[number]
                self._tell(WorkerGone(number, process.exitcode))
                process.close()

    def _tell(self, message: Any) -> None:
        # Who has left needs not be told; the end of the channel is noticed where it is read.
        with suppress(OSError):
            self._channel.send(message)

    def _end(self) -> None:
        give_up = time.monotonic() + _END_SECONDS
        while self._workers and time.monotonic() < give_up:
            wait([self._wake], timeout=give_up - time.monotonic())
            self._report()
        for process in self._workers.values():
            process.kill()
            process.join()


def _prepare(assignment: Assignment, plan: ExecutionPlan | None) -> Built:
    # What is imported and built here is there in every worker which is forked.
    gc.disable()
    for data in _plugins(assignment.instance):
        with suppress(ImportError):
            importlib.import_module(data.module_name)
    built = build(assignment, plan)
    gc.freeze()
    return built


def _plugins(instance: InstanceRef) -> list[ConfigurableClassData]:
    """The classes which an instance is configured to be made of."""
    return [value for value in instance if isinstance(value, ConfigurableClassData)]


def _wake_on_exits() -> tuple[int, int]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    # Unlike SIG_IGN, a handler lets the signal reach the pipe.
    signal.signal(signal.SIGCHLD, _ignore)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading, writing


def _descriptors(channel: "Connection[Any, Any]") -> list[int]:
    with socket.fromfd(channel.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        return socket.recv_fds(stream, 1, 3)[1]


def _ignore(_number: int, _frame: object) -> None:
    return
