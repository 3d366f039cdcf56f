"""The step type `shell/run` (spec 2)."""

from collections.abc import Mapping
from typing import Any

from aether_dagster.errors import StepFailed
from aether_dagster.steps.context import StepContext
from aether_dagster.steps.process import command_words, run_process


def run(args: Mapping[str, Any], context: StepContext, timeout: float | None) -> Any:
    """Run `command`: a list as it is, a string by `shell -c`; see `run_process`."""
    command = args["command"]
    words = [args["shell"], "-c", command] if isinstance(command, str) else command_words(command)
    if not words:
        raise StepFailed("InvalidArguments", "The command of shell/run is an empty list.", "")
    return run_process(words, args, context.directory, timeout, masked=context.masked)
