"""Numbers of a whole journal, for whoever watches a deployment: few rows, however long it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import and_, func, select

from aether_dagster.journal.schema import executions, hook_cursors, versions
from aether_dagster.journal.statement import Session, Statement

_e, _c, _v = executions.c, hook_cursors.c, versions.c
_BY_STATUS = Statement(lambda _: select(_e.status, func.count()).group_by(_e.status))
# What a hook has not looked at begins with the version after its cursor.
_WAITING = Statement(
    lambda _: (
        select(_c.hook, func.count(), func.min(_v.committed_at))
        .join(executions, _e.number == _c.execution)
        .join(versions, and_(_v.execution == _c.execution, _v.number == _c.version + 1))
        .where(_c.done.is_(False), _e.refused.is_(None), _e.head > _c.version)
        .group_by(_c.hook)
    )
)


@dataclass(frozen=True)
class Waiting:
    """What waits for a state hook.

    Args:
        executions: In how many executions it has something left to look at.
        since: When the oldest of it was committed, Unix seconds.
    """

    executions: int
    since: float


@dataclass(frozen=True)
class Figures:
    """Numbers of a journal.

    Args:
        executions: How many there are in each status; `pending` are reserved and not begun.
        waiting: What waits for each hook which is behind, by its key.
    """

    executions: Mapping[str, int] = field(default_factory=dict[str, int])
    waiting: Mapping[str, Waiting] = field(default_factory=dict[str, Waiting])


def read(session: Session) -> Figures:
    """Counts what there is."""
    counts = {row[0]: row[1] for row in session.rows(_BY_STATUS)}
    waiting = {row[0]: Waiting(row[1], row[2] / 1000) for row in session.rows(_WAITING)}
    return Figures(counts, waiting)
