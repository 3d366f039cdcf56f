"""One call of a hook, in a thread beside the caller's, so that one which hangs can be left."""

import contextvars
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from aether_dagster.errors import HookError
from aether_dagster.plugins.hooks import ActiveHook
from aether_dagster.plugins.threads import run_beside
from aethersdk import StateVeto
from aethersdk.calls import HookCall, Transaction, current_call

_LOGGER = logging.getLogger("aethersdk.hooks")
_OWN_CODE = str(Path(__file__).parent)
# How long calls which are made in turn go on being begun, in seconds.
_TURN_SECONDS = 0.05

BeginTransaction = Callable[[str], AbstractContextManager[Transaction]]
"""Begins a transaction of a plugin, given its `Name@version`."""


@dataclass
class Called:
    """What came of a call.

    Attributes:
        outcome: How it ended.
        value: What it returned.
        reason: The reason of a veto.
        error: `type`, `message` and `traceback` of what it raised.
        milliseconds: How long it took.
        called_at: When it began, Unix seconds.
        log: What it logged: levels and texts.
    """

    outcome: Literal["returned", "vetoed", "raised", "timed out"]
    milliseconds: float
    value: Any = None
    reason: str = ""
    error: dict[str, Any] | None = None
    log: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    called_at: float = 0.0


def call_hook(
    active: ActiveHook,
    event: str,
    values: Mapping[str, Any],
    *,
    pipeline_id: str,
    delivery_id: str | None = None,
    begin: BeginTransaction | None = None,
    redact: Callable[[str], str] = str,
    limit: float | None = None,
) -> Called:
    """Calls one event of one hook, and waits for it no longer than its time limit.

    Args:
        active: The hook.
        event: The event.
        values: The event's parameters; the hook is given those which it wants.
        pipeline_id: The execution.
        delivery_id: The delivery's id, if it is one.
        begin: Begins a transaction, where the execution has a state.
        redact: Masks secrets in what the hook logs.
        limit: Seconds, if less than the hook's own time limit.
    """
    (called,) = call_in_turn(
        active,
        event,
        [(values, delivery_id)],
        pipeline_id=pipeline_id,
        begin=begin,
        redact=redact,
        limit=limit,
    )
    return called


def call_in_turn(
    active: ActiveHook,
    event: str,
    given: Sequence[tuple[Mapping[str, Any], str | None]],
    *,
    pipeline_id: str,
    begin: BeginTransaction | None = None,
    redact: Callable[[str], str] = str,
    limit: float | None = None,
) -> list[Called]:
    """Calls one event of one hook several times, one after the other in the same thread.

    To hand each call to a thread costs the run more than most calls do. It ends early with one
    which does not just return, which began a transaction, or after 50 ms; each may still take the
    hook's time limit, and at most those 50 ms more.

    Args:
        active: See `call_hook`, as the others which are not named here.
        event: The event.
        given: The event's parameters for each call, and the delivery's id, if it is one.
        pipeline_id: The execution.
        begin: Begins a transaction, where the execution has a state.
        redact: Masks secrets in what the hook logs.
        limit: Seconds, if less than the hook's own time limit.

    Returns:
        What came of those which were made: the first of them, at least one.
    """
    _show_log()
    turn = _Turn()
    for values, delivery_id in given:
        turn.add(active, event, values, pipeline_id, delivery_id, begin, redact)
    seconds = active.hook.timeout if limit is None else min(limit, active.hook.timeout)
    run_beside(
        turn.run, f"{active.key} {event}", seconds + (_TURN_SECONDS if len(given) > 1 else 0)
    )
    return turn.called(seconds)


class _Turn:
    """Calls which are made one after the other."""

    def __init__(self) -> None:
        self._runs: list[tuple[_Run, contextvars.Context]] = []
        self._lock = threading.Lock()
        self._begun, self._left_behind = 0, False

    def add(
        self,
        active: ActiveHook,
        event: str,
        values: Mapping[str, Any],
        pipeline_id: str,
        delivery_id: str | None,
        begin: BeginTransaction | None,
        redact: Callable[[str], str],
    ) -> None:
        run = _Run(active, event, {name: values[name] for name in active.events[event]})
        run.call = HookCall(
            event,
            pipeline_id,
            delivery_id,
            None if begin is None else lambda: run.transaction(begin),
            run.take_log,
            redact,
        )
        self._runs.append((run, contextvars.copy_context()))

    def run(self) -> bool:
        """Makes the calls; returns whether their thread can be used for others."""
        until = time.monotonic() + _TURN_SECONDS
        for number, (run, context) in enumerate(self._runs):
            with self._lock:
                if self._left_behind or (number > 0 and time.monotonic() >= until):
                    break
                self._begun += 1
            if not context.run(run.run):
                return False
            if not run.returned:
                break
        return True

    def called(self, seconds: float) -> list[Called]:
        """Returns what came of those which have begun; begins no more."""
        with self._lock:
            self._left_behind = True
        return [run.called(seconds) for run, _ in self._runs[: max(1, self._begun)]]


class _Run:
    def __init__(self, active: ActiveHook, event: str, given: dict[str, Any]):
        self._active, self._event, self._given = active, event, given
        self._lock = threading.Lock()
        self._left_behind = False
        self._wrote = False
        self._began, self._called_at = time.perf_counter(), time.time()
        self._milliseconds = 0.0
        self._ended: tuple[Literal["returned", "vetoed", "raised"], Any] | None = None
        self._log: list[tuple[int, str]] = []
        self.call: HookCall | None = None

    def run(self) -> bool:
        """Makes the call; returns whether its thread can be used for another one."""
        current_call.set(self.call)
        self._began, self._called_at = time.perf_counter(), time.time()
        try:
            ended = ("returned", getattr(self._active.hook, self._event)(**self._given))
        except StateVeto as veto:
            ended = ("vetoed", str(veto) or "no reason was given")
        except BaseException as error:  # noqa: BLE001 - also SystemExit is the hook's own fault
            ended = ("raised", _error(error))
        with self._lock:
            if not self._left_behind:
                self._ended = ended
                self._milliseconds = self._since_it_began()
        # A transaction belongs to its thread: one which was never ended would be in the way there.
        return not self._wrote

    @property
    def returned(self) -> bool:
        return self._ended is not None and self._ended[0] == "returned" and self._ended[1] is None

    def called(self, seconds: float) -> Called:
        with self._lock:
            self._left_behind = self._ended is None
        log, self._log = self._log, []
        told = partial(Called, log=log, called_at=self._called_at)
        if self._ended is None:
            message = f"It did not return within {seconds:g} s, and was left behind."
            error = {"type": "Timeout", "message": message, "traceback": None}
            return told("timed out", self._since_it_began(), error=error)
        outcome, result = self._ended
        if outcome == "returned":
            return told(outcome, self._milliseconds, value=result)
        if outcome == "vetoed":
            return told(outcome, self._milliseconds, reason=result)
        return told(outcome, self._milliseconds, error=result)

    def _since_it_began(self) -> float:
        return round((time.perf_counter() - self._began) * 1000, 3)

    def take_log(self, level: int, message: str) -> None:
        self._log.append((level, f"{self._active.name}: {message}"))

    def transaction(self, begin: BeginTransaction) -> AbstractContextManager[Transaction]:
        if self._left_behind:
            raise HookError(self._active.label, "It was left behind, and can write no more.")
        self._wrote = True
        return begin(self._active.label)


def _error(error: BaseException) -> dict[str, Any]:
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OWN_CODE):
        frames = frames.tb_next
    told = traceback.TracebackException(type(error), error, frames)
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - it is code of the hook
        message = "<its text cannot be had>"
    return {"type": type(error).__name__, "message": message, "traceback": "".join(told.format())}


class _StandardError(logging.Handler):
    """Shows what hooks log, and hands it to whoever called the hook."""

    def emit(self, record: logging.LogRecord) -> None:
        call = current_call.get()
        redact = str if call is None else call.redact
        try:
            sys.stderr.write(f"{redact(self.format(record))}\n")
            sys.stderr.flush()
            if call is not None and call.log is not None:
                call.log(record.levelno, redact(record.getMessage()))
        except Exception:  # noqa: BLE001 - as logging's own handlers do
            self.handleError(record)


def _show_log() -> None:
    if _SHOWN in _LOGGER.handlers:
        return
    layout = "%(asctime)s  %(levelname)s  %(hook)s: %(message)s"
    formatter = logging.Formatter(layout, "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    _SHOWN.setFormatter(formatter)
    _SHOWN.addFilter(_name_hook)
    _LOGGER.addHandler(_SHOWN)
    if _LOGGER.level == logging.NOTSET:
        _LOGGER.setLevel(logging.INFO)


def _name_hook(record: logging.LogRecord) -> bool:
    record.hook = record.name.rpartition(".")[2]
    return True


_SHOWN = _StandardError()
