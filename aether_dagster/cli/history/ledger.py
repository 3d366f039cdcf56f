"""The ledger of state hooks: every call of one execution, as `history show --hooks` prints it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from aether_dagster.cli.history.target import (
    LATEST,
    execution_folder,
    found_journal,
    is_pipeline_id,
)
from aether_dagster.cli.text import moment, table
from aether_dagster.errors import JournalError, SettingsError, SnapshotError

if TYPE_CHECKING:
    from aether_dagster.crypto import KeyRing
    from aether_dagster.journal import Journal
    from aether_dagster.journal.outbox import HookCallRecord

# A call which has no outcome. How it ended is noted with what was committed next.
_OPEN = "under way, or its process ended"


def ledger_text(
    execution: str,
    state_history: str | None,
    journal: str | None,
    keys: "KeyRing | None",
    *,
    as_json: bool,
) -> str:
    """Returns the calls of an execution's hooks, as a table or JSON.

    Args:
        execution: A folder, a pipeline id, or `latest`.
        state_history: Where folders are looked for.
        journal: The journal's URL; the one of this folder where None.
        keys: Open what is sealed.
        as_json: Give JSON.

    Raises:
        JournalError: There is no journal.
        UnknownExecution: It holds no such execution.
    """
    with found_journal(journal, keys) as opened:
        if opened is None:
            raise JournalError("There is no journal here, which keeps the ledger; name --journal.")
        pipeline_id = _pipeline_id(execution, state_history, opened)
        calls = opened.outbox.calls(pipeline_id)
    if as_json:
        return json.dumps([asdict(call) for call in calls], ensure_ascii=False, indent=2)
    if not calls:
        return f"{pipeline_id}: no state hook was called."
    heading = ("CALLED", "EVENT", "HOOK", "VERSION", "NODE", "MS", "OUTCOME")
    return "\n".join(table([heading, *map(_row, calls)]))


def _pipeline_id(execution: str, state_history: str | None, journal: "Journal") -> str:
    from aether_dagster.snapshot import parse_folder

    if is_pipeline_id(execution):
        return execution
    try:
        folder = execution_folder(execution, state_history)
    except (SettingsError, SnapshotError):
        newest = journal.executions(limit=1) if execution == LATEST else []
        if not newest:
            raise
        return newest[0].pipeline_id
    return parse_folder(PurePosixPath(folder.rstrip("/")).name) or execution


def _row(call: "HookCallRecord") -> Sequence[str]:
    plugin, _, version = call.plugin.rpartition("@")
    name = call.hook.removeprefix(f"{plugin}.")
    milliseconds = "" if call.milliseconds is None else f"{call.milliseconds:.1f}"
    outcome = call.outcome or _OPEN
    about = _about(call.detail)
    return (
        moment(call.called_at),
        call.event,
        name,
        version,
        call.node or "",
        milliseconds,
        f"{outcome}: {about}" if about else outcome,
    )


def _about(detail: Mapping[str, Any] | None) -> str:
    if detail is None:
        return ""
    if "message" in detail:
        text = f"{detail['type']}: {detail['message']}"
    else:
        said = detail.get("reason") or detail.get("problem") or detail.get("job")
        text = str(said or ", ".join(detail.get("changed", ())))
    line = " ".join(text.split())
    return line if len(line) <= 120 else f"{line[:119]}…"
