"""Dagster's step events, as what they say of a node's attempt (spec 7, "Who writes the state").

The live run side and reconciliation read events through this one projection.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from aether_dagster import errors
from aether_dagster.orchestration.compat import ErrorInfo
from aether_dagster.state.delta import EvidenceKind

_KINDS: Mapping[dg.DagsterEventType, EvidenceKind] = {
    dg.DagsterEventType.STEP_START: "start",
    dg.DagsterEventType.STEP_RESTARTED: "restart",
    dg.DagsterEventType.STEP_UP_FOR_RETRY: "retry",
    dg.DagsterEventType.STEP_SUCCESS: "success",
    dg.DagsterEventType.STEP_FAILURE: "failure",
}
STEP_EVENTS = frozenset(_KINDS)
"""The types of the events which say something of a step."""

_LOST = "ChildProcessCrashException"
_INTERRUPTED = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt"})
_OURS = frozenset(
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.AetherError)
)
_NAMED = re.compile(r"(?:[\w.]+\.)?StepFailed: (\w+)(?:: )?(.*)", re.DOTALL)


@dataclass(frozen=True)
class StepReport:
    """What one event says of one step.

    Args:
        step_key: Dagster's key of the step.
        kind: What happened.
        error: `type`, `message`, `traceback`, where it is a failure or a retry.
        seconds: How long the attempt took, where Dagster says.
    """

    step_key: str
    kind: EvidenceKind
    error: dict[str, Any] | None = None
    seconds: float | None = None


def step_report(event: dg.DagsterEvent) -> StepReport | None:
    """Returns what an event says of a step, or None where it says nothing which state holds."""
    kind = _KINDS.get(event.event_type)
    if kind is None or event.step_key is None:
        return None
    if kind == "success":
        seconds = event.step_success_data.duration_ms / 1000
        return StepReport(event.step_key, kind, seconds=seconds)
    if kind == "failure":
        data = event.step_failure_data
        declared = None if data.user_failure_data is None else data.user_failure_data.metadata
        return StepReport(event.step_key, kind, _error(data.error, declared or {}))
    if kind == "retry":
        return StepReport(event.step_key, kind, _error(event.step_retry_data.error, {}))
    return StepReport(event.step_key, kind)


def _error(info: ErrorInfo | None, declared: Mapping[str, Any]) -> dict[str, Any]:
    chain = list(_chain(info))
    if any(link.cls_name in _INTERRUPTED for link in chain):
        return _record("Cancelled", "The run was cancelled.")
    if any(link.cls_name == _LOST for link in chain):
        return _record("WorkerLost", "The process which ran this attempt died.")
    for link in chain:
        if link.cls_name == "StepTimeout":
            return _record("Timeout", _text(link))
        named = _NAMED.match(link.message.strip())
        if named is not None:
            return _record(named[1], named[2])
        if link.cls_name in _OURS:
            # Its message says what to do; its causes and frames are our own affair.
            return _record(link.cls_name, _text(link))
    if "aether/error_type" in declared:
        kind = str(declared["aether/error_type"].value)
        message = _text(chain[0]).removeprefix(f"{kind}: ") if chain else ""
        return _record(kind, message)
    if not chain:
        return _record("Unknown", "Dagster reported a failure without an error.")
    # What was raised, inside Dagster's own wrappers; what it was raised from says less.
    cause = next((link for link in chain if not _is_wrapper(link)), chain[-1])
    return _record(cause.cls_name or "Unknown", _text(cause), "".join(cause.stack) or None)


def _is_wrapper(info: ErrorInfo) -> bool:
    return info.cls_name is not None and info.cls_name.startswith("DagsterExecution")


def _chain(info: ErrorInfo | None) -> list[ErrorInfo]:
    links: list[ErrorInfo] = []
    while info is not None:
        links.append(info)
        info = info.cause
    return links


def _text(info: ErrorInfo) -> str:
    """The message without the class name which Dagster puts before it."""
    head, separator, rest = info.message.strip().partition(": ")
    is_name = info.cls_name is not None and head.rpartition(".")[2] == info.cls_name
    return rest if separator and is_name else info.message.strip()


def _record(type: str, message: str, traceback: str | None = None) -> dict[str, Any]:
    return {"type": type, "message": message, "attempt": 0, "traceback": traceback}
