"""The step type `python/script` (spec 2)."""

import sys
from collections.abc import Mapping
from typing import Any

from aether_dagster.errors import StepFailed
from aether_dagster.steps.context import StepContext
from aether_dagster.steps.process import command_words, run_process


def run(args: Mapping[str, Any], context: StepContext, timeout: float | None) -> Any:
    """Run a Python file or text in a process of its own; see `run_process`.

    Raises:
        StepFailed: There is no such file, or as `run_process`.
    """
    if args["path"] is None:
        program = ["-c", args["code"]]
    else:
        path = context.directory / args["path"]
        if not path.is_file():
            raise StepFailed("FileNotFoundError", f"There is no script {str(path)!r}.", "")
        program = [str(path)]
    # Without a buffer, so that what it prints is seen while it runs.
    command = [args["python"] or sys.executable, "-u", *program, *command_words(args["args"])]
    return run_process(command, args, context.directory, timeout, masked=context.masked)
