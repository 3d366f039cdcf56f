"""Transactions of plugins: snapshot reads, and commits which are serializable per key (spec 1.6).

Nothing is locked while one is open. What it read and wrote is compared at its end with what was
committed meanwhile: most of that before the lock is taken, the rest inside it.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import count
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from aether_dagster.errors import ReadOnlyState, StateError, TransactionError, WriteConflict
from aether_dagster.journal import commit
from aether_dagster.journal.database import Database
from aether_dagster.journal.fold import apply_versions
from aether_dagster.journal.private import Private
from aether_dagster.journal.statement import Session
from aether_dagster.journal.text import unix_ms
from aether_dagster.state import Authority, Delta, Replica, ids
from aether_dagster.state.mask import Path, join_path, split_path
from aethersdk.state import thaw

_ARTIFACTS: Path = ("context", "artifacts")
_PAUSE = 0.001
_LONGEST_PAUSE = 0.1
ATTEMPTS = 20
"""How often a function is run in a transaction at most, where it always conflicts."""
T = TypeVar("T")
_open = threading.local()

Snapshot = Callable[[Session], Replica]
Review = Callable[[Replica, Mapping[str, str | None]], Mapping[str, str | None]]


class Transaction:
    """Reads one execution as it was when the transaction began, and writes artifacts.

    Used as a context manager: it begins on entering, commits on leaving, and is given up where an
    error leaves it. For one use, in one thread. See `Journal.transaction`.

    Attributes:
        pipeline_id: The execution.
        actor: `Name@x.y.z` of the plugin.
        base: The version it reads.
        version: The version it committed; None before that, and where it wrote no artifact.
    """

    def __init__(
        self,
        database: Database,
        snapshot: Snapshot,
        pipeline_id: str,
        actor: str,
        review: Review | None = None,
        redact: Callable[[Any], Any] | None = None,
    ):
        self.pipeline_id, self.actor = pipeline_id, actor
        self._review = review
        self._redact: Callable[[Any], Any] = redact or _as_it_is
        self.base = 0
        self.version: int | None = None
        self._database, self._snapshot = database, snapshot
        self._state = "new"
        self._owner: tuple[int, int] | None = None
        self._replica = Replica()
        self._document: dict[str, Any] = {}
        self._reads: set[Path] = set()
        self._writes: dict[str, str | None] = {}
        self._private = Private(actor.partition("@")[0], self._check, self._redact)

    def __enter__(self) -> Self:
        if self._state != "new":
            raise TransactionError("A transaction is for one use; begin another.")
        if getattr(_open, "by", None) == os.getpid():
            raise TransactionError(
                "This thread is inside a transaction already, and they do not nest; "
                "use the one which is open."
            )
        with self._database.reading() as session:
            self._replica = self._snapshot(session)
            self._private.load(session, commit.existing(session, self.pipeline_id))
        self.base = self._replica.version
        self._document = self._replica.document()
        self._owner = _here()
        self._state = "open"
        _open.by = os.getpid()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._check()
        self._state = "ended"
        _open.by = None
        if error is None and (self._writes or self._private.changed):
            if self._writes and self._review is not None:
                self._writes = dict(self._review(self._replica, self._writes))
            self._commit()

    @property
    def private(self) -> Private:
        """What the plugin remembers of this execution, a mapping of JSON values."""
        self._check()
        return self._private

    def get(self, path: str | Path, default: Any = None) -> Any:
        """Returns what is at a path of the state document, this transaction's writes included.

        Args:
            path: For instance `context.artifacts.raw_data`; a name with other characters than
                letters, digits, `_` and `-` stands in backticks. Of an object, all of it is
                read: `context.artifacts` conflicts with whoever adds an artifact.
            default: What to return where nothing is there.

        Returns:
            A copy, for the caller to keep.
        """
        self._check()
        where = _segments(path)
        self._reads.add(where)
        value: Any = self._seen()
        for segment in where:
            members = cast(Mapping[str, Any], value if isinstance(value, Mapping) else {})
            if segment not in members:
                return default
            value = members[segment]
        return thaw(value)

    def set(self, path: str | Path, value: str) -> None:
        """Writes an artifact.

        Args:
            path: `context.artifacts.<name>`.
            value: Path or URI of the shared resource.

        Raises:
            ReadOnlyState: The path is not an artifact's.
            StateError: The value is no string.
        """
        name = self._writable(path)
        if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise StateError(
                f"An artifact is a path or URI, a string; {name!r} was given "
                f"{type(value).__name__}. Store the value, and set where it is."
            )
        self._writes[name] = self._redact(value)

    def delete(self, path: str | Path) -> None:
        """Deletes an artifact, if it is there; raises ReadOnlyState for another path."""
        self._writes[self._writable(path)] = None

    def _seen(self) -> dict[str, Any]:
        if not self._writes:
            return self._document
        context = self._document["context"]
        artifacts = {**context["artifacts"], **self._writes}
        present = {k: artifacts[k] for k in sorted(artifacts) if artifacts[k] is not None}
        return {**self._document, "context": {**context, "artifacts": present}}

    def _writable(self, path: str | Path) -> str:
        self._check()
        where = _segments(path)
        if len(where) != 3 or where[:2] != _ARTIFACTS:
            raise ReadOnlyState(join_path(where))
        return where[2]

    def _commit(self) -> None:
        with self._database.reading() as session:
            before = self._catch_up(session, commit.existing(session, self.pipeline_id))
        with self._database.writing() as session:
            head = commit.lock(session, self.pipeline_id)
            changed = before | self._catch_up(session, head.execution)
            conflicts = [*self._conflicts(changed), *self._private.conflicts(session)]
            if conflicts:
                raise WriteConflict(conflicts)
            self._private.write(session)
            if self._writes:
                self.version = self._append(session, head)

    def _catch_up(self, session: Session, execution: int) -> AbstractSet[Path]:
        versions = commit.read(session, execution, self._replica.version, None)
        return apply_versions(self._replica, versions)

    def _conflicts(self, changed: Iterable[Path]) -> list[str]:
        mine = self._reads | {(*_ARTIFACTS, name) for name in self._writes}
        return [
            join_path(path)
            for path in changed
            if any(path[: len(key)] == key or key[: len(path)] == path for key in mine)
        ]

    def _append(self, session: Session, head: commit.Head) -> int:
        if head.finalized is not None:
            raise TransactionError(
                f"{self.pipeline_id} was finalized at version {head.finalized}; "
                "its artifacts cannot be changed any more."
            )
        counter = 1
        while commit.known(session, head.execution, self._delta_id(counter)):
            counter += 1
        delta = Delta(
            id=self._delta_id(counter),
            authority=Authority.STEP,
            actor=self.actor,
            artifacts=dict(self._writes),
        )
        return commit.append(session, head, [delta], now_ms=unix_ms())

    def _delta_id(self, counter: int) -> str:
        return ids.delta_id(self.actor, self.base, counter)

    def _check(self) -> None:
        if self._state != "open":
            ended = "has ended" if self._state == "ended" else "has not begun"
            raise TransactionError(f"The transaction {ended}; use it inside its with block.")
        if self._owner != _here():
            raise TransactionError(
                "A transaction belongs to the thread which began it; begin one in this thread."
            )


def transact(begin: Callable[[], Transaction], fn: Callable[[Transaction], T], attempts: int) -> T:
    """Runs `fn` in transactions until one commits; see `Journal.transact`."""
    for attempt in count(1):
        try:
            with begin() as transaction:
                result = fn(transaction)
        except WriteConflict:
            if attempt >= attempts:
                raise
            # Random, so that those who met do not meet again.
            time.sleep(random.uniform(0, min(_LONGEST_PAUSE, _PAUSE * 2**attempt)))  # noqa: S311
        else:
            return result
    raise AssertionError("count() has no end")


def _as_it_is(value: Any) -> Any:
    return value


def _here() -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


def _segments(path: str | Path) -> Path:
    if not isinstance(path, str):
        return tuple(path)
    try:
        return split_path(path)
    except ValueError as error:
        raise StateError(f"{error}; write it like context.artifacts.raw_data.") from None
