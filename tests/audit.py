"""Looks at all executions which tests left, and finds where their accounts of one run differ.

fold(versions) = the journal's state = `state_final.json`, and Dagster's event log says the same of
each node's status and attempts. Run over everything below the temporary folder of a test session.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from aether_dagster.crypto import Key, KeyRing
from aether_dagster.errors import AetherError, UnknownKey
from aether_dagster.journal import ExecutionRecord, Journal
from aether_dagster.script import dagster_name
from aether_dagster.snapshot import FINAL, read_execution
from aether_dagster.state import Replica
from aether_dagster.state.document import canonical_bytes

KEY = Key.generate()
"""With which tests seal runs that are to be looked at."""

TAMPERED = "tampered"
"""A file of this name in a test's folder says that the test changed what runs left there."""

_JOURNAL = "aether_journal.db"


def contradictions(base: Path) -> Iterator[str]:
    """Yields what is wrong with runs below a folder, a line each."""
    for file in sorted(base.rglob(_JOURNAL)):
        if any((folder / TAMPERED).exists() for folder in file.parents[:3]):
            continue
        for found in _in_instance(file):
            yield f"{file}: {found}"


def _in_instance(file: Path) -> Iterator[str]:
    logs = {log.stem: log for log in (file.parent / "history" / "runs").glob("*-*.db")}
    if not logs:
        return
    with Journal.open(file, read_only=True, keys=KeyRing([KEY])) as journal:
        for record in journal.executions():
            if record.finalized is None or record.run_id not in logs:
                continue
            try:
                yield from _of_execution(logs[record.run_id], journal, record)
            except UnknownKey:
                continue
            except AetherError as error:
                yield f"{record.pipeline_id}: {error}"


def _of_execution(log: Path, journal: Journal, record: ExecutionRecord) -> Iterator[str]:
    folded = Replica()
    for version in journal.versions(record.pipeline_id):
        for delta in () if version.late else version.deltas:
            folded.apply(delta)
    state = folded.document()
    if canonical_bytes(state) != canonical_bytes(journal.state(record.pipeline_id)):
        yield f"{record.pipeline_id}: the fold of its versions is not the journal's state"
    if record.history is not None and Path(record.history, FINAL).is_file():
        sealed = any(link.sha256 is None for link in journal.history_files(record.pipeline_id))
        history = read_execution(record.history, KeyRing([KEY]) if sealed else None)
        final = history.final
        if final is not None and canonical_bytes(state) != canonical_bytes(final):
            yield f"{record.pipeline_id}: state_final.json is not the state at the end"
        if final is not None and final["report"] != folded.report:
            yield f"{record.pipeline_id}: the report of state_final.json is another one"
    yield from _against_dagster(log, record, state)


def _against_dagster(log: Path, record: ExecutionRecord, state: dict[str, Any]) -> Iterator[str]:
    said = _said(log)
    for name, node in state["nodes"].items():
        step = dagster_name(name)
        keys = (f"{dagster_name(record.pipeline)}__{step}", step)
        words = next((said[key] for key in keys if key in said), None)
        told = _verdict(words) if words else ("pending", 0)
        ours = (node["status"], node["retry_count"] + 1 if node["status"] != "pending" else 0)
        reused = not words and ours == ("succeeded", 1)
        # What was committed stays, where the run was killed before Dagster wrote it down too.
        killed = words is not None and words[-1] == "start" and ours == ("succeeded", told[1])
        if told != ours and not killed and not (reused and record.resumed_from is not None):
            yield f"{record.pipeline_id}: {name} is {ours}; Dagster's log says {told}"


def _said(log: Path) -> dict[str, list[str]]:
    """What Dagster's log of a run says of each step, read without Dagster."""
    with closing(sqlite3.connect(f"file:{log}?mode=ro", uri=True)) as database:
        rows = database.execute(
            "SELECT step_key, dagster_event_type FROM event_logs "
            "WHERE step_key IS NOT NULL ORDER BY id"
        ).fetchall()
    said: dict[str, list[str]] = {}
    for key, kind in rows:
        if kind in _WORDS:
            said.setdefault(key, []).append(_WORDS[kind])
    return said


_WORDS = {
    "STEP_START": "start",
    "STEP_RESTARTED": "start",
    "STEP_UP_FOR_RETRY": "retry",
    "STEP_SUCCESS": "success",
    "STEP_FAILURE": "failure",
}


def _verdict(words: list[str]) -> tuple[str, int]:
    attempts = words.count("retry") + (words[-1] != "retry")
    return ("succeeded" if words[-1] == "success" else "failed", attempts)
