"""The journal in a SQLite file: one writer at a time, and readers who never wait for it."""

import fcntl
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from aether_dagster.errors import JournalError
from aether_dagster.journal.database import Database
from aether_dagster.journal.statement import Session
from aether_dagster.journal.wakeup import Bell, Mailbox

T = TypeVar("T")
_BUSY_SECONDS = 30.0
_READER_PATIENCE = 5.0
_READER_PAUSE = 0.005
_PAGES_AT_ONCE = 1000
# How long who comes back at once goes before those who wait.
_TURN_SECONDS = 0.005
# So many pages are written before they are moved into the database: each move waits for the disk.
_WAL_PAGES = 4000
# Between two looks of who is next, in seconds: at first, and at most.
_PAUSES = (0.00005, 0.0004)
# The bytes of the lock's file which are locked by who is inside, and by who is next.
_INSIDE, _NEXT = 0, 1


class FileLock:
    """Lets one thread of one process through; those who wait are let in one after the other.

    SQLite's own waiting sleeps for up to a tenth of a second and tries again, which starves
    writers. Here they stand in a queue, asleep in the kernel, and the first looks often. Who comes
    back at once is let in again until its turn is over: to hand a database over costs as much as a
    commit. It is a POSIX lock and not `flock`, because a forked child must not hold its parent's.
    """

    _locks: ClassVar["weakref.WeakValueDictionary[str, FileLock]"] = weakref.WeakValueDictionary()
    _making: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: str):
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self.forget_threads()
        weakref.finalize(self, os.close, self._descriptor)

    @classmethod
    def of(cls, path: Path) -> "FileLock":
        """Returns this process's one lock of a file: closing any descriptor of it frees it."""
        with cls._making:
            lock = cls._locks.get(os.fspath(path))
            if lock is None:
                lock = cls._locks[os.fspath(path)] = cls(os.fspath(path))
            return lock

    @classmethod
    def after_fork_in_child(cls) -> None:
        """Forgets which threads of the parent were inside; what they held is theirs alone."""
        cls._making = threading.Lock()
        for lock in list(cls._locks.values()):
            lock.forget_threads()

    def forget_threads(self) -> None:
        """Lets a thread through whichever thread was inside."""
        self._thread = threading.RLock()
        self._turn, self._queues = 0.0, False

    def __enter__(self) -> None:
        self._thread.acquire()
        try:
            self._enter()
        except BaseException:
            self._leave()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            waited_for = not self._try(_NEXT)
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
            self._queues = waited_for and time.monotonic() - self._turn > _TURN_SECONDS
        finally:
            self._leave()

    def _leave(self) -> None:
        # However often it came in: a run which is terminated is interrupted anywhere, also before
        # a block could be left, and the thread must not wait for itself.
        try:
            while True:
                self._thread.release()
        except RuntimeError:
            pass

    def _enter(self) -> None:
        if not self._queues and self._try(_INSIDE):
            return
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, _NEXT)
        try:
            pause = _PAUSES[0]
            while not self._try(_INSIDE):
                time.sleep(pause)
                pause = min(pause * 2, _PAUSES[1])
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, _NEXT)
        self._turn = time.monotonic()

    def _try(self, place: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):
            return False
        return True


os.register_at_fork(after_in_child=FileLock.after_fork_in_child)


class SqliteDatabase(Database):
    """A SQLite file in WAL mode.

    Args:
        path: The file; with `read_only` it must exist.
    """

    engine = "sqlite"
    errors = sqlite3.Error

    def __init__(self, path: Path, read_only: bool):
        super().__init__(f"sqlite:///{path}", read_only)
        self._path = path
        self._lock: FileLock | None = None
        self._immutable: set[sqlite3.Connection] = set()
        try:
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = FileLock.of(path.with_name(path.name + "-lock"))
            elif not path.is_file():
                raise JournalError(f"There is no journal at {path} which could be read.")
        except OSError as error:
            raise JournalError(f"The journal {self.label} cannot be opened: {error}") from error
        if self._lock is not None:
            self._prepare(self._lock)
        self._bell = Bell(path.with_name(path.name + "-wake"))

    @contextmanager
    def writing(self) -> Generator[Session]:
        """See `Database.writing`."""
        with self._writable(), self._transaction(_begin_immediate) as session:
            yield session
        if session.committed is not None:
            self._bell.ring()

    def put(self, statement: Callable[[Session], T]) -> T:
        """See `Database.put`: SQLite commits what stands alone, in one call instead of three."""
        with self._writable():
            return self.look(statement)

    def wake(self) -> None:
        """See `Database.wake`."""
        self._bell.ring()

    def _writable(self) -> FileLock:
        if self._lock is None:
            raise JournalError(f"The journal {self.label} was opened for reading only.")
        return self._lock

    def close(self) -> None:
        """See `Database.close`."""
        super().close()
        self._bell.close()

    def prune_space(self) -> None:
        """Makes the file smaller by the pages which are free, a few at a time."""
        while self._lock is not None:
            # Who wants to commit meanwhile waits for one part of it, not for all.
            with self._lock, self._lent() as connection:
                # `execute` would free one page only: this pragma works a page a step.
                connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
                (left,) = connection.execute("PRAGMA freelist_count").fetchone()
                if not left:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                    return

    def now(self, session: Session) -> float:  # noqa: ARG002 - a server has its own clock
        """Returns seconds which all processes of a host share, and nobody can set back."""
        return time.monotonic()

    def before_fork(self) -> None:
        """See `Database.before_fork`."""
        super().before_fork()
        # SQLite keeps the file locks of a process in its memory: a child which inherits an open
        # connection believes that it holds what only its parent does.
        if not self._borrowers:
            self._close_idle()

    def _connect(self) -> sqlite3.Connection:
        if self.read_only:
            return self._connect_read_only()
        connection = self._sqlite(f"{self._path.as_uri()}?mode=rw")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
        return connection

    def _prepare(self, lock: FileLock) -> None:
        # Two who switch a new file to WAL at once fail each other, whatever the timeout.
        with lock:
            try:
                with closing(self._sqlite(f"{self._path.as_uri()}?mode=rwc")) as connection:
                    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
                    connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.Error as error:
                raise self._error(error) from None

    def _connect_read_only(self) -> sqlite3.Connection:
        give_up = time.monotonic() + _READER_PATIENCE
        while True:
            connection = self._sqlite(f"{self._path.as_uri()}?mode=ro")
            try:
                connection.execute("SELECT 1 FROM sqlite_master").fetchall()
                return connection
            except sqlite3.OperationalError:
                connection.close()
                wal = self._path.with_name(self._path.name + "-wal")
                if not (wal.exists() and wal.stat().st_size):
                    break
                # Somebody begins to write just now; the files which tell of it are soon complete.
                if time.monotonic() > give_up:
                    raise
                time.sleep(_READER_PAUSE)
        # Nobody writes now, and this process may not make the files which would tell it.
        connection = self._sqlite(f"{self._path.as_uri()}?mode=ro&immutable=1")
        self._immutable.add(connection)
        return connection

    def _sqlite(self, uri: str) -> sqlite3.Connection:
        return sqlite3.connect(
            uri,
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )

    def _begin_reading(self, connection: Any) -> None:
        connection.execute("BEGIN")

    def _give_back(self, connection: Any) -> None:
        if connection in self._immutable:
            # It would not see a writer who comes later.
            self._immutable.discard(connection)
            self._discard(connection)
        else:
            super()._give_back(connection)

    def _before_commit(self, session: Session) -> None:
        pass

    def _leave_inherited(self, connection: Any) -> None:
        pass

    def _new_mailbox(self) -> Mailbox:
        return self._bell.mailbox()


def _begin_immediate(connection: Any) -> None:
    connection.execute("BEGIN IMMEDIATE")
