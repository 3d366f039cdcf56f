"""Resuming on the command line: what would run, and the command which resumes an execution."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from aether_dagster.cli.text import table
from aether_dagster.crypto.sources import is_literal
from aether_dagster.errors import SettingsError

if TYPE_CHECKING:
    from aether_dagster.manager.resumption import ResumePlan
    from aether_dagster.script import Document

# As `orchestration.instance` has it, but without Dagster's seconds.
_EMBEDDED = ".aether"
# What the next run has of its own: which steps it covers, and how it is shown.
_NOT_REPEATED = frozenset({"selection", "resume", "dry_run", "vis", "rate", "browser"})


def check_place() -> None:
    """Refuses to resume where no run can have left anything.

    Raises:
        SettingsError: This folder has no instance, and no other one is named.
    """
    if not os.environ.get("DAGSTER_HOME") and not Path(_EMBEDDED).is_dir():
        raise SettingsError(
            f"There is no {_EMBEDDED} here, so nothing to resume: run this in the folder which the "
            "pipeline ran in, or set DAGSTER_HOME to the Dagster instance which has its runs."
        )


def preview_lines(document: "Document", plan: "ResumePlan", *, ended: bool) -> list[str]:
    """Returns a table of the steps which would run and those which would be reused, and why.

    Args:
        document: The document as it is now.
        plan: What would run.
        ended: Whether the execution which would be resumed has ended.
    """
    rows: list[tuple[str, ...]] = [("", "STEP", "TYPE", "")]
    numbers = {step: str(number) for number, step in enumerate(plan.runs, start=1)}
    for step in document.order:
        kind = document.step(step).type
        if step in plan.runs:
            rows.append((numbers[step], step, kind, f"runs: {plan.runs[step]}"))
        elif step in plan.reused:
            rows.append(("", step, kind, "reused"))
    heading = f"{document.name} {document.version}, resuming {plan.pipeline_id}: "
    lines = [f"{heading}{len(plan.runs)} to run, {len(plan.reused)} reused"]
    if not ended:
        lines.append("It has not ended; if its process is dead, it is brought to its end first.")
    return [*lines, "", *table(rows)]


def resuming_command(pipeline_id: str) -> str:
    """Returns the command line which resumes an execution of the command which runs now.

    It has the options which this one was given; a key which was one of them is not repeated.
    """
    context = click.get_current_context()
    words = ["aetherscript", "run"]
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        if given and name not in _NOT_REPEATED:
            words += _words(parameter, context.params[name])
    return " ".join([*map(shlex.quote, words), "--resume", pipeline_id])


def _words(parameter: click.Parameter, value: Any) -> list[str]:
    if isinstance(parameter, click.Argument):
        return [str(value)]
    option = max(parameter.opts, key=len)
    if isinstance(value, bool):
        return [option]
    if parameter.name == "variables":
        return [word for name, text in value.items() for word in (option, f"{name}={text}")]
    if parameter.name == "keys":
        shown = ("KEY" if is_literal(reference) else reference for reference in value)
        return [word for reference in shown for word in (option, reference)]
    return [option, str(value)]
