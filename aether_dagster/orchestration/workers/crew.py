"""The run's side of its workers: starts them, gives them steps, hears of their events and ends."""

import itertools
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal

from aether_dagster.orchestration.compat import ExecutionPlan, KnownExecutionState
from aether_dagster.orchestration.workers.forking import fork_quietly, may_fork
from aether_dagster.orchestration.workers.messages import (
    Assignment,
    Events,
    Leave,
    RunStep,
    StartWorker,
    StepEnded,
    WorkerGone,
    WorkerStarted,
)
from aether_dagster.orchestration.workers.reports import Ended, Happened, Lost, Report
from aether_dagster.orchestration.workers.server import serve
from aether_dagster.orchestration.workers.worker import INTERRUPT

# How long steps have to end themselves when the run is left in the middle, in seconds.
_END_SECONDS = 20.0
# How often a step is given out again whose worker died before it began it.
_MOST_FRESH_STARTS = 2

StartMethod = Literal["auto", "spawn"]


@dataclass(frozen=True)
class Recycling:
    """When a worker has worked enough, and another takes its place.

    Args:
        steps: How many steps it runs at most.
        memory: How many bytes of resident memory it may have after a step.
    """

    steps: int
    memory: int


class _Worker:
    """One worker, as the run's process knows it."""

    def __init__(self, number: int):
        self.number = number
        self.pid = 0
        self.task: RunStep | None = None
        self.began = False
        self.steps = 0
        self.leaving = False
        their_commands, self.commands = Pipe(duplex=False)
        self.events, their_events = Pipe(duplex=False)
        their_control, self.control = Pipe(duplex=False)
        self.theirs = (their_commands, their_events, their_control)

    def close(self) -> None:
        for end in (*self.theirs, self.commands, self.events, self.control):
            end.close()


class Crew:
    """The workers of one run.

    Args:
        assignment: The run.
        plan: Its plan.
        size: How many workers there are at most.
        recycling: When one is replaced.
        start_method: `auto` forks where that is safe.
    """

    def __init__(
        self,
        assignment: Assignment,
        plan: ExecutionPlan,
        *,
        size: int,
        recycling: Recycling,
        start_method: StartMethod = "auto",
    ):
        self._assignment = assignment
        self._size = size
        self._recycling = recycling
        self._numbers = itertools.count(1)
        self._workers: dict[int, _Worker] = {}
        self._fresh_starts: dict[str, int] = {}
        self._ready: list[Any] = []
        self._start_server(plan if start_method == "auto" and may_fork() else None)

    @property
    def busy(self) -> frozenset[str]:
        """The steps which workers have."""
        return frozenset(w.task.step_key for w in self._workers.values() if w.task is not None)

    @property
    def room(self) -> int:
        """How many more steps can be given out."""
        return self._size - sum(worker.task is not None for worker in self._workers.values())

    def hire(self, count: int) -> None:
        """Starts workers for so many steps, before those are given to them."""
        for _ in range(min(count, self._size)):
            self._hire()

    def give(self, step_key: str, known_state: KnownExecutionState) -> None:
        """Gives a step to a worker; there must be room."""
        self._give(RunStep(step_key, known_state))

    def wait(self, timeout: float | None) -> None:
        """Waits until workers have something to tell.

        Args:
            timeout: Seconds; None waits for as long as it takes.
        """
        self._ready = wait(self._sources(), timeout)

    def reports(self) -> Iterator[Report]:
        """Yields what `wait` has found that workers have to tell."""
        gone: list[WorkerGone] = []
        ready, self._ready = self._ready, []
        if self._channel in ready:
            gone = list(self._hear())
        for worker in list(self._workers.values()):
            if worker.events in ready:
                yield from self._read(worker)
        for message in gone:
            yield from self._bury(self._workers.get(message.number), message.exit_code)

    def interrupt(self) -> None:
        """Interrupts the steps which run."""
        for worker in self._workers.values():
            if worker.task is not None:
                with suppress(OSError):
                    worker.control.send_bytes(INTERRUPT)

    def dismiss(self) -> None:
        """Tells the workers to leave; `end` waits for it."""
        for worker in self._workers.values():
            self._dismiss(worker)

    def end(self) -> None:
        """Ends all workers and the server; steps which still run are interrupted first."""
        if self._server is None:
            return
        give_up = time.monotonic() + (_END_SECONDS if self.busy else 2.0)
        self.interrupt()
        self.dismiss()
        while self._workers and self._alive and time.monotonic() < give_up:
            self.wait(give_up - time.monotonic())
            for _ in self.reports():
                continue
        # The end of its pipes ends a worker, whatever its step does.
        for worker in self._workers.values():
            worker.close()
        self._channel.close()
        self._server.join(_END_SECONDS)
        if self._server.exitcode is None:
            self._server.kill()
            self._server.join()
        self._server.close()
        self._server = None

    def _start_server(self, plan: ExecutionPlan | None) -> None:
        self._channel, theirs = Pipe()
        if plan is None:
            server: BaseProcess = get_context("spawn").Process(
                target=serve, args=(theirs, self._assignment, None), name="worker-server"
            )
        else:
            server = get_context("fork").Process(
                target=_serve_forked,
                args=(self._channel, theirs, self._assignment, plan),
                name="worker-server",
            )
        with fork_quietly():
            server.start()
        self._server: BaseProcess | None = server
        theirs.close()
        self._alive = True

    def _sources(self) -> list[Any]:
        streams = [w.events for w in self._workers.values() if not w.events.closed]
        return [*streams, self._channel] if self._alive else streams

    def _give(self, task: RunStep) -> None:
        worker = (
            next((w for w in self._workers.values() if w.task is None and not w.leaving), None)
            or self._hire()
        )
        worker.task, worker.began = task, False
        # A worker which is gone is told of by the server.
        with suppress(OSError):
            worker.commands.send(task)

    def _hire(self) -> _Worker:
        if not self._alive:
            self._replace_server()
        worker = _Worker(next(self._numbers))
        self._workers[worker.number] = worker
        with suppress(OSError):
            self._channel.send(StartWorker(worker.number))
            with socket.fromfd(
                self._channel.fileno(), socket.AF_UNIX, socket.SOCK_STREAM
            ) as stream:
                socket.send_fds(stream, [b"w"], [end.fileno() for end in worker.theirs])
        for end in worker.theirs:
            end.close()
        return worker

    def _replace_server(self) -> None:
        assert self._server is not None
        self._channel.close()
        self._server.join()
        self._server.close()
        # By now this process has threads.
        self._start_server(None)

    def _hear(self) -> Iterator[WorkerGone]:
        """Reads what the server says; its death is that of all whom it cannot tell of."""
        try:
            while self._channel.poll():
                match self._channel.recv():
                    case WorkerStarted(number, pid) if number in self._workers:
                        self._workers[number].pid = pid
                    case WorkerGone() as gone:
                        yield gone
                    case _:
                        continue
        except (EOFError, OSError):
            self._alive = False

    def _read(self, worker: _Worker) -> Iterator[Report]:
        """Reads the next message of a worker which has one, or has closed its pipe."""
        try:
            yield from self._take(worker, worker.events.recv())
        except (EOFError, OSError):
            worker.events.close()
            if not self._alive:
                yield from self._bury(worker, None)

    def _take(self, worker: _Worker, message: Events | StepEnded) -> Iterator[Report]:
        task = worker.task
        assert task is not None
        worker.began = True
        for event in message.events:
            yield Happened(task.step_key, event)
        if isinstance(message, Events):
            return
        worker.task = None
        worker.steps += 1
        if (
            message.error is not None
            or worker.steps >= self._recycling.steps
            or message.memory > self._recycling.memory
        ):
            self._dismiss(worker)
        yield Ended(task.step_key, message.error)

    def _dismiss(self, worker: _Worker) -> None:
        if not worker.leaving:
            worker.leaving = True
            with suppress(OSError):
                worker.commands.send(Leave())

    def _bury(self, worker: _Worker | None, exit_code: int | None) -> Iterator[Report]:
        if worker is None or worker.number not in self._workers:
            return
        while not worker.events.closed and worker.events.poll():
            # What it wrote before it died is still in the pipe.
            yield from self._read(worker)
        if self._workers.pop(worker.number, None) is None:
            # Reading has buried it: the server is gone too.
            return
        worker.close()
        task = worker.task
        if task is None:
            return
        starts = self._fresh_starts.get(task.step_key, 0)
        if not worker.began and not worker.leaving and starts < _MOST_FRESH_STARTS:
            self._fresh_starts[task.step_key] = starts + 1
            self._give(task)
            return
        yield Lost(task.step_key, worker.pid, exit_code)


def _serve_forked(
    ours: "Connection[Any, Any]",
    channel: "Connection[Any, Any]",
    assignment: Assignment,
    plan: ExecutionPlan,
) -> None:
    ours.close()
    serve(channel, assignment, plan)
