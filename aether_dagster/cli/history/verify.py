"""`aetherscript history verify`: is it what was written, all of it, and where it was put?"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aether_dagster.cli.history.group import ENVIRONMENT_VARIABLE, history_url
from aether_dagster.cli.history.target import (
    chosen_folders,
    execution_folder,
    found_journal,
    is_pipeline_id,
    journal_option,
)
from aether_dagster.cli.keys import given_keys, keys_option
from aether_dagster.errors import AetherError, SealError

if TYPE_CHECKING:
    from aether_dagster.crypto import ChainLink
    from aether_dagster.journal import ExecutionRecord, Journal
    from aether_dagster.snapshot import HistoryStore, Recorded, Verification

# 0 to 3 mean what they mean for every command; the worst of what was found decides.
STATUS: Mapping[str, int] = {
    "whole": 0,
    "unfinished": 4,
    "locked": 5,
    "foreign": 6,
    "missing": 7,
    "rolled back": 8,
    "damaged": 9,
}


@click.command
@click.argument(
    "place",
    required=False,
    envvar=ENVIRONMENT_VARIABLE,
    metavar="[DIR|URL|FOLDER|PIPELINE_ID]",
)
@keys_option("Opens executions which are sealed")
@journal_option()
@click.option(
    "--no-dagster",
    is_flag=True,
    help="Do not compare with the tags of Dagster's runs, which takes seconds to open.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def verify(
    place: str | None, keys: tuple[str, ...], journal: str | None, no_dagster: bool, as_json: bool
) -> int:
    """Verify a whole state history, or one execution of it. Nothing is changed.

    Each file, the chain of the files, and what the journal and Dagster's runs have recorded of
    them. Exit status, by the worst of what was found: 0 whole, 4 an execution never ended,
    5 sealed with another key, 6 a foreign file, 7 a missing file, 8 an earlier copy was put back,
    9 damaged.
    """
    ring = given_keys(keys)
    wanted = history_url(None) if place is None else place
    if is_pipeline_id(wanted):
        wanted = execution_folder(wanted, None)
    store, folders = chosen_folders(wanted)
    from aether_dagster.snapshot import parse_folder, verify_execution

    results: list[Verification] = []
    with found_journal(journal, ring) as opened:
        records = {} if opened is None else _records(opened)
        if parse_folder(wanted.rstrip("/").rpartition("/")[2]) is None:
            results += _deleted(records.values(), store, folders)
        known = {folder: _record(opened, records, store, folder) for folder in folders}
        heads = {} if no_dagster else _tagged_heads([record for record in known.values() if record])
        for folder, record in known.items():
            recorded = None
            if opened is not None and record is not None:
                recorded = _recorded(opened, record, heads.get(record.pipeline_id))
            results.append(verify_execution(store, folder, ring, recorded))
    _tell(results, as_json=as_json)
    return max((STATUS[result.verdict] for result in results), default=0)


def _records(journal: "Journal") -> dict[str, "ExecutionRecord"]:
    """Returns the executions which have a history, by id."""
    return {
        record.pipeline_id: record for record in journal.executions() if record.history is not None
    }


def _record(
    journal: "Journal | None",
    records: Mapping[str, "ExecutionRecord"],
    store: "HistoryStore",
    folder: str,
) -> "ExecutionRecord | None":
    """Returns the journal's record of a folder: it lies where it was written, or was moved."""
    from aether_dagster.snapshot import parse_folder

    record = records.get(parse_folder(folder) or "")
    if record is None or journal is None or _lies_in(record, store):
        return record
    # Another journal's execution may have the same id; it did not begin with the same file.
    first = journal.history_files(record.pipeline_id)[:1]
    return record if first and _is_whole(store, folder, first[0]) else None


def _is_whole(store: "HistoryStore", folder: str, link: "ChainLink") -> bool:
    from aether_dagster.crypto import parse

    try:
        data = store.read(folder, link.name)
        if link.sha256 is None:
            return parse(data).link == link.link
        return hashlib.sha256(data).hexdigest() == link.sha256
    except AetherError:
        return False


def _lies_in(record: "ExecutionRecord", store: "HistoryStore") -> bool:
    written = (record.history or "").rstrip("/").rpartition("/")[0]
    return _anchored(written) == _anchored(store.url)


def _anchored(url: str) -> str:
    return url.rstrip("/") if "://" in url else str(Path(url).resolve())


def _deleted(
    records: Iterable["ExecutionRecord"], store: "HistoryStore", folders: Sequence[str]
) -> Iterator["Verification"]:
    """Finds the executions whose whole folder is gone."""
    from aether_dagster.snapshot import Finding, Verification

    present = set(folders)
    for record in records:
        name = (record.history or "").rstrip("/").rpartition("/")[2]
        if name not in present and record.head > 0 and _lies_in(record, store):
            finding = Finding("missing", None, f"The whole folder is gone from {store.url}.")
            yield Verification(record.pipeline_id, name, False, 0, True, (finding,))


def _recorded(journal: "Journal", record: "ExecutionRecord", head: str | None) -> "Recorded":
    from aether_dagster.snapshot import Recorded

    links = journal.history_files(record.pipeline_id)
    error: str | None = None
    try:
        report = journal.replica(record.pipeline_id).report or {}
        error = report.get("history_error")
    except SealError:
        # Without its key the report cannot be read; what was recorded of the files can.
        pass
    return Recorded(links, record.finalized is not None, error, head)


def _tagged_heads(records: Sequence["ExecutionRecord"]) -> dict[str, str]:
    """Returns what the tags of Dagster's runs say, by pipeline id."""
    directory = Path.cwd()
    if not records or not (os.environ.get("DAGSTER_HOME") or (directory / ".aether").is_dir()):
        return {}
    from aether_dagster.orchestration.instance import open_instance

    heads: dict[str, str] = {}
    with open_instance(os.environ, directory) as instance:
        for record in records:
            run = instance.get_run_by_id(record.run_id)
            head = None if run is None else run.tags.get(f"aether/{record.pipeline}.history_head")
            if head is not None:
                heads[record.pipeline_id] = head
    return heads


def _tell(results: Sequence["Verification"], *, as_json: bool) -> None:
    if as_json:
        found = [{"verdict": result.verdict, **asdict(result)} for result in results]
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    for result in results:
        kind = "sealed" if result.sealed else "plain"
        against = "" if result.journal else "; no journal knows it"
        click.echo(f"{result.verdict}  {result.execution}  {result.files} files, {kind}{against}")
        for finding in result.findings:
            click.echo(f"  {finding.kind}  {finding.file or result.folder}: {finding.message}")
    if not results:
        click.echo("There are no executions.", err=True)
