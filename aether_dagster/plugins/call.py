"""One call of a hook, in a thread beside the caller's, so that one which hangs can be left."""

import contextvars
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
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
        log: What it logged: levels and texts.
    """

    outcome: Literal["returned", "vetoed", "raised", "timed out"]
    milliseconds: float
    value: Any = None
    reason: str = ""
    error: dict[str, Any] | None = None
    log: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])


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
    _show_log()
    run = _Run(active, event, {name: values[name] for name in active.events[event]})
    run.call = HookCall(
        event,
        pipeline_id,
        delivery_id,
        None if begin is None else lambda: run.transaction(begin),
        run.take_log,
        redact,
    )
    seconds = active.hook.timeout if limit is None else min(limit, active.hook.timeout)
    work = partial(contextvars.copy_context().run, run.run)
    began = time.perf_counter()
    run_beside(work, f"{active.key} {event}", seconds)
    milliseconds = round((time.perf_counter() - began) * 1000, 3)
    return run.called(seconds, milliseconds)


class _Run:
    def __init__(self, active: ActiveHook, event: str, given: dict[str, Any]):
        self._active, self._event, self._given = active, event, given
        self._lock = threading.Lock()
        self._left_behind = False
        self._wrote = False
        self._ended: tuple[Literal["returned", "vetoed", "raised"], Any] | None = None
        self._log: list[tuple[int, str]] = []
        self.call: HookCall | None = None

    def run(self) -> bool:
        """Makes the call; returns whether its thread can be used for another one."""
        current_call.set(self.call)
        try:
            ended = ("returned", getattr(self._active.hook, self._event)(**self._given))
        except StateVeto as veto:
            ended = ("vetoed", str(veto) or "no reason was given")
        except BaseException as error:  # noqa: BLE001 - also SystemExit is the hook's own fault
            ended = ("raised", _error(error))
        with self._lock:
            if not self._left_behind:
                self._ended = ended
        # A transaction belongs to its thread: one which was never ended would be in the way there.
        return not self._wrote

    def called(self, seconds: float, milliseconds: float) -> Called:
        with self._lock:
            self._left_behind = self._ended is None
        log, self._log = self._log, []
        if self._ended is None:
            message = f"It did not return within {seconds:g} s, and was left behind."
            error = {"type": "Timeout", "message": message, "traceback": None}
            return Called("timed out", milliseconds, error=error, log=log)
        outcome, result = self._ended
        if outcome == "returned":
            return Called(outcome, milliseconds, value=result, log=log)
        if outcome == "vetoed":
            return Called(outcome, milliseconds, reason=result, log=log)
        return Called(outcome, milliseconds, error=result, log=log)

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
