"""`aetherscript history diff`: two executions, or two versions of one, field by field."""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import click

from aether_dagster.cli.history.at import execution_id, find_version
from aether_dagster.cli.history.target import (
    execution_folder,
    found_journal,
    history_option,
    journal_option,
)
from aether_dagster.cli.keys import given_keys, keys_option
from aether_dagster.cli.text import printable, table
from aether_dagster.errors import JournalError

if TYPE_CHECKING:
    from rich.text import Text

    from aether_dagster.crypto import KeyRing

State = Mapping[str, Any]
Path = tuple[str, ...]
_ABSENT = object()
# They differ between any two executions, and say nothing.
_ALWAYS = {"id", "start_timestamp", "node_id", "execution_time", "end_timestamp", "duration"}
_LONGEST = 100


@click.command
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@history_option()
@keys_option("Opens executions which are sealed")
@journal_option()
@click.option("--json", "as_json", is_flag=True, help="Print all differences as a JSON object.")
def diff(
    first: str,
    second: str,
    state_history: str | None,
    keys: tuple[str, ...],
    journal: str | None,
    as_json: bool,
) -> None:
    """Compare two executions: their nodes, then what differs, field by field.

    A and B are folders, pipeline ids, or `latest`; with @VERSION or @TIME, as the journal has it:
    pipeline_01H3XYZ9@7.
    """
    ring = given_keys(keys)
    states = [_state(name, state_history, journal, ring) for name in (first, second)]
    changes = list(differences(states[0], states[1]))
    if as_json:
        found = [{"path": list(path), **_sides(before, after)} for path, before, after in changes]
        named = {"a": states[0]["pipeline"]["id"], "b": states[1]["pipeline"]["id"]}
        click.echo(json.dumps({**named, "changes": found}, ensure_ascii=False, indent=2))
        return
    from aether_dagster.cli.output import console

    console(sys.stdout).write_text(_page(first, second, states, changes))


def differences(before: Any, after: Any, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    """Yields where two values differ: path, value before, value after, down to the leaves."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        old, new = cast("State", before), cast("State", after)
        for key in [*old, *(key for key in new if key not in old)]:
            yield from differences(old.get(key, _ABSENT), new.get(key, _ABSENT), (*path, key))
    elif before != after:
        yield path, before, after


def _state(
    name: str, state_history: str | None, journal: str | None, keys: "KeyRing | None"
) -> State:
    execution, at, when = name.rpartition("@")
    if not at or "/" in when:
        from aether_dagster.cli.history.page import newest_state
        from aether_dagster.snapshot import read_execution

        return newest_state(read_execution(execution_folder(name, state_history), keys))
    pipeline_id = execution_id(execution, state_history)
    with found_journal(journal, keys) as opened:
        if opened is None:
            raise JournalError(f"There is no journal here which has {name}; name it by --journal.")
        version, _ = find_version(opened, pipeline_id, when)
        return opened.state(pipeline_id, version)


def _page(first: str, second: str, states: list[State], changes: list[Any]) -> "Text":
    from rich.text import Text

    from aether_dagster.cli.history.page import node_row

    page = Text()
    page.append(f"A  {states[0]['pipeline']['id']}  {first}\n")
    page.append(f"B  {states[1]['pipeline']['id']}  {second}\n\n")
    rows = [("NODE", "A", "ATTEMPTS", "TIME", "B", "ATTEMPTS", "TIME")]
    names = list(dict.fromkeys([*states[0]["nodes"], *states[1]["nodes"]]))
    for name in names:
        cells = [
            node_row(name, state["nodes"][name])[1:] if name in state["nodes"] else ("", "", "")
            for state in states
        ]
        rows.append((name, *cells[0], *cells[1]))
    heading, *lines = table(rows)
    page.append(f"{heading}\n", "bold")
    for line, row in zip(lines, rows[1:], strict=True):
        page.append(f"{line}\n", "yellow" if row[1:3] != row[4:6] else "")
    telling = [change for change in changes if change[0][-1] not in _ALWAYS]
    page.append("\n" if telling else "\nNothing else differs.\n")
    for path, before, after in telling:
        page.append(f"{'.'.join(path)}\n", "bold")
        for sign, value, style in (("-", before, "red"), ("+", after, "green")):
            if value is not _ABSENT:
                page.append(f"  {sign} {_shown(value)}\n", style)
    return page


def _sides(before: Any, after: Any) -> dict[str, Any]:
    sides = {"a": before, "b": after}
    return {side: value for side, value in sides.items() if value is not _ABSENT}


def _shown(value: Any) -> str:
    text = printable(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
