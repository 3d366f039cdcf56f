"""Tails: what was committed since a cursor, of one execution or of all (spec 1.6)."""

import re
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import bindparam, func, select

from aether_dagster.errors import JournalError
from aether_dagster.journal import commit
from aether_dagster.journal.database import Database
from aether_dagster.journal.records import Tail, Version
from aether_dagster.journal.schema import versions
from aether_dagster.journal.statement import Row, Session, Statement

# A wake-up can be lost; then a tail is late by this many seconds.
_POLL_SECONDS = 1.0
_AT_ONCE = 1000

_v = versions.c
_COLUMNS = (_v.execution, _v.number, _v.committed_at, _v.late, _v.deltas)
_AFTER_PLACE = Statement(
    lambda _: (
        select(_v.place, *_COLUMNS)
        .where(_v.place > bindparam("place"))
        .order_by(_v.place)
        .limit(_AT_ONCE)
    )
)
_NEWEST_PLACE = Statement(lambda _: select(func.max(_v.place)))

_SNAPSHOT = "SELECT pg_current_snapshot()::text"
_EVERYTHING = """
    SELECT execution, number, committed_at, late, deltas FROM aether_versions
    WHERE (execution, number) > (%(execution)s, %(number)s)
      AND pg_visible_in_snapshot(place, %(target)s::pg_snapshot)
    ORDER BY execution, number LIMIT %(limit)s
"""
# OFFSET 0 lets each row be looked up: a server which expects more of them than there are would read
# the whole table instead.
_BETWEEN_SNAPSHOTS = """
    WITH newer AS MATERIALIZED (
        SELECT execution, number FROM aether_versions
        WHERE place >= pg_snapshot_xmin(%(done)s::pg_snapshot)
          AND NOT pg_visible_in_snapshot(place, %(done)s::pg_snapshot)
          AND pg_visible_in_snapshot(place, %(target)s::pg_snapshot)
    ), next AS MATERIALIZED (
        SELECT execution, number FROM newer
        WHERE (execution, number) > (%(execution)s, %(number)s)
        ORDER BY execution, number LIMIT %(limit)s
    )
    SELECT execution, number, committed_at, late, deltas
    FROM next CROSS JOIN LATERAL (
        SELECT committed_at, late, deltas FROM aether_versions
        WHERE execution = next.execution AND number = next.number
        OFFSET 0
    ) AS found
    ORDER BY execution, number
"""

# Of one execution: the version. Of all: on SQLite the place, on PostgreSQL the snapshot of which
# all was given and, while there is more than one answer takes, the one which is being given.
_OF_EXECUTION = re.compile(r"v(\d{1,10})")
_OF_SQLITE = re.compile(r"s(\d{1,18})")
_OF_POSTGRES = re.compile(r"p([\d:,]*)(?:/([\d:,]+)/(\d{1,18})\.(\d{1,10}))?")

Found = tuple[list[Version], str]


def start(engine: str, pipeline_id: str | None) -> str:
    """Returns the cursor before everything."""
    if pipeline_id is not None:
        return "v0"
    return "s0" if engine == "sqlite" else "p"


def now(session: Session, pipeline_id: str | None) -> str:
    """Returns the cursor after everything."""
    if pipeline_id is not None:
        return f"v{commit.head(session, pipeline_id)[1]}"
    if session.engine == "postgresql":
        return f"p{session.sql(_SNAPSHOT).fetchone()[0]}"
    row = session.row(_NEWEST_PLACE)
    return f"s{(row and row[0]) or 0}"


def tail(
    database: Database,
    after: str | None,
    timeout: float | None,
    pipeline_id: str | None,
    given_up: Callable[[], bool],
) -> Tail:
    """Waits for versions newer than a cursor; see `Journal.tail`."""
    cursor = start(database.engine, pipeline_id) if after is None else after
    until = None if timeout is None else time.monotonic() + timeout
    with database.mailbox() as mailbox:
        while not database.closed:
            mailbox.clear()
            if pipeline_id is None:
                with database.reading() as session:
                    found, newer = _newer(session, cursor)
            else:
                found, newer = _newer_of(database, cursor, pipeline_id)
            if found:
                return Tail(found, newer)
            left = _POLL_SECONDS if until is None else until - time.monotonic()
            # After the mailbox was cleared: who gives up does so before the wake-up is sent.
            if left <= 0 or given_up():
                break
            mailbox.wait(min(left, _POLL_SECONDS))
    return Tail([], cursor)


def _newer_of(database: Database, cursor: str, pipeline_id: str) -> Found:
    version = int(_read(_OF_EXECUTION, cursor)[1])
    upto = version + _AT_ONCE
    found = database.look(lambda session: commit.read_of(session, pipeline_id, version, upto))
    return found, f"v{found[-1].number}" if found else cursor


def _newer(session: Session, cursor: str) -> Found:
    if session.engine == "postgresql":
        return _newer_on_postgres(session, _read(_OF_POSTGRES, cursor))
    rows = session.rows(_AFTER_PLACE, place=int(_read(_OF_SQLITE, cursor)[1]))
    return _versions(session, [row[1:] for row in rows]), f"s{rows[-1][0]}" if rows else cursor


def _newer_on_postgres(session: Session, cursor: re.Match[str]) -> Found:
    done, target, execution, number = cursor.groups()
    current = session.sql(_SNAPSHOT).fetchone()[0]
    if target is not None:
        rows = _between(session, done, target, int(execution), int(number))
        if rows:
            return _versions(session, rows), _after(rows, done, target)
        done = target
    rows = _between(session, done, current, -1, 0)
    return _versions(session, rows), _after(rows, done, current)


def _between(session: Session, done: str, target: str, execution: int, number: int) -> list[Row]:
    parameters: dict[str, Any] = {
        "target": target,
        "execution": execution,
        "number": number,
        "limit": _AT_ONCE,
    }
    if not done:
        return session.sql(_EVERYTHING, **parameters).fetchall()
    return session.sql(_BETWEEN_SNAPSHOTS, done=done, **parameters).fetchall()


def _after(rows: list[Row], done: str, target: str) -> str:
    if len(rows) < _AT_ONCE:
        return f"p{target}"
    return f"p{done}/{target}/{rows[-1][0]}.{rows[-1][1]}"


def _versions(session: Session, rows: list[Row]) -> list[Version]:
    return [commit.version(session, row[0], row[1:]) for row in rows]


def _read(pattern: re.Pattern[str], cursor: str) -> re.Match[str]:
    match = pattern.fullmatch(cursor)
    if match is None:
        raise JournalError(f"{cursor!r} is not a cursor of this tail; take one from Tail.cursor.")
    return match
