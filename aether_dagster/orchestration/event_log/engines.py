"""Engines of SQLite files which stay open, each with one connection."""

import os
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Any

from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import Connection, Engine, RootTransaction, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from aether_dagster.journal.sqlite import FileLock

# Each run has a database of its own; a webserver looks at many, one after the other.
_MOST_OPEN = 16
# Of each file; SQLite itself would take eight times as much, and the stock storage takes none.
_CACHE_KIB = 256


class KeptEngines:
    """Engines of SQLite files, each with one open connection, the least used closed first.

    An engine belongs to the process which opened it: one which came over a fork is neither used
    nor closed, because closing it would release its parent's locks.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._pid = os.getpid()
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._connections: dict[str, Connection] = {}
        self._unfinished: set[str] = set()
        self._locks: dict[str, FileLock] = {}
        self._inherited: list[object] = []

    def get(self, url: str) -> Engine:
        """Returns the engine of a file, opened at most once per process."""
        with self._lock:
            if self._pid != os.getpid():
                self._inherited += [self._engines, self._connections]
                self._engines, self._connections = OrderedDict(), {}
                self._pid = os.getpid()
            engine = self._engines.get(url)
            if engine is None:
                engine = self._engines[url] = open_engine(url)
            self._engines.move_to_end(url)
            while len(self._engines) > _MOST_OPEN:
                self._close(*self._engines.popitem(last=False))
            return engine

    @contextmanager
    def transaction(self, url: str) -> Generator[Connection]:
        """Gives the one connection of a file in a transaction, for callers who take turns."""
        with self._begin(url) as begun:
            yield begun.connection
        self._unfinished.discard(url)

    @contextmanager
    def writing(self, url: str) -> Generator[Connection]:
        """Gives the one connection of a file in a transaction, for callers who take turns.

        Who writes the same file in another process is waited for in the kernel: SQLite's own
        waiting sleeps a while and tries again, up to a tenth of a second for each event of a run
        whose steps are in several processes. The stock storage does not know of the lock beside
        the file, and is kept out as ever.
        """
        with self._lock_of(url), self._begin(url) as begun:
            yield begun.connection
        self._unfinished.discard(url)

    def _begin(self, url: str) -> RootTransaction:
        # A run which is terminated is interrupted anywhere: what that left is not used again.
        if url in self._unfinished:
            self.drop(url)
        self._unfinished.add(url)
        return self._connection(url).begin()

    def _connection(self, url: str) -> Connection:
        with self._lock:
            engine = self.get(url)
            connection = self._connections.get(url)
            if connection is None or connection.closed:
                connection = self._connections[url] = engine.connect()
            return connection

    def drop(self, url: str) -> None:
        """Closes what this process opened of one file, if anything."""
        with self._lock:
            if self._pid == os.getpid() and url in self._engines:
                self._close(url, self._engines.pop(url))

    def close(self) -> None:
        """Closes what this process opened."""
        with self._lock:
            if self._pid == os.getpid():
                while self._engines:
                    self._close(*self._engines.popitem())

    def _lock_of(self, url: str) -> FileLock:
        lock = self._locks.get(url)
        if lock is None:
            file = Path(self.get(url).url.database or "")
            lock = self._locks[url] = FileLock.of(file.with_name(f"{file.name}-lock"))
        return lock

    def _close(self, url: str, engine: Engine) -> None:
        self._locks.pop(url, None)
        connection = self._connections.pop(url, None)
        if connection is not None and url in self._unfinished:
            with suppress(SQLAlchemyError):
                connection.invalidate()
        if connection is not None:
            connection.close()
        engine.dispose()
        self._unfinished.discard(url)


def open_engine(url: str) -> Engine:
    """Returns an engine of a SQLite file with room for one connection."""
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        # In WAL mode this loses nothing when a process is killed; after a power cut the last
        # events may be missing, the file stays whole.
        connection.execute("PRAGMA synchronous=NORMAL")
        # What is written is at the end of a file, which the system's own cache holds anyway.
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")

    return engine
