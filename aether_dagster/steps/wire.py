"""What a run's process and the child of an attempt say to each other, pickled, over one socket."""

from dataclasses import dataclass
from typing import Any

from aether_dagster.steps.registry import StepType


@dataclass(frozen=True)
class Request:
    """The first message, parent to child: everything which the attempt needs.

    Args:
        step_type: What to run.
        args: The pickled arguments: read once the import path is set.
        facts: The plain members of the StepContext.
        directory: The document's folder.
        sys_path: The parent's import path.
        environ: The parent's environment, as far as the start of the child changed it.
        log_level: The effective level of the parent's logger.
    """

    step_type: StepType
    args: bytes
    facts: dict[str, Any]
    directory: str
    sys_path: list[str]
    environ: dict[str, str | None]
    log_level: int


@dataclass(frozen=True)
class Ready:
    """The child's interpreter runs: the timeout counts from here."""


@dataclass(frozen=True)
class Logged:
    """A message for the run's log."""

    level: int
    text: str


@dataclass(frozen=True)
class Question:
    """A use of the context which only the parent can answer.

    Args:
        subject: `artifacts` or `connection`.
        method: The method to call on it.
        args: Its arguments.
    """

    subject: str
    method: str
    args: tuple[Any, ...]


@dataclass(frozen=True)
class Answer:
    """What a question's method gave, or the exception which it raised."""

    value: Any = None
    error: BaseException | None = None


@dataclass(frozen=True)
class Done:
    """The attempt's output, pickled."""

    value: bytes


@dataclass(frozen=True)
class Failed:
    """Why the attempt failed; `answered` if by an exception of the parent's own answer."""

    type: str
    message: str
    traceback: str
    answered: bool = False
