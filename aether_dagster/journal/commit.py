"""The one place where a version is committed (spec 1.6), and where versions are read."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, func, insert, select, text, update

from aether_dagster.journal.executions import number_of, unknown
from aether_dagster.journal.records import Version
from aether_dagster.journal.schema import delta_ids, executions, versions
from aether_dagster.journal.statement import Row, Session, Statement
from aether_dagster.journal.text import from_text, to_text
from aether_dagster.state import Delta, ids

_ALL = 2**31 - 1

_e, _v = executions.c, versions.c
_pipeline_id = lru_cache(maxsize=256)(ids.pipeline_id)
_LOCK = Statement(
    lambda _: (
        select(_e.head, _e.committed_at, _e.finalized)
        .where(_e.number == bindparam("execution"))
        .with_for_update()
    )
)
_HEAD = Statement(lambda _: select(_e.head).where(_e.number == bindparam("execution")))
_REMEMBER = Statement(
    lambda insert: (
        insert(delta_ids)
        .values(execution=bindparam("execution"), id=bindparam("id"))
        .on_conflict_do_nothing()
    )
)
_KNOWN = Statement(
    lambda _: select(delta_ids.c.id).where(
        delta_ids.c.execution == bindparam("execution"), delta_ids.c.id == bindparam("id")
    )
)
_WRITE: dict[str, Any] = {
    "execution": bindparam("execution"),
    "number": bindparam("number"),
    "committed_at": bindparam("committed_at"),
    "late": bindparam("late"),
    "deltas": bindparam("deltas"),
}
_INSERT = {
    "sqlite": Statement(lambda _: insert(versions).values(_WRITE)),
    "postgresql": Statement(
        lambda _: insert(versions).values({**_WRITE, "place": func.pg_current_xact_id()})
    ),
}
_ADVANCE = Statement(
    lambda _: (
        update(executions)
        .where(_e.number == bindparam("execution"))
        .values(
            head=bindparam("new_head"),
            committed_at=bindparam("new_time"),
            status=text("CASE WHEN head = 0 THEN 'executing' ELSE status END"),
        )
    )
)
_ADVANCE_WITH_SUMMARY = Statement(
    lambda _: (
        update(executions)
        .where(_e.number == bindparam("execution"))
        .values(
            head=bindparam("new_head"),
            committed_at=bindparam("new_time"),
            status=bindparam("new_status"),
            nodes=bindparam("new_nodes"),
        )
    )
)
_FINALIZE = Statement(
    lambda _: (
        update(executions)
        .where(_e.number == bindparam("execution"))
        .values(
            head=bindparam("new_head"),
            committed_at=bindparam("new_time"),
            finalized=bindparam("new_head"),
            status=bindparam("new_status"),
            nodes=bindparam("new_nodes"),
            ended_at=bindparam("new_end"),
        )
    )
)
_VERSIONS = Statement(
    lambda _: (
        select(_v.number, _v.committed_at, _v.late, _v.deltas)
        .where(
            _v.execution == bindparam("execution"),
            _v.number > bindparam("after"),
            _v.number <= bindparam("upto"),
        )
        .order_by(_v.number)
    )
)
# The execution has a row of its own, so that one which there is not is told from one which has
# nothing new.
_VERSIONS_OF = Statement(
    lambda _: (
        select(_v.number, _v.committed_at, _v.late, _v.deltas)
        .select_from(
            executions.outerjoin(
                versions,
                and_(
                    _v.execution == _e.number,
                    _v.number > bindparam("after"),
                    _v.number <= bindparam("upto"),
                ),
            )
        )
        .where(_e.number == bindparam("execution"))
        .order_by(_v.number)
    )
)


class Head(NamedTuple):
    """Where an execution stands, its row locked until the transaction ends."""

    execution: int
    version: int
    committed_at: int
    finalized: int | None


def lock(session: Session, pipeline_id: str) -> Head:
    """Locks an execution's row and returns where it stands; raises UnknownExecution."""
    execution = number_of(session, pipeline_id)
    row = session.row(_LOCK, execution=execution)
    if row is None:
        raise unknown(session, pipeline_id)
    return Head(execution, *row)


def encode(deltas: Sequence[Delta]) -> str:
    """Returns deltas as they are stored; those without a clock are given it when they are read."""
    return to_text([delta.to_json() for delta in deltas])


def existing(session: Session, pipeline_id: str) -> int:
    """Returns an execution's number; raises UnknownExecution."""
    return head(session, pipeline_id)[0]


def head(session: Session, pipeline_id: str) -> tuple[int, int]:
    """Returns an execution's number and newest version; raises UnknownExecution."""
    execution = number_of(session, pipeline_id)
    row = session.row(_HEAD, execution=execution)
    if row is None:
        raise unknown(session, pipeline_id)
    return execution, row[0]


def append(
    session: Session,
    head: Head,
    deltas: Sequence[Delta],
    *,
    now_ms: int,
    text: str | None = None,
    summary: Mapping[str, Any] | None = None,
) -> int:
    """Commits those of the deltas which are not there yet as the next version.

    Args:
        session: A write transaction.
        head: Where the execution stands, as `lock` gave it.
        deltas: What to commit.
        now_ms: Unix milliseconds.
        text: What `encode` made of the deltas, before there was a lock to hold.
        summary: Status and numbers of nodes, for lists.

    Returns:
        The version, or the present one where all of them were there.
    """
    execution = head.execution
    new = [delta for delta in deltas if session.run(_REMEMBER, execution=execution, id=delta.id)]
    if not new:
        return head.version
    number = head.version + 1
    committed_at = max(now_ms, head.committed_at)
    late = head.finalized is not None
    stored = text if text is not None and len(new) == len(deltas) else encode(new)
    session.run(
        _INSERT[session.engine],
        execution=execution,
        number=number,
        committed_at=committed_at,
        late=late,
        deltas=session.payloads.seal(session, execution, _place(number), stored),
    )
    report = None if late else next((d.report for d in new if d.report is not None), None)
    advance = {"execution": execution, "new_head": number, "new_time": committed_at}
    if report is not None:
        session.run(
            _FINALIZE,
            **advance,
            new_status=report.get("status", "succeeded"),
            new_nodes=to_text(report.get("nodes", {})),
            new_end=report.get("end_timestamp", committed_at / 1000),
        )
    elif summary is not None and not late:
        session.run(
            _ADVANCE_WITH_SUMMARY,
            **advance,
            new_status=summary.get("status", "executing"),
            new_nodes=to_text(summary.get("nodes", {})),
        )
    else:
        session.run(_ADVANCE, **advance)
    session.committed = execution
    return number


def known(session: Session, execution: int, delta_id: str) -> bool:
    """Returns whether a delta of that id was committed."""
    return session.row(_KNOWN, execution=execution, id=delta_id) is not None


def read(session: Session, execution: int, after: int, upto: int | None) -> list[Version]:
    """Returns the versions after one, up to another and with it."""
    bound = _ALL if upto is None else upto
    rows = session.rows(_VERSIONS, execution=execution, after=after, upto=bound)
    return [version(session, execution, row) for row in rows]


def read_of(session: Session, pipeline_id: str, after: int, upto: int | None) -> list[Version]:
    """Returns versions as `read`, in one query; raises UnknownExecution."""
    execution = number_of(session, pipeline_id)
    bound = _ALL if upto is None else upto
    rows = session.rows(_VERSIONS_OF, execution=execution, after=after, upto=bound)
    if not rows:
        raise unknown(session, pipeline_id)
    if rows[0][0] is None:
        return []
    return [version(session, execution, row) for row in rows]


def version(session: Session, execution: int, row: Row) -> Version:
    """Returns a version from number, time, lateness and deltas as they are stored."""
    number, committed_at, late, deltas = row
    records = from_text(session.payloads.open(session, execution, _place(number), deltas))
    for record in records:
        if record["clock"] is None:
            record["clock"] = number
    return Version(
        _pipeline_id(execution),
        number,
        committed_at / 1000,
        tuple(Delta.from_json(record) for record in records),
        bool(late),
    )


def _place(number: int) -> str:
    return f"version {number}"
