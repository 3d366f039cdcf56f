"""The embedded instance's storage: Dagster's own, with its connections kept."""

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from aether_dagster.orchestration.event_log import (
    KeptEngines,
    KeptSqliteStorage,
)
from aether_dagster.orchestration.instance import embedded_home, embedded_instance


@dg.op
def work() -> int:
    return 1


@dg.job
def one_op() -> None:
    work()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with embedded_instance(tmp_path) as instance:
        yield instance


def open_files(name: str) -> int:
    folder = Path("/proc/self/fd")
    return sum(str(link.resolve()).endswith(name) for link in folder.iterdir() if link.exists())


def test_the_embedded_instance_keeps_its_connections(instance: dg.DagsterInstance) -> None:
    result = one_op.execute_in_process(instance=instance)
    assert result.success
    assert open_files(f"{result.run_id}.db") == 1
    instance.dispose()
    assert open_files(f"{result.run_id}.db") == 0


def test_stock_storage_reads_what_it_wrote_and_writes_beside_it(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run_id = one_op.execute_in_process(instance=instance).run_id
    stock = tmp_path / "stock"
    stock.mkdir()
    (stock / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\n"
        f"storage: {{sqlite: {{base_dir: {tmp_path / '.aether'}}}}}\n"
    )
    with dg.DagsterInstance.from_config(str(stock)) as other:
        assert [r.run_id for r in other.get_runs()] == [run_id]
        theirs = [e.message for e in other.all_logs(run_id)]
        assert theirs == [e.message for e in instance.all_logs(run_id)]
        second = one_op.execute_in_process(instance=other).run_id
    assert instance.get_run_by_id(second) is not None
    assert instance.all_logs(second)


def test_what_is_deleted_and_wiped_is_gone(instance: dg.DagsterInstance) -> None:
    first, second = (one_op.execute_in_process(instance=instance).run_id for _ in range(2))
    instance.delete_run(first)
    assert not instance.has_run(first)
    assert not instance.all_logs(first)
    assert instance.all_logs(second)
    instance.wipe()
    assert open_files(f"{second}.db") == 0
    assert not instance.all_logs(second)
    assert one_op.execute_in_process(instance=instance).success


def _read_in_child(storage: KeptSqliteStorage, run_id: str, answer: "multiprocessing.Queue[int]"):
    answer.put(len(storage.event_log_storage.get_records_for_run(run_id).records))


def test_a_forked_child_opens_connections_of_its_own(tmp_path: Path) -> None:
    storage = KeptSqliteStorage(str(tmp_path))
    storage.event_log_storage.get_records_for_run("some-run")
    answer = multiprocessing.get_context("fork").Queue()
    child = multiprocessing.get_context("fork").Process(
        target=_read_in_child, args=(storage, "some-run", answer)
    )
    child.start()
    assert answer.get(timeout=20) == 0
    child.join()
    assert child.exitcode == 0
    storage.dispose()


def test_engines_beyond_the_limit_are_closed_oldest_first(tmp_path: Path) -> None:
    kept = KeptEngines()
    urls = [f"sqlite:///{tmp_path / f'{number}.db'}" for number in range(20)]
    for url in urls:
        with kept.get(url).begin() as connection:
            connection.exec_driver_sql("CREATE TABLE t (a)")
    assert open_files("/0.db") == 0
    assert open_files("/19.db") == 1
    assert kept.get(urls[19]) is kept.get(urls[19])
    kept.close()
    assert open_files("/19.db") == 0


def test_an_embedded_instance_which_was_moved_is_found_again(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    with embedded_instance(first) as instance:
        run_id = one_op.execute_in_process(instance=instance).run_id
    first.rename(second)
    with embedded_instance(second) as instance:
        assert instance.has_run(run_id)
    assert not first.exists()


def test_a_configuration_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    home = embedded_home(tmp_path)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    embedded_home(tmp_path)
    assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"
