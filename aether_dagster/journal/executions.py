"""The executions of a journal: their ids, what is known of them beside their state, and lists."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from sqlalchemy import Text, bindparam, func, select, update

from aether_dagster.errors import JournalError, UnknownExecution
from aether_dagster.journal.records import ExecutionRecord
from aether_dagster.journal.schema import (
    documents,
    executions,
    facts,
    hook_calls,
    hook_cursors,
    leases,
    private,
    resolutions,
)
from aether_dagster.journal.statement import Row, Session, Statement
from aether_dagster.journal.text import from_text, to_text
from aether_dagster.state import ids

_RESOLVED_PLACE = "resolved"

_e = executions.c
LISTED = (
    _e.number,
    _e.run_id,
    _e.pipeline,
    _e.partition_key,
    _e.resumed_from,
    _e.config_hash,
    _e.created_at,
    _e.head,
    _e.committed_at,
    _e.status,
    _e.nodes,
    _e.finalized,
    _e.ended_at,
    _e.history,
    _e.refused,
)
_WHOLE = (
    select(*LISTED, documents.c.document, resolutions.c.resolved)
    .join(documents, documents.c.digest == _e.document)
    .outerjoin(resolutions, resolutions.c.execution == _e.number)
)
_BY_NUMBER = Statement(lambda _: _WHOLE.where(_e.number == bindparam("number")))
_BY_RUN = Statement(
    lambda _: _WHOLE.where(_e.run_id == bindparam("run_id"), _e.pipeline == bindparam("pipeline"))
)
_OF_RUN = Statement(lambda _: _WHOLE.where(_e.run_id == bindparam("run_id")).order_by(_e.number))
_NEWEST = Statement(lambda _: select(*LISTED).order_by(_e.number.desc()).limit(bindparam("limit")))
_NEWEST_OF_PIPELINE = Statement(
    lambda _: (
        select(*LISTED)
        .where(_e.pipeline == bindparam("pipeline"))
        .order_by(_e.number.desc())
        .limit(bindparam("limit"))
    )
)
_LAST_NUMBER = Statement(
    lambda _: select(facts.c.value).where(facts.c.name == "last_number").with_for_update()
)
_SET_LAST_NUMBER = Statement(
    lambda _: update(facts).where(facts.c.name == "last_number").values(value=bindparam("number"))
)
_KEEP_DOCUMENT = Statement(
    lambda insert: (
        insert(documents)
        .values(digest=bindparam("digest"), document=bindparam("document"))
        .on_conflict_do_nothing()
    )
)
_CREATE = Statement(
    lambda insert: insert(executions).values(
        number=bindparam("number"),
        run_id=bindparam("run_id"),
        pipeline=bindparam("pipeline"),
        partition_key=bindparam("partition_key"),
        resumed_from=bindparam("resumed_from"),
        config_hash=bindparam("config_hash"),
        document=bindparam("document"),
        created_at=bindparam("created_at"),
        head=0,
        committed_at=0,
        status="pending",
    )
)
_LOCK = Statement(
    lambda _: select(_e.head).where(_e.number == bindparam("execution")).with_for_update()
)
_RENUMBER = Statement(
    lambda _: (
        update(executions)
        .where(_e.number == bindparam("execution"))
        .values(number=bindparam("new"))
    )
)
_RENUMBER_MORE = [
    Statement(
        lambda _, table=table: (
            update(table)
            .where(table.c.execution == bindparam("old"))
            .values(execution=bindparam("new"))
        )
    )
    for table in (resolutions, private, leases, hook_cursors, hook_calls)
]
_ANNOTATE = Statement(
    lambda _: (
        update(executions)
        .where(_e.number == bindparam("execution"))
        .values(
            history=func.coalesce(bindparam("new_history", type_=Text()), _e.history),
            refused=func.coalesce(bindparam("new_refused", type_=Text()), _e.refused),
            status=func.coalesce(bindparam("new_status", type_=Text()), _e.status),
        )
    )
)
_RESOLVED = Statement(
    lambda insert: (
        statement := insert(resolutions).values(
            execution=bindparam("execution"), resolved=bindparam("resolved")
        )
    ).on_conflict_do_update(
        index_elements=["execution"], set_={"resolved": statement.excluded.resolved}
    )
)


_number = lru_cache(maxsize=256)(ids.pipeline_number)


def number_of(session: Session, pipeline_id: str) -> int:
    """Returns the number of a pipeline id; raises UnknownExecution where it cannot be one."""
    try:
        return _number(pipeline_id)
    except ValueError:
        raise unknown(session, pipeline_id) from None


def unknown(session: Session, pipeline_id: str) -> UnknownExecution:
    """Returns the error which says that there is no such execution, and which ones there are."""
    return UnknownExecution(pipeline_id, [record.pipeline_id for record in newest(session, 3)])


def reserve(
    session: Session,
    run_id: str,
    pipeline: str,
    *,
    now_ms: int,
    config_hash: str,
    document: Mapping[str, Any],
    partition: str | None,
    resumed_from: str | None,
) -> ExecutionRecord:
    """Returns the execution of a Dagster run and pipeline, created just now unless it exists."""
    number = ids.next_pipeline_number(now_ms, lock_creation(session))
    found = find(session, run_id, pipeline)
    if found is not None:
        return found
    text = to_text(document)
    digest = hashlib.sha256(text.encode()).hexdigest()
    session.run(_KEEP_DOCUMENT, digest=digest, document=text)
    session.run(_SET_LAST_NUMBER, number=number)
    session.run(
        _CREATE,
        number=number,
        run_id=run_id,
        pipeline=pipeline,
        partition_key=partition,
        resumed_from=resumed_from,
        config_hash=config_hash,
        document=digest,
        created_at=now_ms,
    )
    session.payloads.begin(session, number)
    return replace(record(session, ids.pipeline_id(number)), created=True)


def renumber(session: Session, pipeline_id: str, now_ms: int) -> ExecutionRecord:
    """Gives an execution without versions the next id; returns it."""
    old = number_of(session, pipeline_id)
    new = ids.next_pipeline_number(now_ms, lock_creation(session))
    row = session.row(_LOCK, execution=old)
    if row is None:
        raise unknown(session, pipeline_id)
    if row[0]:
        raise JournalError(
            f"{pipeline_id} has {row[0]} versions, which carry its id; it cannot be renumbered."
        )
    session.run(_SET_LAST_NUMBER, number=new)
    session.run(_RENUMBER, execution=old, new=new)
    for statement in _RENUMBER_MORE:
        session.run(statement, old=old, new=new)
    session.payloads.renumber(session, old, new)
    return record(session, ids.pipeline_id(new))


def annotate(
    session: Session,
    pipeline_id: str,
    *,
    history: str | None,
    resolved: Mapping[str, Any] | None,
    refused: str | None,
) -> None:
    """Keeps facts beside the state; what is None stays as it was."""
    number = number_of(session, pipeline_id)
    status = None if refused is None else "refused"
    if not session.run(
        _ANNOTATE,
        execution=number,
        new_history=history,
        new_refused=refused,
        new_status=status,
    ):
        raise unknown(session, pipeline_id)
    if resolved is not None:
        text = session.payloads.seal(session, number, _RESOLVED_PLACE, to_text(resolved))
        session.run(_RESOLVED, execution=number, resolved=text)


def record(session: Session, pipeline_id: str) -> ExecutionRecord:
    """Returns one execution, with document and what was resolved."""
    row = session.row(_BY_NUMBER, number=number_of(session, pipeline_id))
    if row is None:
        raise unknown(session, pipeline_id)
    return _record(session, row)


def find(session: Session, run_id: str, pipeline: str) -> ExecutionRecord | None:
    """Returns the execution of a Dagster run and pipeline, if there is one."""
    row = session.row(_BY_RUN, run_id=run_id, pipeline=pipeline)
    return None if row is None else _record(session, row)


def find_run(session: Session, run_id: str) -> list[ExecutionRecord]:
    """Returns the executions of a Dagster run, oldest first."""
    return [_record(session, row) for row in session.rows(_OF_RUN, run_id=run_id)]


def newest(
    session: Session, limit: int | None, pipeline: str | None = None
) -> list[ExecutionRecord]:
    """Returns executions, newest first, without document and what was resolved."""
    bound = 2**62 if limit is None else limit
    if pipeline is None:
        rows = session.rows(_NEWEST, limit=bound)
    else:
        rows = session.rows(_NEWEST_OF_PIPELINE, pipeline=pipeline, limit=bound)
    return [listed(row) for row in rows]


def listed(row: Row) -> ExecutionRecord:
    """Returns an execution from the columns of lists, `LISTED`."""
    return _record(None, (*row, None, None))


def lock_creation(session: Session) -> int | None:
    """Lets nobody else create an execution until the transaction ends.

    Returns:
        The newest execution's number, pruned or not; None before the first.
    """
    row = session.row(_LAST_NUMBER)
    return row[0] if row is not None and row[0] >= 0 else None


def _record(session: Session | None, row: Row) -> ExecutionRecord:
    (
        number, run_id, pipeline, partition, resumed_from, config_hash, created_at, head,
        committed_at, status, nodes, finalized, ended_at, history, refused, document, resolved,
    ) = row  # fmt: skip
    if session is not None and resolved is not None:
        resolved = session.payloads.open(session, number, _RESOLVED_PLACE, resolved)
    return ExecutionRecord(
        pipeline_id=ids.pipeline_id(number),
        run_id=run_id,
        pipeline=pipeline,
        partition=partition,
        resumed_from=resumed_from,
        config_hash=config_hash,
        created_at=created_at / 1000,
        head=head,
        committed_at=committed_at / 1000 if head else None,
        status=status,
        nodes=from_text(nodes) or {},
        finalized=finalized,
        ended_at=ended_at,
        history=history,
        refused=refused,
        document=from_text(document),
        resolved=from_text(resolved),
    )
