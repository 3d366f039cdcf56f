"""Retention: deleting executions, and giving back their space."""

from collections.abc import Iterable

from sqlalchemy import bindparam, delete, exists, func, select

from aether_dagster.journal.database import Database
from aether_dagster.journal.executions import lock_creation, number_of
from aether_dagster.journal.schema import (
    OF_ONE_EXECUTION,
    checkpoints,
    documents,
    executions,
    versions,
)
from aether_dagster.journal.statement import Session, Statement

_DELETE = [
    Statement(
        lambda _, table=table: delete(table).where(table.c.execution == bindparam("execution"))
    )
    for table in OF_ONE_EXECUTION
]
_WEIGHTS = [
    Statement(
        lambda _, column=column: select(func.coalesce(func.sum(func.length(column)), 0)).where(
            column.table.c.execution == bindparam("execution")
        )
    )
    for column in (versions.c.deltas, checkpoints.c.replica)
]
_DELETE_EXECUTION = Statement(
    lambda _: delete(executions).where(executions.c.number == bindparam("execution"))
)
_DELETE_UNUSED_DOCUMENTS = Statement(
    lambda _: delete(documents).where(
        ~exists(select(executions.c.number).where(executions.c.document == documents.c.digest))
    )
)


def weigh(session: Session, execution: int) -> int:
    """Returns how many bytes of versions and checkpoints are kept of an execution."""
    rows = [session.row(weight, execution=execution) for weight in _WEIGHTS]
    return sum(int(row[0]) for row in rows if row is not None)


def prune(database: Database, pipeline_ids: Iterable[str]) -> tuple[int, list[int]]:
    """Deletes executions, each in a transaction of its own so that writers need not wait long.

    Returns:
        How many bytes of versions and checkpoints were deleted, and the numbers of the
        executions which are gone.
    """
    freed = 0
    gone: list[int] = []
    for pipeline_id in pipeline_ids:
        with database.writing() as session:
            execution = number_of(session, pipeline_id)
            freed += weigh(session, execution)
            for statement in _DELETE:
                session.run(statement, execution=execution)
            session.run(_DELETE_EXECUTION, execution=execution)
        gone.append(execution)
    if gone:
        with database.writing() as session:
            # Or the document of one which is being created would seem unused.
            lock_creation(session)
            session.run(_DELETE_UNUSED_DOCUMENTS)
        database.prune_space()
    return freed, gone
