"""The kept event log storage beside the stock one: the same calls, the same answers and rows.

The areas are those of Dagster's own tests of event log storages.
"""

import multiprocessing
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationPlanned,
)
from dagster._core.events import DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.base import AssetRecordsFilter
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from aether_dagster.orchestration.event_log import (
    KeptSqliteEventLogStorage,
    KeptSqliteStorage,
    engines,
)
from aether_dagster.orchestration.event_log import events as kept_events
from tests.orchestration.event_logs import (
    KEY,
    OTHER,
    RUN,
    entry,
    made,
    plain,
    planned,
    rows,
    schema,
)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[KeptSqliteEventLogStorage]:
    storage = KeptSqliteEventLogStorage(str(tmp_path / "kept"))
    yield storage
    storage.dispose()


@pytest.fixture
def same(tmp_path: Path, kept: KeptSqliteEventLogStorage) -> Callable[[Callable[[Any], Any]], Any]:
    """Does something to both storages; returns the answer, which is the same."""
    stock = SqliteEventLogStorage(str(tmp_path / "stock"))

    def do(work: Callable[[Any], Any]) -> Any:
        ours, theirs = work(kept), work(stock)
        assert ours == theirs
        return ours

    return do


def test_it_writes_the_rows_and_tables_of_the_stock_storage(
    tmp_path: Path, same: Callable[..., Any]
) -> None:
    def write(storage: Any) -> None:
        storage.store_event(entry(0, DagsterEventType.PIPELINE_START))
        storage.store_event(planned(1))
        storage.store_event(plain(2))
        storage.store_event(made(3, partition="p", tags={"dagster/data_version": "7"}))
        storage.store_event(made(4, dg.AssetKey("c")))
        storage.store_event(entry(5, DagsterEventType.PIPELINE_SUCCESS))
        storage.store_event(plain(6, OTHER))

    same(write)
    assert rows(tmp_path / "kept") == rows(tmp_path / "stock")
    for name in (f"{RUN}.db", f"{OTHER}.db", "index.db"):
        assert schema(tmp_path / "kept" / name) == schema(tmp_path / "stock" / name)


def test_a_batch_leaves_what_its_events_leave_one_by_one(
    tmp_path: Path, kept: KeptSqliteEventLogStorage
) -> None:
    events = [planned(1), planned(2, dg.AssetKey("c")), plain(3), made(4)]
    kept.store_event_batch(events)
    stock = SqliteEventLogStorage(str(tmp_path / "stock"))
    for event in events:
        stock.store_event(event)
    assert rows(tmp_path / "kept") == rows(tmp_path / "stock")


def test_a_batch_which_cannot_be_stored_leaves_nothing(
    kept: KeptSqliteEventLogStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as broken:
        broken.setattr(kept_events, "write_asset", refuse)
        with pytest.raises(sqlite3.OperationalError):
            kept.store_event_batch([plain(1), planned(2)])
    # Dagster stores them one by one then.
    for event in (plain(1), planned(2)):
        kept.store_event(event)
    assert len(kept.get_records_for_run(RUN).records) == 2
    assert len(kept.get_asset_records([KEY])) == 1


def test_events_come_in_pages_both_ways_and_by_type(same: Callable[..., Any]) -> None:
    same(lambda storage: [storage.store_event(plain(n)) for n in range(7)])
    same(lambda storage: storage.store_event(made(7)))

    def pages(storage: Any, ascending: bool) -> list[list[str]]:
        found, cursor = [], None
        while True:
            page = storage.get_records_for_run(RUN, cursor, limit=3, ascending=ascending)
            found.append([record.event_log_entry.user_message for record in page.records])
            cursor = page.cursor
            if not page.has_more:
                return found

    assert same(lambda storage: pages(storage, True))[-1] == ["m6", "m7"]
    assert same(lambda storage: pages(storage, False))[0] == ["m7", "m6", "m5"]
    kinds = {DagsterEventType.ASSET_MATERIALIZATION}
    assert len(same(lambda storage: storage.get_logs_for_run(RUN, of_type=kinds))) == 1
    assert same(lambda storage: storage.get_logs_for_run(OTHER)) == []
    same(lambda storage: storage.get_stats_for_run(RUN))
    same(lambda storage: storage.get_step_stats_for_run(RUN))


def test_assets_their_partitions_and_wiping_them(same: Callable[..., Any]) -> None:
    same(lambda storage: storage.store_event(planned(1)))
    for number, partition in enumerate(("x", "y", "x"), 2):
        same(lambda s, n=number, p=partition: s.store_event(made(n, partition=p)))
    same(lambda storage: storage.store_event(made(9, dg.AssetKey("c"))))
    assert same(lambda storage: storage.all_asset_keys()) == [KEY, dg.AssetKey("c")]
    assert same(lambda storage: storage.has_asset_key(KEY))
    (record,) = same(lambda storage: storage.get_asset_records([KEY]))
    assert record.asset_entry.last_materialization.user_message == "m4"
    found = same(lambda storage: storage.fetch_materializations(AssetRecordsFilter(KEY), limit=2))
    assert [r.event_log_entry.user_message for r in found.records] == ["m4", "m3"]
    assert found.has_more
    counts = same(lambda storage: storage.get_materialized_partitions(KEY))
    assert counts == {"x", "y"}
    same(lambda storage: storage.wipe_asset(KEY))
    assert not same(lambda storage: storage.has_asset_key(KEY))
    same(lambda storage: storage.store_event(made(2_000_000_000, partition="z")))
    assert same(lambda storage: storage.has_asset_key(KEY))
    same(lambda storage: storage.add_dynamic_partitions("d", ["1", "2"]))
    same(lambda storage: storage.delete_dynamic_partition("d", "1"))
    assert same(lambda storage: storage.get_dynamic_partitions("d")) == ["2"]


def test_asset_checks_are_kept_alone_and_in_a_batch(
    tmp_path: Path, same: Callable[..., Any]
) -> None:
    plan = AssetCheckEvaluationPlanned(asset_key=KEY, check_name="c")
    result = AssetCheckEvaluation(asset_key=KEY, check_name="c", passed=True, metadata={})

    def write(storage: Any) -> None:
        storage.store_event_batch(
            [planned(1), entry(2, DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, plan)]
        )
        storage.store_event(entry(3, DagsterEventType.ASSET_CHECK_EVALUATION, result))

    same(write)
    check = dg.AssetCheckKey(KEY, "c")
    found = same(
        lambda storage: [
            (record.id, record.status, record.event.user_message)
            for record in storage.get_asset_check_execution_history(check, limit=10)
        ]
    )
    assert [status.value for _, status, _ in found] == ["SUCCEEDED"]
    ours, theirs = rows(tmp_path / "kept"), rows(tmp_path / "stock")
    assert ours[f"{RUN}.db event_logs"] == theirs[f"{RUN}.db event_logs"]


def test_concurrency_slots_are_claimed_and_freed(same: Callable[..., Any]) -> None:
    same(lambda storage: storage.set_concurrency_slots("k", 1))
    claim = same(lambda s: s.claim_concurrency_slot("k", RUN, "one").slot_status)
    assert claim.value == "CLAIMED"
    claim = same(lambda s: s.claim_concurrency_slot("k", OTHER, "two").slot_status)
    assert claim.value == "BLOCKED"
    same(lambda storage: storage.free_concurrency_slots_for_run(RUN))
    assert same(lambda s: s.claim_concurrency_slot("k", OTHER, "two").is_claimed)
    assert same(lambda storage: storage.get_concurrency_keys()) == {"k"}


def test_a_run_is_watched_and_the_watch_ends(kept: KeptSqliteEventLogStorage) -> None:
    kept.store_event(plain(0))
    seen: list[str] = []
    two = threading.Event()

    def see(event: EventLogEntry, _: str) -> None:
        seen.append(event.user_message)
        if len(seen) == 2:
            two.set()

    kept.watch(RUN, kept.get_records_for_run(RUN).cursor, see)
    kept.store_event(plain(1))
    kept.store_event_batch([plain(2)])
    assert two.wait(60)
    kept.end_watch(RUN, see)
    kept.store_event(plain(3))
    assert seen == ["m1", "m2"]


def test_events_of_a_run_are_deleted_and_all_are_wiped(
    tmp_path: Path, same: Callable[..., Any]
) -> None:
    for run in (RUN, OTHER):
        same(lambda storage, run=run: storage.store_event(plain(1, run)))
    same(lambda storage: storage.store_event(made(2)))
    same(lambda storage: storage.delete_events(RUN))
    assert same(lambda storage: storage.get_logs_for_run(RUN)) == []
    assert len(same(lambda storage: storage.get_logs_for_run(OTHER))) == 1
    same(lambda storage: storage.wipe())
    assert same(lambda storage: storage.all_asset_keys()) == []
    assert rows(tmp_path / "kept") == rows(tmp_path / "stock")
    same(lambda storage: storage.store_event(made(3)))
    assert len(same(lambda storage: storage.get_logs_for_run(RUN))) == 1


def test_threads_and_other_storages_write_into_one_run(
    tmp_path: Path, kept: KeptSqliteEventLogStorage
) -> None:
    storages = [kept, *(KeptSqliteEventLogStorage(str(tmp_path / "kept")) for _ in range(3))]

    def write(number: int) -> None:
        storages[number % 4].store_event(made(number) if number % 5 == 0 else plain(number))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(60)))
    found = [
        record.event_log_entry.user_message for record in kept.get_records_for_run(RUN).records
    ]
    assert sorted(found) == sorted(f"m{number}" for number in range(60))
    for storage in storages[1:]:
        storage.dispose()


def test_processes_which_write_into_one_run_never_meet_in_sqlite(
    tmp_path: Path, kept: KeptSqliteEventLogStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who finds a file locked is told so at once, instead of sleeping until it is free.
    monkeypatch.setattr(engines, "SQLITE_BUSY_TIMEOUT_SECONDS", 0)
    kept.store_event(made(0))
    fork = multiprocessing.get_context("fork")
    together = fork.Barrier(3)

    def write(number: int) -> None:
        storage = KeptSqliteEventLogStorage(str(tmp_path / "kept"))
        assert storage.has_asset_key(KEY)
        assert len(storage.get_logs_for_run(RUN)) == 1
        together.wait(60)
        for count in range(number * 100, number * 100 + 60):
            storage.store_event(made(count) if count % 5 == 0 else plain(count))
        storage.dispose()

    writers = [fork.Process(target=write, args=(number,)) for number in (1, 2, 3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert len(kept.get_logs_for_run(RUN)) == 181


def test_an_old_database_is_opened_by_dagsters_own_way(tmp_path: Path) -> None:
    with closing(KeptSqliteStorageFolder(tmp_path)) as first:
        assert first.storage.run_storage.get_run_ids() == []
    runs = tmp_path / "history" / "runs.db"
    with closing(sqlite3.connect(runs)) as connection:
        connection.execute("DROP TABLE instance_info")
        connection.commit()
    with closing(KeptSqliteStorageFolder(tmp_path)) as second:
        assert second.storage.run_storage.get_run_storage_id()


class KeptSqliteStorageFolder:
    """A whole instance's storage, which closes."""

    def __init__(self, folder: Path):
        self.storage = KeptSqliteStorage(str(folder))

    def close(self) -> None:
        self.storage.dispose()
