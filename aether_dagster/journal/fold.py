"""State at a version: versions folded from the nearest checkpoint, which reading leaves behind."""

import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from sqlalchemy import bindparam, select

from aether_dagster.errors import StateError
from aether_dagster.journal import commit
from aether_dagster.journal.records import Version
from aether_dagster.journal.schema import checkpoints
from aether_dagster.journal.statement import Row, Session, Statement
from aether_dagster.journal.text import from_text, to_text
from aether_dagster.state import Delta, Replica
from aether_dagster.state.checkpoint import checkpoint, restore
from aether_dagster.state.mask import Path

# Folding so many takes 10 to 20 ms.
INTERVAL = 500
# More of them in memory at once would keep the garbage collector busy.
_AT_ONCE = 50
_KEPT = 8

_c = checkpoints.c
_NEAREST = Statement(
    lambda _: (
        select(_c.version, _c.replica)
        .where(_c.execution == bindparam("execution"), _c.version <= bindparam("version"))
        .order_by(_c.version.desc())
        .limit(1)
    )
)
_KEEP = Statement(
    lambda insert: (
        insert(checkpoints)
        .values(
            execution=bindparam("execution"),
            version=bindparam("version"),
            replica=bindparam("replica"),
        )
        .on_conflict_do_nothing()
    )
)

Checkpoint = tuple[int, int, bytes]


def apply_versions(replica: Replica, versions: Iterable[Version]) -> set[Path]:
    """Folds versions into a replica, in place; late ones are no part of the state.

    Returns:
        The paths of the state document which they changed.
    """
    changed: set[Path] = set()
    for version in versions:
        if not version.late:
            for delta in version.deltas:
                changed |= replica.apply(delta)
        replica.version = version.number
    return changed


def _deltas(session: Session, execution: int, after: int, upto: int) -> Iterator[Delta]:
    for first in range(after, upto, _AT_ONCE):
        for version in commit.read(session, execution, first, min(first + _AT_ONCE, upto)):
            if not version.late:
                yield from version.deltas


class Folder:
    """Folds executions, and remembers the newest replicas of those asked for last."""

    def __init__(self) -> None:
        self._newest: OrderedDict[int, Replica] = OrderedDict()
        self._guard = threading.Lock()
        self._pid = os.getpid()

    def replica(
        self, session: Session, pipeline_id: str, version: int | None
    ) -> tuple[Replica, list[Checkpoint]]:
        """Returns a replica of its own, and the checkpoints which folding it found missing.

        Raises:
            UnknownExecution: There is no such execution.
            StateError: It has no such version.
        """
        execution, head = commit.head(session, pipeline_id)
        target = head if version is None else version
        if not 0 <= target <= head:
            raise StateError(f"{pipeline_id} has versions 1 to {head}, and so none of {version}.")
        replica = self._known(execution, target) or self._nearest(session, execution, target)
        missing = self._advance(session, execution, replica, target)
        if target == head:
            self._remember(execution, replica)
        return replica, missing

    def forget(self, execution: int) -> None:
        """Drops what is remembered of a pruned or renumbered execution."""
        with self._locked():
            self._newest.pop(execution, None)

    def _advance(
        self, session: Session, execution: int, replica: Replica, target: int
    ) -> list[Checkpoint]:
        missing: list[Checkpoint] = []
        while replica.version < target:
            due = replica.version - replica.version % INTERVAL + INTERVAL
            upto = min(due, target)
            replica.fold(_deltas(session, execution, replica.version, upto))
            replica.version = upto
            if upto == due:
                missing.append((execution, due, _pack(session, execution, replica)))
        return missing

    def _nearest(self, session: Session, execution: int, target: int) -> Replica:
        row = session.row(_NEAREST, execution=execution, version=target)
        return Replica() if row is None else _unpack(session, execution, row)

    def _known(self, execution: int, target: int) -> Replica | None:
        with self._locked():
            replica = self._newest.get(execution)
            if replica is None or not target - INTERVAL < replica.version <= target:
                return None
            self._newest.move_to_end(execution)
            return replica.copy()

    def _remember(self, execution: int, replica: Replica) -> None:
        with self._locked():
            known = self._newest.get(execution)
            if known is None or known.version < replica.version:
                self._newest[execution] = replica.copy()
                self._newest.move_to_end(execution)
            while len(self._newest) > _KEPT:
                self._newest.popitem(last=False)

    def _locked(self) -> threading.Lock:
        if os.getpid() != self._pid:
            # Some thread of the parent may have held it when this process was forked.
            self._guard, self._pid = threading.Lock(), os.getpid()
        return self._guard


def is_due(version: int) -> bool:
    """Tells whether whoever commits this version, and has its state, leaves a checkpoint of it."""
    return version % INTERVAL == 0


def packed(session: Session, pipeline_id: str, replica: Replica) -> Checkpoint:
    """Returns the checkpoint of a state which somebody has folded already."""
    execution = commit.existing(session, pipeline_id)
    return execution, replica.version, _pack(session, execution, replica)


def keep(session: Session, found: list[Checkpoint]) -> None:
    """Stores checkpoints."""
    for execution, version, packed in found:
        session.run(_KEEP, execution=execution, version=version, replica=packed)


def _pack(session: Session, execution: int, replica: Replica) -> bytes:
    # One by one: the text of a large state in pieces takes several times what it takes itself.
    text = f"[{','.join(to_text(delta.to_json()) for delta in checkpoint(replica))}]"
    sealed = session.payloads.seal(session, execution, _place(replica.version), text)
    return zlib.compress(sealed.encode(), 1)


def _unpack(session: Session, execution: int, row: Row) -> Replica:
    version, packed = row
    sealed = zlib.decompress(packed).decode()
    text = session.payloads.open(session, execution, _place(version), sealed)
    return restore([Delta.from_json(record) for record in from_text(text)], version)


def _place(version: int) -> str:
    return f"checkpoint {version}"
