"""`aetherscript plan`: what would run, in which order, as text or as a graph."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aether_dagster.cli.pipelines import chosen_pipeline, select_option, variables_option
from aether_dagster.cli.text import table

if TYPE_CHECKING:
    from aether_dagster.script import Document


@click.command(short_help="Print what would run, in which order, or the graph.")
@click.argument("pipeline", required=False, type=click.Path(path_type=Path))
@variables_option()
@select_option()
@click.option(
    "--format",
    "style",
    type=click.Choice(["text", "mermaid", "dot"]),
    default="text",
    show_default=True,
    help="A table, or a graph for Mermaid or Graphviz.",
)
def plan(
    pipeline: Path | None, variables: Mapping[str, str], selection: str | None, style: str
) -> None:
    """Print the steps of a pipeline in the order in which they would run.

    In a graph, a dashed edge is an order without data.
    """
    from aether_dagster.project import read_document

    document = read_document(chosen_pipeline(pipeline), variables=variables)
    write: Callable[[Document, Sequence[str]], list[str]] = _FORMATS[style]
    click.echo("\n".join(write(document, selected_steps(document, selection))))


def selected_steps(document: "Document", selection: str | None) -> tuple[str, ...]:
    """Returns the steps of a selection, or all, in running order; raises SettingsError."""
    if selection is None:
        return document.order
    from aether_dagster.script.selection import select_steps

    return select_steps(selection, document.order, document.dependencies)


def text_lines(document: "Document", steps: Sequence[str]) -> list[str]:
    """Returns a table of the steps: number, id, type, and what each waits for."""
    rows = [("", "STEP", "TYPE", "AFTER")]
    for number, step in enumerate(steps, start=1):
        after = ", ".join(document.dependencies[step])
        rows.append((str(number), step, document.step(step).type, after))
    of = "" if len(steps) == len(document.order) else f"{len(steps)} of "
    total = len(document.order)
    heading = f"{document.name} {document.version}, {of}{total} {'step' if total == 1 else 'steps'}"
    return [heading, "", *table(rows)]


def _mermaid_lines(document: "Document", steps: Sequence[str]) -> list[str]:
    # Words such as `end` mean something in Mermaid, so the boxes have names of their own.
    boxes = {step: f"s{number}" for number, step in enumerate(steps, start=1)}
    lines = ["flowchart LR"]
    lines += [f'    {box}["{step}<br/>{document.step(step).type}"]' for step, box in boxes.items()]
    for above, step, data in _edges(document, steps):
        lines.append(f"    {boxes[above]} {'-->' if data else '-.->'} {boxes[step]}")
    return lines


def _dot_lines(document: "Document", steps: Sequence[str]) -> list[str]:
    lines = [f'digraph "{document.name}" {{', "    rankdir=LR;", "    node [shape=box];"]
    lines += [f'    "{step}" [label="{step}\\n{document.step(step).type}"];' for step in steps]
    for above, step, data in _edges(document, steps):
        lines.append(f'    "{above}" -> "{step}"{"" if data else " [style=dashed]"};')
    return [*lines, "}"]


def _edges(document: "Document", steps: Sequence[str]) -> list[tuple[str, str, bool]]:
    """Returns (upstream, step, whether data goes along) for the edges inside a selection."""
    chosen = set(steps)
    return [
        (above, step, above in document.data_dependencies[step])
        for step in steps
        for above in document.dependencies[step]
        if above in chosen
    ]


_FORMATS = {"text": text_lines, "mermaid": _mermaid_lines, "dot": _dot_lines}
