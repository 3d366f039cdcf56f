"""`aetherscript history at`: the state of an execution at a version or at a moment."""

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from aether_dagster.cli.history.target import (
    EXECUTION,
    LATEST,
    execution_folder,
    found_journal,
    history_option,
    is_pipeline_id,
    journal_option,
)
from aether_dagster.cli.keys import given_keys, keys_option
from aether_dagster.cli.text import moment
from aether_dagster.errors import JournalError, StateError

if TYPE_CHECKING:
    from aether_dagster.journal import Journal


@click.command
@click.argument("when", metavar="VERSION|TIME")
@click.argument("execution", default=LATEST, metavar=EXECUTION)
@history_option()
@keys_option("Opens an execution which is sealed")
@journal_option()
@click.option("--json", "as_json", is_flag=True, help="Print the state document.")
def at(
    when: str,
    execution: str,
    state_history: str | None,
    keys: tuple[str, ...],
    journal: str | None,
    as_json: bool,
) -> None:
    """Show the state of an execution as it was at VERSION, or at TIME.

    TIME is in ISO 8601, UTC unless it says otherwise, such as 2023-07-20T13:34:52.5. The journal
    has every version; the files of the state history alone do not say when they were written.
    """
    ring = given_keys(keys)
    pipeline_id = execution_id(execution, state_history)
    with found_journal(journal, ring) as opened:
        if opened is None:
            raise JournalError(
                "There is no journal in this folder; name the one which has the execution's "
                "versions, with --journal."
            )
        version, committed_at = find_version(opened, pipeline_id, when)
        document = opened.state(pipeline_id, version)
        head = opened.versions(pipeline_id, after=version)
    if as_json:
        click.echo(json.dumps({"version": version, **document}, ensure_ascii=False, indent=2))
        return
    source = f"version  {version} of {version + len(head)}, committed {moment(committed_at)}"
    _show(document, source)


def execution_id(execution: str, state_history: str | None) -> str:
    """Returns the pipeline id of a folder, of the latest execution, or as it is given."""
    if is_pipeline_id(execution):
        return execution
    from aether_dagster.snapshot import HistoryStore, parse_folder

    folder = execution_folder(execution, state_history)
    name = HistoryStore.containing(folder)[1]
    found = parse_folder(name)
    if found is None:
        raise StateError(f"{execution} is neither an execution's folder nor its pipeline id.")
    return found


def find_version(journal: "Journal", pipeline_id: str, when: str) -> tuple[int, float]:
    """Returns the version which is meant, and when it was committed, in Unix seconds.

    Raises:
        StateError: There is none.
    """
    versions = journal.versions(pipeline_id)
    if not versions:
        raise StateError(f"{pipeline_id} never began.")
    if when.isdecimal():
        number = int(when)
        if not 1 <= number <= len(versions):
            raise StateError(f"{pipeline_id} has versions 1 to {len(versions)}, and so no {when}.")
        return number, versions[number - 1].committed_at
    until = _unix(when)
    found = [version for version in versions if version.committed_at <= until]
    if not found:
        raise StateError(
            f"{pipeline_id} began at {moment(versions[0].committed_at)}, after {when}."
        )
    return found[-1].number, found[-1].committed_at


def _unix(when: str) -> float:
    try:
        parsed = datetime.fromisoformat(when)
    except ValueError:
        raise StateError(
            f"{when!r} is neither a version nor a time; write 7 or 2023-07-20T13:34:52."
        ) from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def _show(document: Mapping[str, Any], source: str) -> None:
    from aether_dagster.cli.history.page import state_page
    from aether_dagster.cli.output import console

    console(sys.stdout).write_text(state_page(document, source))
