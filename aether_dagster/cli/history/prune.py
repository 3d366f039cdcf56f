"""`aetherscript history prune`: deletes executions which are old, from history and journal."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aether_dagster.cli.history.group import ENVIRONMENT_VARIABLE, history_url
from aether_dagster.cli.history.target import existing_journal, found_journal, journal_option
from aether_dagster.cli.text import size
from aether_dagster.errors import SettingsError

if TYPE_CHECKING:
    from aether_dagster.journal import ExecutionRecord, Journal
    from aether_dagster.snapshot import HistoryStore

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


@dataclass(frozen=True)
class Pruned:
    """One execution which is deleted, or would be.

    Args:
        execution: Its pipeline id.
        folder: Its folder's name; None where only the journal has it.
        files: How many files it has.
        bytes: Their size.
        journal_bytes: The size of its versions in the journal; None where that does not have it.
    """

    execution: str
    folder: str | None
    files: int
    bytes: int
    journal_bytes: int | None


@dataclass(frozen=True)
class _Found:
    """An execution as history and journal have it."""

    execution: str
    started: float
    folder: str | None
    record: "ExecutionRecord | None"


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
@click.option(
    "--without-history",
    is_flag=True,
    help="Delete also executions which only the journal has, because they kept no state history.",
)
@click.option("--dry-run", is_flag=True, help="Delete nothing; say what would be deleted.")
@journal_option()
@click.option("--json", "as_json", is_flag=True, help="Print what was deleted as a JSON array.")
def prune(
    history: str | None,
    keep: float | None,
    keep_last: int | None,
    without_history: bool,
    dry_run: bool,
    journal: str | None,
    as_json: bool,
) -> None:
    """Delete executions which are neither young nor among the newest.

    Of each the folder goes and, if there is a journal, all that it holds of it: versions, what
    plugins remembered, and the ledger of state hooks, told or not. Their space is given back. An
    execution which has not ended is never deleted. Stored values stay: others may refer to them.
    """
    if keep is None and keep_last is None:
        raise click.UsageError("Say what to keep: --keep 30d, --keep-last 20, or both.")
    has_journal = existing_journal(journal)
    store = _store(history, without_history=without_history and has_journal)
    # What is opened for writing would be made where there is none.
    opening = found_journal(journal, None, read_only=dry_run) if has_journal else nullcontext()
    with opening as opened:
        found = sorted(
            _executions(store, opened, without_history=without_history),
            key=lambda each: (each.started, each.execution),
        )
        oldest = found[: max(0, len(found) - (keep_last or 0))]
        old = [each for each in oldest if time.time() - each.started >= (keep or 0)]
        pruned = [item for each in old if (item := _measured(store, opened, each)) is not None]
        if not dry_run:
            _delete(store, opened, pruned)
    if as_json:
        click.echo(json.dumps([asdict(item) for item in pruned], indent=2))
        return
    _tell(pruned, len(found), dry_run=dry_run)


def _store(history: str | None, *, without_history: bool) -> "HistoryStore | None":
    from aether_dagster.snapshot import HistoryStore

    try:
        return HistoryStore(history_url(history))
    except SettingsError:
        if without_history:
            return None
        raise


def _executions(
    store: "HistoryStore | None", journal: "Journal | None", *, without_history: bool
) -> Iterator[_Found]:
    from aether_dagster.snapshot import parse_folder

    listed = [] if journal is None else journal.executions()
    records = {record.pipeline_id: record for record in listed}
    for folder in [] if store is None else store.folders():
        execution = parse_folder(folder) or folder
        record = records.get(execution)
        # The execution of another journal may have the same id.
        if store is None or record is None or not _lies_at(record, store, folder):
            record = None
        yield _Found(execution, _folders_time(folder), folder, record)
    for record in listed if without_history else []:
        if record.history is None:
            yield _Found(record.pipeline_id, record.created_at, None, record)


def _measured(
    store: "HistoryStore | None", journal: "Journal | None", found: _Found
) -> Pruned | None:
    """Returns what is deleted of an execution; None where it has not ended."""
    from aether_dagster.snapshot import FINAL

    kept: int | None = None
    if journal is not None and found.record is not None:
        ended = found.record.finalized is not None or found.record.refused is not None
        if not ended or journal.lease(found.execution) is not None:
            return None
        kept = journal.size(found.execution)
    sizes: dict[str, int] = {}
    if store is not None and found.folder is not None:
        sizes = store.sizes(found.folder)
        if FINAL not in sizes:
            return None
    return Pruned(found.execution, found.folder, len(sizes), sum(sizes.values()), kept)


def _delete(store: "HistoryStore | None", journal: "Journal | None", pruned: list[Pruned]) -> None:
    if journal is not None:
        # Before the folders go: what is cut off in between is not taken for a theft.
        journal.prune(item.execution for item in pruned if item.journal_bytes is not None)
    for item in pruned:
        if store is not None and item.folder is not None:
            store.remove(item.folder)


def _tell(pruned: list[Pruned], total: int, *, dry_run: bool) -> None:
    word = "would delete" if dry_run else "deleted"
    for item in pruned:
        click.echo(f"{word}  {item.folder or item.execution}  {_sizes([item])}")
    noun = "execution" if total == 1 else "executions"
    click.echo(f"{len(pruned)} of {total} {noun}, {_sizes(pruned)}", err=True)


def _sizes(pruned: list[Pruned]) -> str:
    files = size(sum(item.bytes for item in pruned))
    kept = [item.journal_bytes for item in pruned if item.journal_bytes is not None]
    return f"{files} and {size(sum(kept))} in the journal" if kept else files


def _folders_time(folder: str) -> float:
    """Returns when an execution started, in Unix seconds, as its folder's name tells."""
    return datetime.strptime(folder[:17], "%Y-%m-%d_%H%M%S").replace(tzinfo=UTC).timestamp()


def _lies_at(record: "ExecutionRecord", store: "HistoryStore", folder: str) -> bool:
    if record.history is None:
        return False
    location = f"{store.url.rstrip('/')}/{folder}"
    return record.history == location or Path(record.history).resolve() == Path(location).resolve()
