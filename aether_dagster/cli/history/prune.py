"""`aetherscript history prune`: deletes what is old, and tells the journal that it was meant."""

import json
import re
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aether_dagster.cli.history.group import ENVIRONMENT_VARIABLE, history_url
from aether_dagster.cli.history.target import existing_journal, found_journal, journal_option
from aether_dagster.cli.text import size
from aether_dagster.errors import UnknownExecution

if TYPE_CHECKING:
    from aether_dagster.journal import Journal

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


@dataclass(frozen=True)
class Pruned:
    """One execution which is deleted, or would be.

    Args:
        execution: Its pipeline id.
        folder: Its folder's name.
        files: How many files it has.
        bytes: Their size.
    """

    execution: str
    folder: str
    files: int
    bytes: int


def _age(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    match = re.fullmatch(r"(\d+)([smhdw])", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no age; write 30d, 12h or 2w.", ctx, parameter)
    return int(match[1]) * _SECONDS[match[2]]


@click.command
@click.argument("history", required=False, envvar=ENVIRONMENT_VARIABLE, metavar="[DIR|URL]")
@click.option("--keep", callback=_age, metavar="AGE", help="Keep what is younger: 12h, 30d, 4w.")
@click.option("--keep-last", type=click.IntRange(min=0), metavar="N", help="Keep the N newest.")
@click.option("--dry-run", is_flag=True, help="Delete nothing; say what would be deleted.")
@journal_option()
@click.option("--json", "as_json", is_flag=True, help="Print what was deleted as a JSON array.")
def prune(
    history: str | None,
    keep: float | None,
    keep_last: int | None,
    dry_run: bool,
    journal: str | None,
    as_json: bool,
) -> None:
    """Delete the folders of executions which are neither young nor among the newest.

    An execution which has not ended is never deleted. The journal, if there is one, is told, so
    that `verify` does not miss the folders; its own versions stay.
    """
    from aether_dagster.snapshot import FINAL, HistoryStore, parse_folder

    if keep is None and keep_last is None:
        raise click.UsageError("Say what to keep: --keep 30d, --keep-last 20, or both.")
    store = HistoryStore(history_url(history))
    folders = store.folders()
    candidates = folders[: max(0, len(folders) - (keep_last or 0))]
    pruned: list[Pruned] = []
    for folder in candidates:
        sizes = store.sizes(folder)
        if FINAL in sizes and _seconds_old(folder) >= (keep or 0):
            execution = parse_folder(folder) or folder
            pruned.append(Pruned(execution, folder, len(sizes), sum(sizes.values())))
    if not dry_run and existing_journal(journal):
        with found_journal(journal, None, read_only=False) as opened:
            for item in pruned:
                # Before the folder goes: what is cut off in between is not taken for a theft.
                _forget(opened, item.execution, f"{store.url.rstrip('/')}/{item.folder}")
                store.remove(item.folder)
    elif not dry_run:
        for item in pruned:
            store.remove(item.folder)
    if as_json:
        click.echo(json.dumps([asdict(item) for item in pruned], indent=2))
        return
    for item in pruned:
        click.echo(f"{'would delete' if dry_run else 'deleted'}  {item.folder}  {size(item.bytes)}")
    total = size(sum(item.bytes for item in pruned))
    click.echo(f"{len(pruned)} of {len(folders)} executions, {total}", err=True)


def _seconds_old(folder: str) -> float:
    """Returns the age which a folder's name tells."""
    started = datetime.strptime(folder[:17], "%Y-%m-%d_%H%M%S").replace(tzinfo=UTC)
    return time.time() - started.timestamp()


def _forget(journal: "Journal | None", execution: str, location: str) -> None:
    if journal is None:
        return
    records = {record.pipeline_id: record for record in journal.executions()}
    record = records.get(execution)
    if record is None or record.history is None:
        return
    same = record.history == location or Path(record.history).resolve() == Path(location).resolve()
    if same:
        try:
            journal.forget_history(execution)
        except UnknownExecution:
            return
