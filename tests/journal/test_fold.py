import sqlite3
import time
from pathlib import Path

import pytest

from aether_dagster.errors import StateError
from aether_dagster.journal import Journal
from aether_dagster.journal.fold import INTERVAL, apply_versions
from aether_dagster.state import Replica
from tests.journal.builders import artifact, initialization, outcome, reserve


def fill(journal: Journal, execution: str, upto: int) -> None:
    head = journal.record(execution).head
    for number in range(head + 1, upto + 1):
        attempt, phase = divmod(number, 2)
        status = "executing" if phase else "retrying"
        node = outcome(f"d{number}", ("load", "plot")[number % 4 // 2], attempt + 1, status)
        journal.append(execution, [node, artifact(f"a{number}", f"n{number % 7}", str(number))])


def folded(journal: Journal, execution: str, version: int) -> dict[str, object]:
    replica = Replica()
    apply_versions(replica, journal.versions(execution, upto=version))
    return replica.document()


def test_the_state_at_every_version_is_the_fold_of_the_versions_so_far(
    journal_url: str, journal: Journal, execution: str
) -> None:
    fill(journal, execution, INTERVAL + 20)
    versions = [0, 1, 2, INTERVAL - 1, INTERVAL, INTERVAL + 1, INTERVAL + 20]
    with Journal.open(journal_url) as other:
        for version in [*versions, *reversed(versions)]:
            assert journal.state(execution, version) == folded(journal, execution, version)
            assert other.state(execution, version) == folded(journal, execution, version)
            assert journal.replica(execution, version).version == version
    assert journal.state(execution) == folded(journal, execution, INTERVAL + 20)


def test_a_version_which_is_not_there_yet_has_no_state(journal: Journal, execution: str) -> None:
    for version in (2, -1):
        with pytest.raises(StateError, match="versions 1 to 1"):
            journal.state(execution, version)


def test_the_replica_is_the_callers_own(journal: Journal, execution: str) -> None:
    for _ in range(2):  # the first is folded, the second remembered
        mine = journal.replica(execution)
        mine.apply(outcome("never committed", "load", 1, "executing").at(2))
    assert journal.state(execution)["nodes"]["load"]["status"] == "pending"


def test_what_others_commit_is_seen_at_once(
    journal_url: str, journal: Journal, execution: str
) -> None:
    journal.state(execution)
    with Journal.open(journal_url) as other:
        other.append(execution, [artifact("a", "x", "1")])
    assert journal.state(execution)["context"]["artifacts"] == {"x": "1"}


def test_a_long_journal_is_read_from_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with Journal.open(path) as journal:
        execution = reserve(journal).pipeline_id
        journal.append(execution, [initialization(execution, "load", "plot")])
        fill(journal, execution, 3 * INTERVAL + 10)
        # Whoever reads past the place of a checkpoint leaves one.
        journal.state(execution)
        expected = {v: folded(journal, execution, v) for v in (2 * INTERVAL + 5, 3 * INTERVAL + 10)}
    with sqlite3.connect(path) as database:
        # Without the versions before, only a checkpoint can know them.
        database.execute("DELETE FROM aether_versions WHERE number <= ?", (2 * INTERVAL,))
    database.close()
    with Journal.open(path) as journal:
        for version, state in expected.items():
            assert journal.state(execution, version) == state


def test_reading_leaves_the_checkpoints_which_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with Journal.open(path) as journal:
        execution = reserve(journal).pipeline_id
        journal.append(execution, [initialization(execution, "load", "plot")])
        fill(journal, execution, 2 * INTERVAL)
        journal.state(execution)
    count = "SELECT count(*) FROM aether_checkpoints"
    database = sqlite3.connect(path)
    with database:
        assert database.execute(count).fetchone() == (2,)
        database.execute("DELETE FROM aether_checkpoints")
    with Journal.open(path, read_only=True) as reader:
        reader.state(execution)
    assert database.execute(count).fetchone() == (0,)
    with Journal.open(path) as journal:
        journal.state(execution, INTERVAL + 1)
    assert database.execute(count).fetchone() == (1,)
    database.close()


def test_any_version_of_a_long_journal_is_read_in_a_blink(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "state.db") as journal:
        execution = reserve(journal).pipeline_id
        journal.append(execution, [initialization(execution, "load", "plot")])
        fill(journal, execution, 4 * INTERVAL)
    with Journal.open(tmp_path / "state.db") as journal:
        took = []
        for version in range(INTERVAL // 2, 4 * INTERVAL, INTERVAL // 2):
            began = time.process_time()
            journal.state(execution, version)
            took.append(time.process_time() - began)
    assert sorted(took)[len(took) // 2] < 0.05
