"""The outbox of state hooks: how far each was told of an execution, and what every call came to.

The journal itself is what is delivered; here stand the cursors over it and the ledger (spec 5).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, literal_column, select, update

from aether_dagster.journal.commit import existing
from aether_dagster.journal.database import Database
from aether_dagster.journal.executions import number_of
from aether_dagster.journal.schema import executions, hook_calls, hook_cursors
from aether_dagster.journal.statement import Row, Session, Statement, insert_rows
from aether_dagster.journal.text import from_text, to_text, unix_ms
from aether_dagster.state import ids

_c, _l, _e = hook_cursors.c, hook_calls.c, executions.c
_REGISTER = Statement(
    lambda insert: (
        insert(hook_cursors)
        .values(
            execution=bindparam("execution"),
            hook=bindparam("hook"),
            plugin=bindparam("plugin"),
            source=bindparam("source"),
            version=0,
            part=0,
            attempts=0,
            retry_at=0.0,
            done=False,
        )
        .on_conflict_do_nothing()
    )
)
_CURSOR_COLUMNS = (
    _c.execution,
    _c.hook,
    _c.plugin,
    _c.source,
    _c.version,
    _c.part,
    _c.attempts,
    _c.retry_at,
    _c.done,
)
_OF_EXECUTION = Statement(
    lambda _: (
        select(*_CURSOR_COLUMNS).where(_c.execution == bindparam("execution")).order_by(_c.hook)
    )
)
_OPEN = (
    select(*_CURSOR_COLUMNS)
    .join(executions, _e.number == _c.execution)
    .where(_c.done.is_(False), _e.refused.is_(None), _e.head > _c.version)
    .order_by(_c.execution, _c.hook)
)
_OPEN_ALL = Statement(lambda _: _OPEN)
_OPEN_OF_HOOK = Statement(lambda _: _OPEN.where(_c.hook == bindparam("hook")))
_MOVE = Statement(
    lambda _: (
        update(hook_cursors)
        .where(_c.execution == bindparam("of"), _c.hook == bindparam("called"))
        .values(
            version=bindparam("new_version"),
            part=bindparam("new_part"),
            attempts=bindparam("new_attempts"),
            retry_at=bindparam("new_retry_at"),
            done=bindparam("new_done"),
        )
    )
)
_BEGUN = ("called_at", "event", "hook", "plugin", "node", "delivery")
_NOTED = (*_BEGUN, "outcome", "milliseconds")
_BEGIN = Statement(
    lambda insert: (
        insert(hook_calls)
        .values({name: bindparam(name) for name in ("execution", *_BEGUN)})
        .returning(_l.number)
    )
)
_END = Statement(
    lambda _: (
        update(hook_calls)
        .where(_l.number == bindparam("call"))
        .values(
            outcome=bindparam("new_outcome"),
            milliseconds=bindparam("new_milliseconds"),
            detail=bindparam("new_detail"),
        )
    )
)
_EXECUTION_OF = Statement(lambda _: select(_l.execution).where(_l.number == bindparam("call")))
_CALL_COLUMNS = (
    _l.number,
    _l.execution,
    _l.called_at,
    _l.event,
    _l.hook,
    _l.plugin,
    _l.node,
    _l.delivery,
    _l.outcome,
    _l.milliseconds,
    _l.detail,
)
_CALLS = Statement(
    lambda _: (
        select(*_CALL_COLUMNS).where(_l.execution == bindparam("execution")).order_by(_l.number)
    )
)
_TRIGGERED = Statement(
    lambda _: (
        select(*_CALL_COLUMNS)
        .where(
            _l.hook == bindparam("hook"),
            _l.number > bindparam("after"),
            # Written out: a parameter would keep the index from being used.
            _l.outcome == literal_column("'triggered'"),
        )
        .order_by(_l.number)
    )
)


@dataclass(frozen=True)
class HookCursor:
    """How far one hook was told of one execution.

    Args:
        pipeline_id: The execution.
        hook: The hook's key.
        plugin: `Name@version` of the plugin which it belongs to.
        source: Where another process finds it.
        version: The newest version of which something was delivered, or passed over.
        part: How many deliveries of that version were made.
        attempts: How often the next delivery was begun, or a turn which begins with it.
        retry_at: When it may be tried again, Unix seconds.
        done: Everything was delivered.
    """

    pipeline_id: str
    hook: str
    plugin: str
    source: str
    version: int = 0
    part: int = 0
    attempts: int = 0
    retry_at: float = 0.0
    done: bool = False


@dataclass(frozen=True)
class HookCallRecord:
    """One call of one hook, as the ledger keeps it.

    Args:
        number: In the order of the calls.
        pipeline_id: The execution.
        called_at: Unix seconds.
        event: The event's name.
        hook: The hook's key.
        plugin: `Name@version`.
        node: The step which it was about, if it was about one.
        delivery: The delivery's id, if it was one.
        outcome: What it came to; None while it goes on, and for ever if its process was lost.
        milliseconds: How long it took.
        detail: What more is known: a reason, an error.
    """

    number: int
    pipeline_id: str
    called_at: float
    event: str
    hook: str
    plugin: str
    node: str | None
    delivery: str | None
    outcome: str | None
    milliseconds: float | None
    detail: Mapping[str, Any] | None


@dataclass(frozen=True)
class CallEnd:
    """What a call came to and, where it was a delivery, how far its hook was told.

    Args:
        call: The call's number.
        outcome: What it came to.
        milliseconds: How long it took.
        detail: What more is known; JSON.
        cursor: Where the hook's cursor moves, where the call was a delivery.
    """

    call: int
    outcome: str
    milliseconds: float
    detail: Mapping[str, Any] | None = None
    cursor: HookCursor | None = None


class Outbox:
    """Cursors of hooks over the executions of a journal, and the ledger of their calls.

    Args:
        database: The journal's.
    """

    def __init__(self, database: Database):
        self._database = database

    def register(self, cursors: Iterable[HookCursor]) -> None:
        """Notes that hooks want to be told of an execution; those which are noted stay so."""
        with self._database.writing() as session:
            for cursor in cursors:
                session.run(
                    _REGISTER,
                    execution=number_of(session, cursor.pipeline_id),
                    hook=cursor.hook,
                    plugin=cursor.plugin,
                    source=cursor.source,
                )

    def cursors(self, pipeline_id: str) -> list[HookCursor]:
        """Returns the cursors of an execution's hooks."""
        with self._database.reading() as session:
            rows = session.rows(_OF_EXECUTION, execution=existing(session, pipeline_id))
        return [_cursor(row) for row in rows]

    def behind(self, hook: str | None = None) -> list[HookCursor]:
        """Returns the cursors which have something left to look at, oldest execution first.

        Args:
            hook: Of this hook only.
        """
        with self._database.reading() as session:
            if hook is None:
                rows = session.rows(_OPEN_ALL)
            else:
                rows = session.rows(_OPEN_OF_HOOK, hook=hook)
        return [_cursor(row) for row in rows]

    def begin_call(
        self,
        pipeline_id: str,
        *,
        event: str,
        hook: str,
        plugin: str,
        node: str | None = None,
        delivery: str | None = None,
        cursor: HookCursor | None = None,
        ended: Sequence[CallEnd] = (),
    ) -> int:
        """Notes that a hook is being called; returns the call's number.

        Args:
            pipeline_id: The execution.
            event: The event's name.
            hook: The hook's key.
            plugin: `Name@version`.
            node: The step which it is about, if it is about one.
            delivery: The delivery's id, if it is one.
            cursor: Where the hook's cursor is meanwhile: which attempt this is.
            ended: What earlier calls came to, noted together with this one.
        """

        def begin(session: Session) -> int:
            rows = session.rows(
                _BEGIN,
                execution=number_of(session, pipeline_id),
                called_at=unix_ms() / 1000,
                event=event,
                hook=hook,
                plugin=plugin,
                node=node,
                delivery=delivery,
            )
            return rows[0][0]

        if not ended and cursor is None:
            return self._database.put(begin)
        with self._database.writing() as session:
            write_ends(session, ended)
            if cursor is not None:
                _move(session, cursor)
            return begin(session)

    def end_calls(self, ended: Sequence[CallEnd]) -> None:
        """Notes what calls came to and, together with it, how far their hooks were told."""
        with self._database.writing() as session:
            write_ends(session, ended)

    def move(self, cursor: HookCursor) -> None:
        """Moves a hook's cursor, and nothing else."""
        self._database.put(lambda session: _move(session, cursor))

    def note_calls(self, calls: Sequence[HookCallRecord], cursor: HookCursor) -> None:
        """Notes calls of a hook which were made and, together with it, how far it was told.

        Args:
            calls: The calls, one after the other; their numbers are given here.
            cursor: The hook's cursor.
        """
        with self._database.writing() as session:
            execution = number_of(session, cursor.pipeline_id)
            plain = [_row(execution, each) for each in calls if each.detail is None]
            insert_rows(session, hook_calls, plain)
            for each in calls:
                if each.detail is not None:
                    # What is sealed belongs to the call's number.
                    row = _row(execution, each)
                    outcome, milliseconds = row.pop("outcome"), row.pop("milliseconds")
                    ((number,),) = session.rows(_BEGIN, **row)
                    write_ends(session, [CallEnd(number, outcome, milliseconds, each.detail)])
            _move(session, cursor)

    def calls(self, pipeline_id: str) -> list[HookCallRecord]:
        """Returns the ledger of an execution: every call of a hook, in order."""
        with self._database.reading() as session:
            rows = session.rows(_CALLS, execution=existing(session, pipeline_id))
            return [_call(session, row) for row in rows]

    def triggered(self, hook: str, after: int) -> list[HookCallRecord]:
        """Returns the calls of a hook, after one, which asked for a job to be launched."""
        with self._database.reading() as session:
            rows = session.rows(_TRIGGERED, hook=hook, after=after)
            return [_call(session, row) for row in rows]


def write_ends(session: Session, ended: Sequence[CallEnd]) -> None:
    """Notes what calls came to, as a part of whatever else is committed."""
    for each in ended:
        text = None if each.detail is None else to_text(each.detail)
        if text is not None:
            row = session.row(_EXECUTION_OF, call=each.call)
            if row is not None:
                text = session.payloads.seal(session, row[0], _place(each.call), text)
        session.run(
            _END,
            call=each.call,
            new_outcome=each.outcome,
            new_milliseconds=each.milliseconds,
            new_detail=text,
        )
        if each.cursor is not None:
            _move(session, each.cursor)


def _move(session: Session, cursor: HookCursor) -> None:
    session.run(
        _MOVE,
        of=number_of(session, cursor.pipeline_id),
        called=cursor.hook,
        new_version=cursor.version,
        new_part=cursor.part,
        new_attempts=cursor.attempts,
        new_retry_at=cursor.retry_at,
        new_done=cursor.done,
    )


def _row(execution: int, call: HookCallRecord) -> dict[str, Any]:
    named = {name: getattr(call, name) for name in _NOTED}
    return {"execution": execution, **named}


def _cursor(row: Row) -> HookCursor:
    execution, hook, plugin, source, version, part, attempts, retry_at, done = row
    return HookCursor(
        ids.pipeline_id(execution),
        hook,
        plugin,
        source,
        version,
        part,
        attempts,
        retry_at,
        bool(done),
    )


def _place(call: int) -> str:
    return f"hook call {call}"


def _call(session: Session, row: Row) -> HookCallRecord:
    (
        number, execution, called_at, event, hook, plugin, node, delivery, outcome, milliseconds,
        detail,
    ) = row  # fmt: skip
    if detail is not None:
        detail = session.payloads.open(session, execution, _place(number), detail)
    return HookCallRecord(
        number=number,
        pipeline_id=ids.pipeline_id(execution),
        called_at=called_at,
        event=event,
        hook=hook,
        plugin=plugin,
        node=node,
        delivery=delivery,
        outcome=outcome,
        milliseconds=milliseconds,
        detail=from_text(detail),
    )
