"""Which code does which step type."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class StepType:
    """How a step type is done.

    Args:
        target: `module:function` of a function which takes the arguments and the context, and
            gives the output.
        ends_itself: The function takes the timeout as a third argument and keeps it, because all
            its work is a process of its own, or none. Any other runs in a child process when its
            step has a timeout.
    """

    target: str
    ends_itself: bool = False

    def load(self) -> Callable[..., Any]:
        """Import the function; a step type costs nothing until a step of it runs."""
        module, _, function = self.target.partition(":")
        return getattr(import_module(module), function)


STEP_TYPES: Mapping[str, StepType] = {
    "core/echo": StepType("aether_dagster.steps.echo_sleep:echo", ends_itself=True),
    "core/sleep": StepType("aether_dagster.steps.echo_sleep:sleep", ends_itself=True),
    "python/call": StepType("aether_dagster.steps.python_call:call"),
    "python/script": StepType("aether_dagster.steps.python_script:run", ends_itself=True),
    "shell/run": StepType("aether_dagster.steps.shell:run", ends_itself=True),
    "http/request": StepType("aether_dagster.steps.http_request:request"),
    "sql/query": StepType("aether_dagster.steps.sql_query:query"),
}
