"""Which pipeline a command is about, and its variables."""

import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from aether_dagster.errors import SettingsError

SUFFIX = ".aether.yaml"
PATTERN = f"*{SUFFIX}"

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def variables_option() -> Decorator:
    """Returns the option `--var`; the command gets `variables`, a dict."""
    return click.option(
        "--var",
        "variables",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_variables,
        help="Set a variable of the document for this time; may be given several times.",
    )


def select_option() -> Decorator:
    """Returns the option `--select`."""
    return click.option(
        "--select",
        "selection",
        metavar="SELECTION",
        help="Only these steps: ids between commas, + before one for all upstream of it, "
        "+ after it for all downstream, * for any characters.",
    )


def chosen_pipeline(given: Path | None) -> Path:
    """Returns the pipeline document which is meant.

    Args:
        given: What the command line says: a document, or a folder which holds exactly one; None
            means this folder.

    Raises:
        SettingsError: There is no such file, or not exactly one document in the folder.
    """
    from aether_dagster.project import find_pipeline

    place = Path() if given is None else given
    return find_pipeline(place) if place.is_dir() else _existing(place)


def chosen_pipelines(given: Sequence[Path]) -> list[Path]:
    """Returns the documents which are meant: those named, or all in the named folders.

    Args:
        given: What the command line says; nothing means this folder.

    Raises:
        SettingsError: There is no such file, or no document in a folder.
    """
    chosen: list[Path] = []
    for place in given or [Path()]:
        found = sorted(path for path in place.glob(PATTERN) if not path.is_dir())
        chosen.extend(found or [chosen_pipeline(place)])
    return chosen


def _existing(file: Path) -> Path:
    if file.exists():
        return file
    folder = file.parent
    stems = [_stem(path) for path in folder.glob(PATTERN)] if folder.is_dir() else []
    near = difflib.get_close_matches(_stem(file), stems, n=1)
    hint = f"; did you mean {folder / (near[0] + SUFFIX)}?" if near else "."
    raise SettingsError(f"There is no file {file}{hint}")


def _stem(file: Path) -> str:
    return file.name.removesuffix(SUFFIX)


def _variables(
    ctx: click.Context, parameter: click.Parameter, values: Sequence[str]
) -> dict[str, str]:
    variables: dict[str, str] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE.", ctx, parameter)
        if name in variables:
            raise click.BadParameter(f"{name!r} is given twice.", ctx, parameter)
        variables[name] = value
    return variables
