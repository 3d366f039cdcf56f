"""Retention: deleting executions, and giving back their space."""

from collections.abc import Iterable

from sqlalchemy import bindparam, delete, exists, select

from aether_dagster.journal.database import Database
from aether_dagster.journal.executions import number_of
from aether_dagster.journal.schema import OF_ONE_EXECUTION, documents, executions
from aether_dagster.journal.statement import Statement

_DELETE = [
    Statement(
        lambda _, table=table: delete(table).where(table.c.execution == bindparam("execution"))
    )
    for table in OF_ONE_EXECUTION
]
_DELETE_EXECUTION = Statement(
    lambda _: delete(executions).where(executions.c.number == bindparam("execution"))
)
_DELETE_UNUSED_DOCUMENTS = Statement(
    lambda _: delete(documents).where(
        ~exists(select(executions.c.number).where(executions.c.document == documents.c.digest))
    )
)


def prune(database: Database, pipeline_ids: Iterable[str]) -> tuple[int, list[int]]:
    """Deletes executions, each in a transaction of its own so that writers need not wait long.

    Returns:
        How many bytes were freed, and the numbers of the executions which are gone.
    """
    before = database.size()
    gone: list[int] = []
    for pipeline_id in pipeline_ids:
        with database.writing() as session:
            execution = number_of(session, pipeline_id)
            for statement in _DELETE:
                session.run(statement, execution=execution)
            session.run(_DELETE_EXECUTION, execution=execution)
        gone.append(execution)
    if gone:
        with database.writing() as session:
            session.run(_DELETE_UNUSED_DOCUMENTS)
        database.prune_space()
    return max(0, before - database.size()), gone
