from pathlib import Path

import pytest

from aether_dagster.errors import SnapshotError
from aether_dagster.journal import Journal, Version
from aether_dagster.manager import Change, Execution
from aether_dagster.manager.history import HistoryFiles, HistoryWriter
from aether_dagster.snapshot import HistoryStore

FOLDER = "2023-07-20_133452_pipeline_01H3XYZ9"


@pytest.fixture
def store(tmp_path: Path) -> HistoryStore:
    store = HistoryStore(str(tmp_path / "history"))
    store.create(FOLDER)
    return store


@pytest.fixture
def told() -> list[SnapshotError]:
    return []


@pytest.fixture
def writer(
    journal: Journal, execution: Execution, store: HistoryStore, told: list[SnapshotError]
) -> HistoryWriter:
    return HistoryWriter(HistoryFiles(journal, execution.id, store, FOLDER), told.append)


def change(execution: Execution, version: Version, *, more: bool = False) -> Change:
    replica = execution.journal.replica(execution.id, version.number)
    return Change(execution.id, version, replica, frozenset(), more)


def give(writer: HistoryWriter, execution: Execution) -> None:
    """Gives the writer all versions, as a follower does."""
    for version in execution.journal.versions(execution.id):
        writer(change(execution, version))


def test_files_are_written_as_versions_make_them_due(
    execution: Execution, writer: HistoryWriter, store: HistoryStore, told: list[SnapshotError]
) -> None:
    execution.settle("load", 1, "succeeded", seconds=1)
    node_id = execution.replica.node("load")["node_id"]
    give(writer, execution)
    assert store.names(FOLDER) == [
        "state_init.json",
        f"state_node_{node_id}_attempt1.json",
        f"state_node_{node_id}_final.json",
    ]
    assert told == []


def test_files_of_versions_read_together_are_recorded_and_written_together(
    execution: Execution, writer: HistoryWriter, store: HistoryStore, journal: Journal
) -> None:
    execution.settle("load", 1, "succeeded", seconds=1)
    *versions, last = journal.versions(execution.id)
    for version in versions:
        writer(change(execution, version, more=True))
    assert (store.names(FOLDER), journal.history_files(execution.id)) == ([], [])
    writer(change(execution, last))
    recorded = [link.name for link in journal.history_files(execution.id)]
    assert recorded[0] == "state_init.json"
    assert (len(recorded), sorted(recorded)) == (3, store.names(FOLDER))


def test_a_history_which_breaks_is_told_once_and_not_gone_on_with(
    execution: Execution, writer: HistoryWriter, tmp_path: Path, told: list[SnapshotError]
) -> None:
    execution.settle("load", 1, "succeeded", seconds=1)
    folder = tmp_path / "history" / FOLDER
    folder.rename(tmp_path / "elsewhere")
    give(writer, execution)
    assert [str(error) for error in told] == [str(writer.error)]
    folder.mkdir()
    execution.settle("check", 1, "succeeded", seconds=1)
    give(writer, execution)
    assert list(folder.iterdir()) == []
    assert len(told) == 1


def test_whatever_else_goes_wrong_is_told_as_well(
    execution: Execution, writer: HistoryWriter, journal: Journal, told: list[SnapshotError]
) -> None:
    first = change(execution, journal.versions(execution.id)[0])
    journal.close()
    writer(first)
    assert len(told) == 1
    assert writer.error is told[0]
