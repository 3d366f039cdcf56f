"""Which files an execution's state history has: recorded before they are written (spec 3)."""

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, func, select

from aether_dagster.crypto import ChainLink
from aether_dagster.errors import JournalError
from aether_dagster.journal.schema import history_files
from aether_dagster.journal.statement import Session, Statement, insert_rows

_f = history_files.c
_ALL = Statement(
    lambda _: (
        select(_f.seq, _f.name, _f.prev, _f.link, _f.sha256)
        .where(_f.execution == bindparam("execution"))
        .order_by(_f.seq)
    )
)
# Their numbers have no gaps, and the last one is found without a look at the others.
_LAST = Statement(lambda _: select(func.max(_f.seq)).where(_f.execution == bindparam("execution")))
_LINK = Statement(
    lambda _: select(_f.link).where(
        _f.execution == bindparam("execution"), _f.seq == bindparam("seq")
    )
)
_DELETE_FROM = Statement(
    lambda _: delete(history_files).where(
        _f.execution == bindparam("execution"), _f.seq >= bindparam("first")
    )
)


def read(session: Session, execution: int) -> list[ChainLink]:
    """Returns the places of all files recorded, in their order."""
    return [ChainLink(*row) for row in session.rows(_ALL, execution=execution)]


def record(
    session: Session, execution: int, pipeline_id: str, links: Sequence[ChainLink], known: int
) -> None:
    """Records files which are about to be written; see `Journal.record_files`."""
    (last,) = session.row(_LAST, execution=execution) or (None,)
    count = 0 if last is None else last + 1
    before = session.row(_LINK, execution=execution, seq=links[0].seq - 1)
    if count != known or links[0].prev != (before and before[0]):
        raise JournalError(
            f"The state history of {pipeline_id} was written by another process meanwhile."
        )
    if links[0].seq < known:
        session.run(_DELETE_FROM, execution=execution, first=links[0].seq)
    # A link's members are the columns.
    rows = [{"execution": execution, **vars(link)} for link in links]
    insert_rows(session, history_files, rows)
