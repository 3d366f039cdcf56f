"""Checks of what steps return, which a plugin brings and Dagster shows as asset checks (spec 5)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class StepDefinition:
    """A step as a plugin sees it where definitions are built: nothing of it has run.

    Args:
        pipeline: The pipeline's name.
        name: The step's name.
        type: Its type.
        arguments: As they stand in the document, references and all.
        artifacts: The artifacts which an execution begins with, as far as they are known before
            one: variables and environment are filled in.
        directory: The document's folder.
    """

    pipeline: str
    name: str
    type: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    artifacts: Mapping[str, str] = field(default_factory=dict[str, str])
    directory: Path = Path()


@dataclass(frozen=True)
class OutputCheck:
    """A check of what one step returns.

    It is evaluated whenever the step has returned something: on the value as state hooks left it,
    or which they refused. It fails nothing by itself: to refuse an output is a state hook's.

    Args:
        name: Names it among the checks of the step; letters, digits and `_`.
        problems: Given the value, returns what is wrong with it, in sentences; nothing where it
            passes. One which raises is a check which failed.
        description: What it checks, for people.
        severity: Whether a failure is an error or a warning.
        blocking: Whether an error fails the step, after its output was stored, so that nothing
            below it runs.
    """

    name: str
    problems: Callable[[Any], Iterable[str]]
    description: str = ""
    severity: Literal["error", "warn"] = "error"
    blocking: bool = False
