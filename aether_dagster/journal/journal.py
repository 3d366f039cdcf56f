"""The journal's face: executions, their versions, and who waits for them (spec 1.6)."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy.engine import URL

from aether_dagster.crypto import ChainLink, KeyRing
from aether_dagster.errors import JournalError
from aether_dagster.journal import (
    commit,
    executions,
    figures,
    files,
    fold,
    leases,
    migrate,
    retention,
    tail,
)
from aether_dagster.journal.database import Database
from aether_dagster.journal.figures import Figures
from aether_dagster.journal.outbox import CallEnd, Outbox, write_ends
from aether_dagster.journal.payloads import Payloads
from aether_dagster.journal.records import ExecutionRecord, Lease, Tail, Version
from aether_dagster.journal.sqlite import SqliteDatabase
from aether_dagster.journal.statement import Session
from aether_dagster.journal.text import unix_ms
from aether_dagster.journal.transaction import ATTEMPTS, Review, Transaction, transact
from aether_dagster.journal.unfinished import unfinished
from aether_dagster.journal.url import parse
from aether_dagster.state import Delta, Replica

_LEASE = "execution"
T = TypeVar("T")


class Journal:
    """Versions of executions, in SQLite or PostgreSQL. Made by `open`.

    It may be used by several threads, and after a fork by the child as well: each process has
    connections of its own.

    Attributes:
        url: What `open` was given, with the file's absolute path; may hold a password.
    """

    def __init__(self, url: str, database: Database):
        self.url = url
        self._database = database
        self._folder = fold.Folder()

    @classmethod
    def open(
        cls,
        url: str | os.PathLike[str],
        *,
        read_only: bool = False,
        keys: KeyRing | None = None,
    ) -> Self:
        """Opens a journal and brings its tables up to date, making them where there are none.

        Args:
            url: `sqlite:///path/state.db`, `postgresql+psycopg://…`, or a file's path.
            read_only: Write nothing, not even tables; the journal must exist.
            keys: Seal what is kept of executions which are created; open what is sealed. Plain
                stay their ids, times, numbers of nodes in each status, and documents.

        Raises:
            JournalError: It cannot be opened, is of a newer version, or the URL is of no engine
                which is known.
        """
        parsed = parse(os.fspath(url))
        database = _database(parsed, read_only)
        database.payloads = Payloads(keys)
        try:
            migrate.migrate(database)
        except BaseException:
            database.close()
            raise
        return cls(parsed.render_as_string(hide_password=False), database)

    def close(self) -> None:
        """Closes this process's connections; tails which wait end with nothing."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Journal({self._database.label!r})"

    @property
    def label(self) -> str:
        """The URL as it may be shown: without a password."""
        return self._database.label

    def reserve(
        self,
        run_id: str,
        pipeline: str,
        *,
        now_ms: int | None = None,
        config_hash: str,
        document: Mapping[str, Any],
        partition: str | None = None,
        resumed_from: str | None = None,
    ) -> ExecutionRecord:
        """Creates the execution of a Dagster run and pipeline, or returns the one there is.

        Args:
            run_id: The Dagster run.
            pipeline: The pipeline's name.
            now_ms: Unix milliseconds; the wall clock if None. The id is taken from it.
            config_hash: Of the document.
            document: The canonical document, kept with the execution.
            partition: Partition key, if the run has one.
            resumed_from: Pipeline id of the execution which it resumes.

        Returns:
            The execution; `created` says whether it is new.
        """
        now = unix_ms() if now_ms is None else now_ms
        with self._database.writing() as session:
            return executions.reserve(
                session,
                run_id,
                pipeline,
                now_ms=now,
                config_hash=config_hash,
                document=document,
                partition=partition,
                resumed_from=resumed_from,
            )

    def renumber(self, pipeline_id: str, *, now_ms: int | None = None) -> ExecutionRecord:
        """Gives an execution the next id, because its folder's name is taken in the history.

        Raises:
            JournalError: It has a version already.
        """
        now = unix_ms() if now_ms is None else now_ms
        with self._database.writing() as session:
            return executions.renumber(session, pipeline_id, now)

    def annotate(
        self,
        pipeline_id: str,
        *,
        history: str | None = None,
        resolved: Mapping[str, Any] | None = None,
        refused: str | None = None,
    ) -> None:
        """Keeps facts beside the state of an execution; None leaves one as it is.

        Args:
            pipeline_id: The execution.
            history: URL of its folder in the state history.
            resolved: What was resolved once at initialization.
            refused: Why a hook refused it before its first step.
        """
        with self._database.writing() as session:
            executions.annotate(
                session, pipeline_id, history=history, resolved=resolved, refused=refused
            )

    def history_files(self, pipeline_id: str) -> list[ChainLink]:
        """Returns the files which were recorded of an execution's state history, in order."""
        with self._database.reading() as session:
            return files.read(session, commit.existing(session, pipeline_id))

    def record_files(self, pipeline_id: str, links: Sequence[ChainLink], *, known: int) -> None:
        """Records files of the state history, before they are written (spec 3).

        Args:
            pipeline_id: The execution.
            links: Their places, one after the other. Those which are recorded from the first
                place on were never written, and give way.
            known: How many files are recorded, as the caller knows.

        Raises:
            JournalError: More or others are recorded: somebody else writes the history too.
        """
        with self._database.writing() as session:
            execution = commit.lock(session, pipeline_id).execution
            files.record(session, execution, pipeline_id, links, known)

    def record(self, pipeline_id: str) -> ExecutionRecord:
        """Returns an execution, its document and what was resolved; raises UnknownExecution."""
        with self._database.reading() as session:
            return executions.record(session, pipeline_id)

    def find(self, run_id: str, pipeline: str) -> ExecutionRecord | None:
        """Returns the execution of a Dagster run and pipeline, or None."""
        with self._database.reading() as session:
            return executions.find(session, run_id, pipeline)

    def find_run(self, run_id: str) -> list[ExecutionRecord]:
        """Returns the executions of a Dagster run, oldest first."""
        with self._database.reading() as session:
            return executions.find_run(session, run_id)

    def executions(
        self, limit: int | None = None, *, pipeline: str | None = None
    ) -> list[ExecutionRecord]:
        """Returns executions, newest first, without their documents; nothing is folded for it.

        Args:
            limit: At most so many.
            pipeline: Of this pipeline only.
        """
        with self._database.reading() as session:
            return executions.newest(session, limit, pipeline)

    def unfinished(self) -> list[ExecutionRecord]:
        """Returns the executions which somebody still has to end, oldest first, as `executions`.

        Those without a report, and those whose keeper finalized them and did not let go of their
        lease, for it may have died before their files were written. As quick as they are few.
        """
        with self._database.reading() as session:
            return unfinished(session, _LEASE)

    def append(
        self,
        pipeline_id: str,
        deltas: Sequence[Delta],
        *,
        now_ms: int | None = None,
        summary: Mapping[str, Any] | None = None,
        ended: Sequence[CallEnd] = (),
    ) -> int:
        """Commits deltas as one version. Those whose ids are there already are left out.

        A delta without a clock is given the version's number. After the version which carries a
        report, versions are kept as late and are no part of the state.

        Args:
            pipeline_id: The execution.
            deltas: What to commit, together.
            now_ms: Unix milliseconds; the wall clock if None.
            summary: `{"status": …, "nodes": {status: count}}` for lists of executions.
            ended: What calls of hooks came to, noted with it.

        Returns:
            The version committed, or the present one where every delta was there.

        Raises:
            UnknownExecution: There is no such execution.
            JournalError: The database refuses, or a delta is not JSON.
        """
        text = commit.encode(deltas)
        with self._database.writing() as session:
            head = commit.lock(session, pipeline_id)
            now = unix_ms() if now_ms is None else now_ms
            version = commit.append(session, head, deltas, now_ms=now, text=text, summary=summary)
            write_ends(session, ended)
        return version

    def checkpoint(self, pipeline_id: str, replica: Replica) -> None:
        """Keeps a state as the caller has folded it, so that readers fold on from there.

        Only for speed: where it cannot be kept, readers fold a little longer.

        Args:
            pipeline_id: The execution.
            replica: What its versions up to the replica's are folded to.
        """
        with suppress(JournalError):
            with self._database.reading() as session:
                found = fold.packed(session, pipeline_id, replica)
            with self._database.writing() as session:
                fold.keep(session, [found])

    def versions(self, pipeline_id: str, after: int = 0, upto: int | None = None) -> list[Version]:
        """Returns committed versions with their deltas, oldest first.

        Args:
            pipeline_id: The execution.
            after: Only versions above this one.
            upto: Only versions up to this one.
        """
        return self._database.look(
            lambda session: commit.read_of(session, pipeline_id, after, upto)
        )

    def replica(self, pipeline_id: str, version: int | None = None) -> Replica:
        """Returns the state as a replica of the caller's own, now or at a version.

        Raises:
            UnknownExecution: There is no such execution.
            StateError: It has no such version.
        """
        with self._database.reading() as session:
            replica, missing = self._folder.replica(session, pipeline_id, version)
        if missing and not self._database.read_only:
            # Only for speed: whoever may read but not write folds a little longer.
            with suppress(JournalError), self._database.writing() as session:
                fold.keep(session, missing)
        return replica

    def state(self, pipeline_id: str, version: int | None = None) -> dict[str, Any]:
        """Returns the state document (spec 1.1), now or at a version; raises as `replica`."""
        return self.replica(pipeline_id, version).document()

    @property
    def outbox(self) -> Outbox:
        """How far each state hook was told of each execution, and the ledger of their calls."""
        return Outbox(self._database)

    def transaction(
        self,
        pipeline_id: str,
        actor: str,
        review: Review | None = None,
        redact: Callable[[Any], Any] | None = None,
    ) -> Transaction:
        """Returns a transaction for a `with` block, which reads one snapshot and writes artifacts.

        It commits on leaving the block if no key which it read or wrote was changed since it
        began. Reading alone never conflicts.

        Args:
            pipeline_id: The execution.
            actor: `Name@x.y.z` of the plugin which writes.
            review: Is given the artifacts before and those to be written, before anything is
                locked; returns what is written instead, or raises.
            redact: Masks secrets in the values which it writes.

        Raises:
            WriteConflict: On leaving; nothing was written.
            ReadOnlyState: A write elsewhere than to `context.artifacts.<name>`.
            TransactionError: It is nested, used again, after its end, from another thread, or
                writes an artifact of a finalized execution.
        """

        def snapshot(session: Session) -> Replica:
            return self._folder.replica(session, pipeline_id, None)[0]

        return Transaction(self._database, snapshot, pipeline_id, actor, review, redact)

    def transact(
        self,
        pipeline_id: str,
        fn: Callable[[Transaction], T],
        actor: str,
        attempts: int = ATTEMPTS,
        review: Review | None = None,
        redact: Callable[[Any], Any] | None = None,
    ) -> T:
        """Runs `fn` in a transaction, and again where that conflicts.

        Args:
            pipeline_id: The execution.
            fn: Is given the transaction; may run several times.
            actor: `Name@x.y.z` of the plugin which writes.
            attempts: How often at most, with a growing random pause between.
            review: See `transaction`.
            redact: See `transaction`.

        Returns:
            What `fn` returned the time its transaction was committed.

        Raises:
            WriteConflict: Of the last attempt.
        """

        def begin() -> Transaction:
            return self.transaction(pipeline_id, actor, review, redact)

        return transact(begin, fn, attempts)

    def tail(
        self,
        after: str | None = None,
        timeout: float | None = None,
        pipeline_id: str | None = None,
        given_up: Callable[[], bool] = lambda: False,
    ) -> Tail:
        """Waits until something newer than a cursor is committed, and returns it.

        Each version is given at least once, in order within its execution, late ones included.

        Args:
            after: The cursor of an earlier tail; None is before everything. See also `cursor`.
            timeout: Seconds to wait; None waits for ever.
            pipeline_id: Of this execution only; its cursors are for tails of it alone.
            given_up: Asked at each wake-up whether to wait no longer; see `wake`.

        Returns:
            At most 1,000 versions, and the cursor after them. After the timeout, or given up: none,
            and the same cursor.
        """
        return tail.tail(self._database, after, timeout, pipeline_id, given_up)

    def wake(self) -> None:
        """Wakes the tails which wait, in all processes, as a commit does."""
        self._database.wake()

    def cursor(self, pipeline_id: str | None = None) -> str:
        """Returns the cursor after all that is committed now."""
        with self._database.reading() as session:
            return tail.now(session, pipeline_id)

    def acquire(self, pipeline_id: str, holder: str, seconds: float, *, name: str = _LEASE) -> bool:
        """Takes the lease of an execution unless another holds it.

        Args:
            pipeline_id: The execution.
            holder: Who takes it; the same holder may take it again, which prolongs it.
            seconds: For how long.
            name: Which lease; an execution's own, if not given.
        """
        with self._database.writing() as session:
            # Locked before the clock is read, so that who comes second reads it second.
            execution = commit.lock(session, pipeline_id).execution
            now = self._database.now(session)
            return leases.take(session, execution, name, holder, now=now, seconds=seconds)

    def renew(self, pipeline_id: str, holder: str, seconds: float, *, name: str = _LEASE) -> bool:
        """Prolongs a lease from now; False where `holder` has lost it."""
        with self._database.writing() as session:
            execution = commit.lock(session, pipeline_id).execution
            now = self._database.now(session)
            return leases.renew(session, execution, name, holder, now=now, seconds=seconds)

    def release(self, pipeline_id: str, holder: str, *, name: str = _LEASE) -> bool:
        """Ends a lease; False where `holder` did not have it, or there is no such execution."""
        with self._database.writing() as session:
            execution = executions.number_of(session, pipeline_id)
            return leases.release(session, execution, name, holder)

    def lease(self, pipeline_id: str, *, name: str = _LEASE) -> Lease | None:
        """Returns who holds a lease, or held it until it expired; None where nobody does."""
        with self._database.reading() as session:
            execution = commit.existing(session, pipeline_id)
            held = leases.read(session, execution, name, self._database.now(session))
        return None if held is None else Lease(held[0], unix_ms() / 1000 + held[1])

    def figures(self) -> Figures:
        """Returns how many executions are in each status, and what waits for each state hook."""
        with self._database.reading() as session:
            return figures.read(session)

    def rekey(self) -> tuple[int, int]:
        """Seals the key of each sealed execution with the first key which the journal was given.

        Each in a transaction of its own: what is cut off goes on where it was.

        Returns:
            How many were sealed with another key, and how many there are.

        Raises:
            SealError: A key cannot be opened with any of those given.
        """
        changed = total = 0
        after = -1
        while True:
            with self._database.writing() as session:
                found = self._database.payloads.rekey(session, after)
            if found is None:
                return changed, total
            after = found[0]
            total += 1
            changed += found[1]

    def size(self, pipeline_id: str) -> int:
        """Returns how many bytes of versions and checkpoints are kept; raises UnknownExecution."""
        with self._database.reading() as session:
            return retention.weigh(session, commit.existing(session, pipeline_id))

    def prune(self, pipeline_ids: Iterable[str]) -> int:
        """Deletes executions and all that is kept of them, and gives their space back.

        Returns:
            How many bytes of versions and checkpoints were deleted.
        """
        freed, gone = retention.prune(self._database, pipeline_ids)
        for execution in gone:
            self._folder.forget(execution)
        return freed


def _database(url: URL, read_only: bool) -> Database:
    if url.get_backend_name() == "sqlite":
        return SqliteDatabase(Path(str(url.database)), read_only)
    if url.get_backend_name() == "postgresql":
        try:
            from aether_dagster.journal.postgres import PostgresDatabase
        except ImportError:
            raise JournalError(
                "A journal in PostgreSQL needs psycopg: pip install 'aether-dagster[postgres]'."
            ) from None
        return PostgresDatabase(url, read_only)
    raise JournalError(
        f"A journal cannot be in {url.get_backend_name()!r}; "
        "use sqlite:///path/state.db or postgresql+psycopg://…"
    )
