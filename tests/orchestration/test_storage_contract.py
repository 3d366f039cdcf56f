"""The contract of an event log storage: the kept one does as the stock one, where it could differ.

Where it keeps a file, a connection or a fact, and the stock one looks again each time. The areas
are those of Dagster's own tests of event log storages; see `docs/reference/settings.md`.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationPlanned,
)
from dagster._core.errors import DagsterEventLogInvalidForRun
from dagster._core.events import AssetObservationData, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.partition_status_cache import AssetStatusCacheValue
from dagster._core.test_utils import create_run_for_test

from aether_dagster.orchestration.event_log import KeptSqliteEventLogStorage, engines
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
from tests.orchestration.scenarios import PACKAGES

TAGS = {"dagster/data_version": "7"}


class Both:
    """The stock storage and the kept one, each in a folder of its own with the same index."""

    def __init__(self, folder: Path, index: Path):
        self.folders = [folder / "stock", folder / "kept"]
        for own in self.folders:
            own.mkdir()
            shutil.copy(index, own)
        self.storages = [
            SqliteEventLogStorage(str(self.folders[0])),
            KeptSqliteEventLogStorage(str(self.folders[1])),
        ]

    def __call__(self, work: Callable[[Any], Any]) -> Any:
        """Does something to both; returns the answer, which is the same."""
        stock, kept = (work(storage) for storage in self.storages)
        assert kept == stock
        return kept

    def another(self) -> list[Any]:
        """Storages of the same folders, as another process has them."""
        return [type(s)(str(f)) for s, f in zip(self.storages, self.folders, strict=True)]

    def hold_the_same(self) -> None:
        stock, kept = (rows(folder) for folder in self.folders)
        assert kept == stock


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index in which nothing is; it takes the stock storage a while to make one."""
    folder = tmp_path_factory.mktemp("index")
    SqliteEventLogStorage(str(folder))
    return folder / "index.db"


@pytest.fixture
def both(tmp_path: Path, index: Path) -> Iterator[Both]:
    both = Both(tmp_path, index)
    yield both
    for storage in both.storages:
        storage.dispose()


def observed(number: int, **more: Any) -> EventLogEntry:
    data = AssetObservationData(dg.AssetObservation(KEY, **more))
    return entry(number, DagsterEventType.ASSET_OBSERVATION, data)


def messages(events: Any) -> list[str]:
    return [event.user_message for event in events]


def test_observations_tags_and_summaries_are_found_by_asset_and_partition(both: Both) -> None:
    both(lambda s: s.store_event(planned(1)))
    both(lambda s: s.store_event_batch([made(2, partition="x", tags=TAGS), observed(3)]))
    both(lambda s: s.store_event(observed(4, partition="x", tags={**TAGS, "other": "2"})))
    both(lambda s: s.store_event(made(5, partition="y", metadata={"text": "é\u2028☃" * 9000})))
    found = both(lambda s: s.fetch_observations(KEY, limit=9).records)
    assert messages(r.event_log_entry for r in found) == ["m4", "m3"]
    for kind in (DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_OBSERVATION):
        ids = both(lambda s, kind=kind: s.get_latest_storage_id_by_partition(KEY, kind))
        both(lambda s, kind=kind: s.get_latest_tags_by_partition(KEY, kind, list(TAGS)))
        for number in ids.values():
            both(lambda s, n=number: s.get_event_tags_for_asset(KEY, filter_event_id=n))
    cache = AssetStatusCacheValue(latest_storage_id=5, partitions_def_id="d")
    both(lambda s: s.update_asset_cached_status_data(KEY, cache))
    (record,) = both(lambda s: s.get_asset_records([KEY]))
    assert record.asset_entry.cached_status == cache
    both(lambda s: s.wipe_asset_cached_status(KEY))
    both(lambda s: s.delete_events(RUN))
    both.hold_the_same()


def test_status_changes_of_runs_are_read_from_the_index_in_pages(both: Both) -> None:
    kinds = [DagsterEventType.PIPELINE_START, DagsterEventType.PIPELINE_SUCCESS]
    for number, run in enumerate((RUN, OTHER, RUN)):
        both(lambda s, n=number, r=run: s.store_event(entry(n, kinds[0], run=r)))
        both(lambda s, n=number, r=run: s.store_event_batch([entry(n + 9, kinds[1], run=r)]))
    page = both(lambda s: s.fetch_run_status_changes(kinds[1], limit=2, ascending=True))
    assert messages(r.event_log_entry for r in page.records) == ["m9", "m10"]
    rest = both(lambda s: s.fetch_run_status_changes(kinds[1], 2, page.cursor, ascending=True))
    assert messages(r.event_log_entry for r in rest.records) == ["m11"]
    both.hold_the_same()


def test_batches_of_several_runs_checks_and_nothing(both: Both) -> None:
    check = AssetCheckEvaluationPlanned(asset_key=KEY, check_name="c")
    both(lambda s: s.store_event_batch([]))
    both(lambda s: s.store_event_batch([plain(1), made(2), plain(3, OTHER)]))
    both(
        lambda s: s.store_event_batch(
            [plain(4), entry(5, DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED, check)]
        )
    )
    assert messages(both(lambda s: s.get_logs_for_run(RUN))) == ["m1", "m2", "m4", "m5"]
    both.hold_the_same()


def test_a_transaction_which_fails_leaves_nothing_and_the_next_goes_on(both: Both) -> None:
    def fail(storage: Any) -> None:
        with storage.index_transaction() as connection:
            connection.execute(SqlEventLogStorageTable.delete())
            with connection.begin_nested():
                connection.execute(SqlEventLogStorageTable.delete())
            raise ZeroDivisionError

    both(lambda s: s.store_event(made(1)))
    for storage in both.storages:
        with pytest.raises(ZeroDivisionError):
            fail(storage)
    both(lambda s: s.store_event(made(2)))
    assert len(both(lambda s: s.fetch_materializations(KEY, limit=9).records)) == 2
    assert both(lambda s: s.get_event_log_table_data(RUN, 1).timestamp) is not None
    both.hold_the_same()


def test_a_file_which_is_no_database_and_events_which_are_none(both: Both) -> None:
    for folder in both.folders:
        (folder / f"{OTHER}.db").write_text("some nonsense")
    for storage in both.storages:
        with pytest.raises(sqlalchemy.exc.DatabaseError):
            storage.get_logs_for_run(OTHER)
        with storage.run_connection(RUN) as connection:
            connection.execute(SqlEventLogStorageTable.insert().values(run_id=RUN, event="{bar}"))
        with pytest.raises(DagsterEventLogInvalidForRun):
            storage.get_logs_for_run(RUN)


def test_a_database_of_old_is_written_as_it_is_and_upgraded_by_whoever(
    both: Both, capsys: pytest.CaptureFixture[str]
) -> None:
    both(lambda s: s.store_event(made(1, tags=TAGS)))
    for storage, folder in zip(both.storages, both.folders, strict=True):
        storage.dispose()
        for file in folder.glob("*.db"):
            with closing(sqlite3.connect(file)) as old:
                old.execute("DROP TABLE asset_event_tags")
                old.execute("ALTER TABLE asset_keys DROP COLUMN cached_status_data")
                old.execute("UPDATE alembic_version SET version_num = 'a00dd8d936a1'")
                old.commit()
    both.storages = both.another()
    both(lambda s: s.store_event(made(2, tags=TAGS)))
    assert not both(lambda s: s.can_read_asset_status_cache())
    assert not both(lambda s: s.has_table("asset_event_tags"))
    for other in both.another():
        other.upgrade()
        other.dispose()
    capsys.readouterr()
    assert both(lambda s: s.can_read_asset_status_cache())
    both(lambda s: s.store_event(made(3, tags=TAGS)))
    assert both(lambda s: s.get_event_tags_for_asset(KEY)) == [TAGS]
    assert both(lambda s: s.alembic_version())
    both.hold_the_same()
    for name in (f"{RUN}.db", "index.db"):
        stock, kept = (schema(folder / name) for folder in both.folders)
        assert kept == stock


def test_a_summary_is_complete_once_it_was_said_to_be(both: Both) -> None:
    assert not both(lambda s: s.has_secondary_index("some"))
    for other in both.another():
        other.enable_secondary_index("some")
        other.dispose()
    assert both(lambda s: s.has_secondary_index("some"))
    both(lambda s: s.wipe())
    assert both(lambda s: s.has_secondary_index("some"))


def test_what_another_process_wiped_is_gone_and_what_comes_next_is_kept(both: Both) -> None:
    # The stock storage fails here: it does not make a run's tables twice.
    kept, other = both.storages[1], both.another()[1]
    kept.store_event_batch([plain(1), made(2)])
    other.wipe()
    assert kept.get_logs_for_run(RUN) == []
    kept.store_event(plain(3))
    assert messages(other.get_logs_for_run(RUN)) == messages(kept.get_logs_for_run(RUN)) == ["m3"]
    other.wipe()
    kept.store_event(made(4))
    assert messages(other.get_logs_for_run(RUN)) == ["m4"]
    assert other.has_asset_key(KEY)
    other.dispose()


def test_wiping_leaves_the_index_alone(both: Both) -> None:
    for run in (RUN, OTHER):
        both(lambda s, run=run: s.store_event(plain(1, run)))
    assert both(lambda s: sorted(s.get_all_run_ids())) == [RUN, OTHER]
    both(lambda s: s.wipe())
    assert both(lambda s: s.get_all_run_ids()) == []
    assert {f.name.split(".db")[0] for f in both.folders[1].glob("*.db*")} == {"index"}


def test_watches_end_themselves_and_one_which_fails_ends_no_other(both: Both) -> None:
    both(lambda s: s.store_event_batch([plain(1), plain(1, OTHER)]))

    def watch(storage: Any) -> tuple[list[str], list[str]]:
        seen: dict[str, list[str]] = {RUN: [], OTHER: []}
        ended = threading.Event()

        def fail(event: EventLogEntry, _: str) -> None:
            raise ZeroDivisionError(event.user_message)

        def see(event: EventLogEntry, _: str) -> DagsterRunStatus | None:
            seen[event.run_id].append(event.user_message)
            if event.user_message == "m9":
                ended.set()
            return DagsterRunStatus.SUCCESS if event.user_message == "m3" else None

        storage.watch(RUN, None, fail)
        for run in (RUN, OTHER):
            storage.watch(run, storage.get_records_for_run(run).cursor, see)
        for number in (2, 3):
            storage.store_event(plain(number))
        storage.end_watch(RUN, fail)
        storage.store_event(plain(9, OTHER))
        assert ended.wait(60)
        storage.end_watch(OTHER, see)
        storage.end_watch(OTHER, see)
        return seen[RUN], seen[OTHER]

    assert both(watch) == (["m2", "m3"], ["m9"])


def test_a_storage_which_was_disposed_while_it_watched_has_no_file_open(both: Both) -> None:
    kept = both.storages[1]
    seen = threading.Event()
    kept.watch(RUN, None, lambda *_: seen.set())
    for number in range(20):
        kept.store_event(plain(number))
    assert seen.wait(60)
    kept.dispose()
    links = (str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    assert not [link for link in links if link.startswith(f"{both.folders[1]}/{RUN}")]
    assert len(kept.get_logs_for_run(RUN)) == 20


def test_an_instance_finds_events_across_more_runs_than_files_are_kept_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_MOST_OPEN", 2)
    configured = {
        "stock": f"sqlite: {{base_dir: {tmp_path}/stock}}",
        "kept": "custom: {module: aether_dagster.orchestration.event_log, "
        f"class: KeptSqliteStorage, config: {{base_dir: {tmp_path}/kept}}}}",
    }
    runs = [f"{number:08}-0000-0000-0000-000000000000" for number in range(3)]
    answers = []
    for name, storage in configured.items():
        home = tmp_path / f"home-{name}"
        home.mkdir()
        (home / "dagster.yaml").write_text(
            f"telemetry: {{enabled: false}}\nstorage: {{{storage}}}\n"
        )
        with dg.DagsterInstance.from_config(str(home)) as instance:
            if name == "stock":
                shutil.copytree(tmp_path / "stock", tmp_path / "kept")
            log = instance.event_log_storage
            for number, run in enumerate(runs):
                create_run_for_test(instance, run_id=run)
                log.store_event(entry(number, DagsterEventType.STEP_START, run=run))
            wanted = dg.EventRecordsFilter(
                DagsterEventType.STEP_START,
                after_cursor=dg.RunShardedEventsCursor(id=0, run_updated_after=None),
            )
            found = [
                messages(r.event_log_entry for r in log.get_event_records(wanted, limit, True))
                for limit in (None, 2)
            ]
            instance.delete_run(runs[1])
            left = [len(instance.all_logs(run)) for run in runs]
            instance.wipe()
            answers.append((found, left, [len(instance.all_logs(run)) for run in runs]))
    assert answers[0] == answers[1]
    assert answers[1][0] == [["m0", "m1", "m2"], ["m0", "m1"]]
    assert answers[1][1:] == ([1, 0, 1], [0, 0, 0])


@pytest.mark.timeout(120)
def test_who_is_interrupted_anywhere_stores_what_comes_next_whole_and_once(
    tmp_path: Path, index: Path
) -> None:
    shutil.copy(index, tmp_path)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.orchestration.interrupted", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(PACKAGES)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    interrupts, *counted = json.loads(ended.stdout)
    stored, in_index = map(Counter, counted)
    assert interrupts > 50
    for number in range(interrupts):
        assert stored[f"m{1000 + number}"] == stored[f"m{2000 + number}"] == 1
        assert stored[f"m{number}"] <= 1 + (number == 0) * 2
    assert in_index <= stored
    assert all(in_index[f"m{2000 + number}"] == 1 for number in range(interrupts))
