"""Dagster's SQLite storage with its connections kept open.

The stock storage opens and closes an engine for every event, which takes longer than the event
itself. Tables, files and behaviour are the stock ones, so any Dagster tool reads what these write;
a team may name `KeptSqliteStorage` in its own `dagster.yaml`.
"""

import os
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, Self

# Private: Dagster publishes the storages, and not the classes which one must subclass.
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

# Each run has a database of its own; a webserver looks at many, one after the other.
_MOST_OPEN = 16


class KeptEngines:
    """Engines of SQLite files, each with one open connection, the least used closed first.

    An engine belongs to the process which opened it: one which came over a fork is neither used
    nor closed, because closing it would release its parent's locks.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._pid = os.getpid()
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._inherited: list[OrderedDict[str, Engine]] = []

    def get(self, url: str) -> Engine:
        """Returns the engine of a file, opened at most once per process."""
        with self._lock:
            if self._pid != os.getpid():
                self._inherited.append(self._engines)
                self._engines, self._pid = OrderedDict(), os.getpid()
            engine = self._engines.get(url)
            if engine is None:
                engine = self._engines[url] = _open(url)
            self._engines.move_to_end(url)
            while len(self._engines) > _MOST_OPEN:
                self._engines.popitem(last=False)[1].dispose()
            return engine

    def close(self) -> None:
        """Closes what this process opened."""
        with self._lock:
            if self._pid == os.getpid():
                for engine in self._engines.values():
                    engine.dispose()
                self._engines.clear()


class KeptSqliteEventLogStorage(SqliteEventLogStorage):
    """Dagster's SQLite event log storage, which keeps its connections."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        self._kept = KeptEngines()
        self._made: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Called by Dagster with the `config` of `dagster.yaml`."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def _connect(self, shard: str) -> Generator[Connection]:
        with self._db_lock:
            engine = self._kept.get(self.conn_string_for_shard(shard))
            if shard not in self._made:
                self._initdb(engine)
                self._made.add(shard)
            with engine.begin() as connection:
                yield connection

    def wipe(self) -> None:
        """Deletes all events, and the files which hold them."""
        self._kept.close()
        self._made.clear()
        super().wipe()

    def dispose(self) -> None:
        """Closes the connections."""
        self._kept.close()
        super().dispose()


class KeptSqliteRunStorage(SqliteRunStorage):
    """Dagster's SQLite run storage, which keeps its connection."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None):
        self._kept = KeptEngines()
        super().__init__(conn_string, inst_data)

    @contextmanager
    def connect(self) -> Generator[Connection]:
        """Gives the kept connection in a transaction."""
        with self._kept.get(self._conn_string).begin() as connection:
            yield connection

    def dispose(self) -> None:
        """Closes the connection."""
        self._kept.close()
        super().dispose()


class KeptSqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage of a whole instance, which keeps its connections.

    In `dagster.yaml`:

    ```yaml
    storage:
      custom:
        module: aether_dagster.orchestration.event_log
        class: KeptSqliteStorage
        config: {base_dir: /path/to/folder}
    ```
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        history = Path(base_dir) / "history"
        self.base_dir = base_dir
        self._run_storage = KeptSqliteRunStorage.from_local(str(history))
        self._event_log_storage = KeptSqliteEventLogStorage(str(history / "runs"))
        self._schedule_storage = SqliteScheduleStorage.from_local(str(Path(base_dir) / "schedules"))
        self._inst_data = inst_data
        # The stock constructor would open the stock storages first.
        super(DagsterSqliteStorage, self).__init__()

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Called by Dagster with the `config` of `dagster.yaml`."""
        return cls.from_local(inst_data=inst_data, **config_value)


def _open(url: str) -> Engine:
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

    return engine
