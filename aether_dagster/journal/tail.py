"""Tails: what was committed since a cursor, of one execution or of all (spec 1.6)."""

import re
import time

from sqlalchemy import bindparam, func, select

from aether_dagster.errors import JournalError
from aether_dagster.journal import commit
from aether_dagster.journal.database import Database
from aether_dagster.journal.executions import number_of
from aether_dagster.journal.records import Tail, Version
from aether_dagster.journal.schema import versions
from aether_dagster.journal.statement import Session, Statement
from aether_dagster.state import ids

# A wake-up can be lost; then a tail is late by this many seconds.
_POLL_SECONDS = 1.0
_AT_ONCE = 1000

_v = versions.c
_COLUMNS = (_v.execution, _v.number, _v.committed_at, _v.late, _v.deltas)
_NEWER = Statement(
    lambda _: (
        select(_v.place, *_COLUMNS)
        .where(_v.place > bindparam("place"))
        .order_by(_v.place)
        .limit(_AT_ONCE)
    )
)
_NEWEST_PLACE = Statement(lambda _: select(func.max(_v.place)))

_CURSOR = re.compile(r"(?P<kind>[vs])(?P<number>\d{1,18})")


def start(pipeline_id: str | None) -> str:
    """Returns the cursor before everything."""
    return "v0" if pipeline_id is not None else "s0"


def now(session: Session, pipeline_id: str | None) -> str:
    """Returns the cursor after everything."""
    if pipeline_id is not None:
        return f"v{commit.head(session, pipeline_id)[1]}"
    row = session.row(_NEWEST_PLACE)
    return f"s{(row and row[0]) or 0}"


def tail(
    database: Database, after: str | None, timeout: float | None, pipeline_id: str | None
) -> Tail:
    """Waits for versions newer than a cursor; see `Journal.tail`."""
    cursor = start(pipeline_id) if after is None else after
    until = None if timeout is None else time.monotonic() + timeout
    with database.mailbox() as mailbox:
        while True:
            mailbox.clear()
            with database.reading() as session:
                found, newer = _newer(session, cursor, pipeline_id)
            if found:
                return Tail(found, newer)
            left = _POLL_SECONDS if until is None else until - time.monotonic()
            if left <= 0:
                return Tail([], cursor)
            mailbox.wait(min(left, _POLL_SECONDS))


def _newer(session: Session, cursor: str, pipeline_id: str | None) -> tuple[list[Version], str]:
    match = _CURSOR.fullmatch(cursor)
    if match is None or (match["kind"] == "v") != (pipeline_id is not None):
        raise JournalError(f"{cursor!r} is not a cursor of this tail; take one from Tail.cursor.")
    number = int(match["number"])
    if pipeline_id is not None:
        execution = number_of(session, pipeline_id)
        found = commit.read(session, execution, number, number + _AT_ONCE)
        return found, f"v{found[-1].number}" if found else cursor
    rows = session.rows(_NEWER, place=number)
    found = [commit.version(ids.pipeline_id(row[1]), row[2:]) for row in rows]
    return found, f"s{rows[-1][0]}" if rows else cursor
