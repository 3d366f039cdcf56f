"""Dagster's SQLite event log storage, which keeps its connections and what it knows."""

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

# Private: Dagster publishes the storages, and not the classes which one must subclass.
from dagster._core.events import (
    ASSET_CHECK_EVENTS,
    ASSET_EVENTS,
    EVENT_TYPE_TO_PIPELINE_RUN_STATUS,
    DagsterEventType,
)
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
    SqliteEventLogStorageWatchdog,
)
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection
from watchdog.events import FileSystemEvent
from watchdog.observers import Observer

from aether_dagster.orchestration.event_log.engines import KeptEngines
from aether_dagster.orchestration.event_log.files import RunFiles, inode_of, is_stamped
from aether_dagster.orchestration.event_log.rows import insert_event, write_asset

_RUN_STATUS_EVENTS = frozenset(EVENT_TYPE_TO_PIPELINE_RUN_STATUS)


class _Shard(NamedTuple):
    url: str
    path: str
    inode: int


class KeptSqliteEventLogStorage(SqliteEventLogStorage):
    """Dagster's SQLite event log storage, which keeps its connections.

    It writes the same rows into the same files. What the stock storage looks up for every event,
    such as whether a table or column is there, is asked until the answer is yes.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        self._kept = KeptEngines()
        self._ready: dict[str, _Shard] = {}
        self._present: set[tuple[str, str]] = set()
        self._run_files = RunFiles(Path(base_dir).absolute(), self._initdb)
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Called by Dagster with the `config` of `dagster.yaml`."""
        return cls(inst_data=inst_data, **config_value)

    def store_event(self, event: EventLogEntry) -> None:
        """Stores an event in its run's file, and in the index what Dagster mirrors there."""
        if _kind(event) in ASSET_CHECK_EVENTS:
            super().store_event(event)
        else:
            self._store([event])

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Stores events together: all of them or, where one cannot be, none."""
        runs = {event.run_id for event in events}
        if len(runs) > 1 or any(_kind(event) in ASSET_CHECK_EVENTS for event in events):
            super().store_event_batch(events)
        elif events:
            self._store(events)

    def _store(self, events: Sequence[EventLogEntry]) -> None:
        rows = [self._event_to_row(event) for event in events]
        mirrored = [(e, row) for e, row in zip(events, rows, strict=True) if _is_mirrored(e)]
        with self._db_lock, ExitStack() as transactions:
            # The run's is left last: readers of the index find what they look for in the run.
            index = None
            if mirrored:
                index = transactions.enter_context(self._writing(INDEX_SHARD_NAME))
            run = transactions.enter_context(self._writing(events[0].run_id))
            for row in rows:
                insert_event(run, row)
            if index is not None:
                for event, row in mirrored:
                    self._mirror(index, event, row)

    def _mirror(self, index: Connection, event: EventLogEntry, row: dict[str, Any]) -> None:
        event_id = insert_event(index, row)
        if _kind(event) in ASSET_EVENTS:
            self._store_asset_event_tags(index, [event], [event_id])
            self._store_asset_event(index, event, event_id)

    def _store_asset_event(self, conn: Connection, event: EventLogEntry, event_id: int) -> None:
        asset_key = None if event.dagster_event is None else event.dagster_event.asset_key
        if asset_key is None:
            return
        known = self._has_asset_key_index_cols_on_connection(conn)
        values = self._get_asset_entry_values(event, event_id, known)
        if values:
            write_asset(conn, asset_key.to_string(), values)

    def has_table(self, table_name: str) -> bool:
        """Tells whether the index has a table."""
        fact = ("table", table_name)
        return fact in self._present or self._keep(fact, super().has_table(table_name))

    def has_asset_key_col(self, column_name: str) -> bool:
        """Tells whether the table of assets has a column."""
        fact = ("column", column_name)
        return fact in self._present or super().has_asset_key_col(column_name)

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        fact = ("column", column_name)
        if fact in self._present:
            return True
        return self._keep(fact, super()._has_asset_key_col_on_connection(conn, column_name))

    def has_secondary_index(self, name: str) -> bool:
        """Tells whether a summary of Dagster's is complete."""
        fact = ("summary", name)
        return fact in self._present or self._keep(fact, super().has_secondary_index(name))

    def _keep(self, fact: tuple[str, str], is_so: bool) -> bool:
        # What is there stays there; what is not may come by an upgrade, also another process's.
        if is_so:
            self._present.add(fact)
        return is_so

    @contextmanager
    def _connect(self, shard: str) -> Generator[Connection]:
        with self._db_lock, self._kept.transaction(self._open(shard)) as connection:
            yield connection

    def _writing(self, shard: str) -> AbstractContextManager[Connection]:
        return self._kept.writing(self._open(shard))

    def _open(self, shard: str) -> str:
        """Returns the URL of a shard which is there, for whoever holds the lock."""
        known = self._ready.get(shard)
        if known is not None and inode_of(known.path) == known.inode >= 0:
            return known.url
        url, path = self.conn_string_for_shard(shard), self.path_for_shard(shard)
        # Another process may have wiped it: a kept connection writes on into the lost file.
        self._kept.drop(url)
        file = Path(path)
        if not is_stamped(file) and (file.exists() or not self._run_files.put(file)):
            self._initdb(self._kept.get(url))
        self._ready[shard] = _Shard(url, path, inode_of(path))
        return url

    def watch(self, run_id: str, cursor: str | None, callback: Any) -> None:
        """Calls back with each event of a run which comes after a cursor."""
        if not self._obs:
            self._obs = Observer()
            self._obs.start()
        watcher = _Watcher(self, run_id, callback, cursor)
        watch = self._obs.schedule(watcher, self._base_dir, recursive=True)
        watchers = cast("dict[str, dict[Any, Any]]", self._watchers)  # pyright: ignore[reportUnknownMemberType]
        watchers[run_id][callback] = (watcher, watch)

    def wipe(self) -> None:
        """Deletes all events, and the files which hold them."""
        with self._db_lock:  # what another thread has begun is ended first
            self._kept.close()
            self._ready.clear()
            self._present.clear()
        super().wipe()
        self._run_files.delete_locks(keep=INDEX_SHARD_NAME)

    def dispose(self) -> None:
        """Closes the connections, when the thread which watches uses none any more."""
        super().dispose()
        self._kept.close()


class _Watcher(SqliteEventLogStorageWatchdog):
    """Looks at a run's events when its write-ahead log changes.

    The stock one waits for the database itself, which is written when a connection is closed.
    """

    def __init__(self, storage: SqliteEventLogStorage, run_id: str, callback: Any, cursor: Any):
        super().__init__(storage, run_id, callback, cursor)
        database = storage.path_for_shard(run_id)
        self._patterns = [database, f"{database}-wal"]

    def on_modified(self, event: FileSystemEvent) -> None:
        del event  # whichever of the two it was
        self._process_log()


def _kind(event: EventLogEntry) -> DagsterEventType | None:
    return event.dagster_event_type if event.is_dagster_event else None


def _is_mirrored(event: EventLogEntry) -> bool:
    kind = _kind(event)
    return kind in ASSET_EVENTS or kind in _RUN_STATUS_EVENTS
