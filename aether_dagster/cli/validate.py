"""`aetherscript validate`: all that is wrong with pipeline documents, without running anything."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aether_dagster.cli.pipelines import chosen_pipelines, variables_option
from aether_dagster.cli.start import no_pydantic_plugins, uncollected_start
from aether_dagster.cli.status import ExitStatus
from aether_dagster.errors import PluginError, Problem, ScriptError

if TYPE_CHECKING:
    from aether_dagster.script import Document


@click.command(short_help="Report all that is wrong with pipeline documents.")
@click.argument("pipelines", nargs=-1, type=click.Path(path_type=Path), metavar="[PIPELINE]...")
@variables_option()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for all documents.")
def validate(pipelines: tuple[Path, ...], variables: Mapping[str, str], as_json: bool) -> int:
    """Check pipeline documents and report every error with file, line and column.

    Left out, PIPELINE is every *.aether.yaml in this folder. The exit status is 2 if any of them
    is wrong.
    """
    started = click.get_current_context().with_resource(uncollected_start())
    reports = [_report(path, variables) for path in chosen_pipelines(pipelines)]
    # Nor does the interpreter look through it all once more when it ends.
    started()
    valid = all(report["valid"] for report in reports)
    if as_json:
        documents = {"valid": valid, "documents": reports}
        click.echo(json.dumps(documents, ensure_ascii=False, indent=2, default=asdict))
    else:
        for report in reports:
            _tell(report)
    return ExitStatus.SUCCEEDED if valid else ExitStatus.WRONG_INPUT


def _report(path: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    from aether_dagster.project import read_document

    try:
        with no_pydantic_plugins():
            document = read_document(path, variables=variables)
        _check_plugins(document)
    except ScriptError as error:
        return {"file": str(path), "valid": False, "problems": error.problems}
    return {
        "file": str(path),
        "valid": True,
        "name": document.name,
        "version": document.version,
        "config_hash": document.config_hash,
        "steps": len(document.order),
    }


def _check_plugins(document: "Document") -> None:
    """Resolves and loads what a run would, so that its plugins and hooks are checked too."""
    directory = Path(document.file).absolute().parent
    if not (document.pipeline.plugins or (directory / "plugins").is_dir()):
        return
    from aether_dagster.plugins.activation import activate

    try:
        activate(document, directory)
    except PluginError as error:
        raise ScriptError([Problem(document.file, None, None, str(error))]) from None


def _tell(report: Mapping[str, Any]) -> None:
    if report["valid"]:
        steps = f"{report['steps']} {'step' if report['steps'] == 1 else 'steps'}"
        click.echo(f"{report['file']}: valid, {steps}")
    else:
        for problem in report["problems"]:
            click.echo(str(problem), err=True)
