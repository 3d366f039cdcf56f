"""Leases: who may finalize an execution and write its files (spec 1.6)."""

from sqlalchemy import and_, bindparam, delete, or_, select, update

from aether_dagster.journal.schema import leases
from aether_dagster.journal.statement import Session, Statement

# A server's clock may be set back a little; that frees no lease.
_SLACK = 60.0

_l = leases.c
_MINE = and_(_l.execution == bindparam("execution"), _l.name == bindparam("name"))
_TAKE = Statement(
    lambda insert: (
        statement := insert(leases).values(
            execution=bindparam("execution"),
            name=bindparam("name"),
            holder=bindparam("holder"),
            expires=bindparam("expires"),
            seconds=bindparam("seconds"),
        )
    ).on_conflict_do_update(
        index_elements=["execution", "name"],
        set_={
            "holder": statement.excluded.holder,
            "expires": statement.excluded.expires,
            "seconds": statement.excluded.seconds,
        },
        where=or_(
            leases.c.holder == statement.excluded.holder,
            leases.c.expires <= bindparam("now"),
            # Far more than it was given for: the clock began anew, when the machine did.
            leases.c.expires > bindparam("now") + leases.c.seconds + _SLACK,
        ),
    )
)
_RENEW = Statement(
    lambda _: (
        update(leases)
        .where(
            _l.execution == bindparam("of"),
            _l.name == bindparam("called"),
            _l.holder == bindparam("by"),
        )
        .values(expires=bindparam("until"), seconds=bindparam("length"))
    )
)
_RELEASE = Statement(lambda _: delete(leases).where(_MINE, _l.holder == bindparam("holder")))
_READ = Statement(lambda _: select(_l.holder, _l.expires, _l.seconds).where(_MINE))


def take(
    session: Session, execution: int, name: str, holder: str, *, now: float, seconds: float
) -> bool:
    """Gives `holder` the lease unless another holds it; returns whether it has it now."""
    changed = session.run(
        _TAKE,
        execution=execution,
        name=name,
        holder=holder,
        expires=now + seconds,
        seconds=seconds,
        now=now,
    )
    return changed == 1


def renew(
    session: Session, execution: int, name: str, holder: str, *, now: float, seconds: float
) -> bool:
    """Prolongs the lease if `holder` still has it; returns whether it has."""
    changed = session.run(
        _RENEW, of=execution, called=name, by=holder, until=now + seconds, length=seconds
    )
    return changed == 1


def release(session: Session, execution: int, name: str, holder: str) -> bool:
    """Ends the lease if `holder` has it."""
    return session.run(_RELEASE, execution=execution, name=name, holder=holder) == 1


def read(session: Session, execution: int, name: str, now: float) -> tuple[str, float] | None:
    """Returns who took it last and for how many more seconds; None if it was ended, or never taken.

    A lease which has expired says still who had it: only that process' end proves anything.
    """
    row = session.row(_READ, execution=execution, name=name)
    if row is None:
        return None
    holder, expires, seconds = row
    left = expires - now
    return (holder, left if left <= seconds + _SLACK else 0.0)
