"""Executions which somebody still has to end: found as quickly as they are few."""

from sqlalchemy import bindparam, select, union

from aether_dagster.journal.executions import LISTED, listed
from aether_dagster.journal.records import ExecutionRecord
from aether_dagster.journal.schema import executions, leases
from aether_dagster.journal.statement import Session, Statement

_OPEN = union(
    select(executions.c.number).where(
        executions.c.finalized.is_(None), executions.c.refused.is_(None)
    ),
    select(leases.c.execution).where(leases.c.name == bindparam("lease")),
)
_UNFINISHED = Statement(
    lambda _: (
        select(*LISTED)
        .where(executions.c.number.in_(_OPEN.scalar_subquery()))
        .order_by(executions.c.number)
    )
)


def unfinished(session: Session, lease: str) -> list[ExecutionRecord]:
    """Returns executions without a report, or whose lease was not let go, oldest first."""
    return [listed(row) for row in session.rows(_UNFINISHED, lease=lease)]
