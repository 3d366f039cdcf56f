import asyncio
import itertools
import shutil
from pathlib import Path

import pytest

from aether_dagster.errors import StateError, UnknownExecution
from aether_dagster.journal import Journal
from aether_dagster.sidecar.past import history_versions, recorded
from aether_dagster.sidecar.replay import Replay
from aether_dagster.snapshot import HistoryStore, Projection, read_execution
from aether_dagster.state import Replica
from aether_dagster.state.document import canonical_bytes
from tests.journal.builders import artifact, initialization, outcome, report, reserve
from tests.sidecar.running import Follower, Running, sidecar

START = 1689876543.212


@pytest.fixture
def past(own_journal: Journal) -> str:
    """An execution of a minute, one version every ten seconds."""
    pipeline_id = reserve(own_journal).pipeline_id
    deltas = [
        initialization(pipeline_id, "load", "plot"),
        outcome("1", "load", 1, "executing"),
        outcome("2", "load", 1, "retrying"),
        outcome("3", "load", 2, "executing"),
        outcome("4", "load", 2, "succeeded", {"rows": 3}),
        artifact("5", "table", "/tmp/table"),
        report(end=START + 60),
    ]
    for number, delta in enumerate(deltas):
        own_journal.append(pipeline_id, [delta], now_ms=int((START + number * 10) * 1000))
    return pipeline_id


@pytest.fixture
def folder(own_journal: Journal, past: str, tmp_path: Path) -> Path:
    """Its folder in a state history."""
    store = HistoryStore(str(tmp_path / "executions"))
    name = f"2023-07-20_133452_{past}"
    store.create(name)
    projection = Projection()
    for version in own_journal.versions(past):
        for file in projection.fold(version.number, version.deltas):
            store.write(name, file.name, file.data)
    return tmp_path / "executions" / name


def test_a_replay_is_a_journal_in_which_things_happen_again(
    own_journal: Journal, past: str
) -> None:
    now = 100.0
    replay = Replay(own_journal.record(past), own_journal.versions(past), 10.0, clock=lambda: now)
    now = 1000.0
    assert replay.record(past).head == 1, "it waits for a client"
    replay.begin()
    for seconds, head in ((0.0, 1), (0.9, 1), (1.0, 2), (3.5, 4), (5.99, 6), (6.0, 7), (99, 7)):
        now = 1000.0 + seconds
        assert replay.record(past).head == head
        assert replay.replica(past).document() == own_journal.state(past, head)
        assert (replay.record(past).status == "succeeded") is (head == 7)
    tail = replay.tail("r2", timeout=0)
    assert [version.number for version in tail.versions] == [3, 4, 5, 6, 7]
    assert replay.tail(tail.cursor, timeout=0).versions == []


def test_what_was_not_played_is_not_there(own_journal: Journal, past: str) -> None:
    replay = Replay.of(own_journal, past, 1.0)
    assert [record.pipeline_id for record in replay.executions()] == [past]
    with pytest.raises(StateError):
        replay.replica(past, 7)
    with pytest.raises(UnknownExecution):
        replay.record("pipeline_00000000")


@pytest.mark.parametrize("copied", [False, True])
def test_files_of_the_history_fold_to_their_final_state(folder: Path, copied: bool) -> None:
    history = read_execution(str(folder))
    written = {} if copied else dict.fromkeys((f.name for f in folder.iterdir()), START + 25)
    versions = history_versions(history, written)
    replica = Replica()
    for version in versions:
        for delta in version.deltas:
            replica.apply(delta)
    assert history.final is not None
    assert canonical_bytes(replica.document()) == canonical_bytes(history.final)
    times = [version.committed_at for version in versions]
    assert all(a <= b for a, b in itertools.pairwise(times))
    assert times[0] == START
    assert times[-1] == START + 60
    record = recorded(history, versions)
    assert (record.status, record.finalized, record.head) == ("succeeded", 6, 6)


@pytest.mark.parametrize("what", ["id", "folder", "folder without its end"])
def test_the_command_plays_an_execution_to_whoever_connects(
    own_journal: Journal, past: str, folder: Path, tmp_path: Path, what: str
) -> None:
    name = past if what == "id" else str(folder)
    if what == "folder without its end":
        shutil.copytree(folder, tmp_path / "cut" / folder.name)
        name = str(tmp_path / "cut" / folder.name)
        (tmp_path / "cut" / folder.name / "state_final.json").unlink()

    async def watch(running: Running) -> Follower:
        follower = Follower()
        async with running.connected("/executions/latest") as connection:
            ended = own_journal.state(past)["nodes"]
            await follower.until(connection, lambda state: state["nodes"] == ended)
        return follower

    command = ("replay", name, "--speed", "60")
    with sidecar(own_journal.url, tmp_path, command=command) as running:
        follower = asyncio.run(watch(running))
    statuses = [
        frame["payload"]["nodes"]["load"]["status"]
        for frame in follower.frames
        if "nodes.load.status" in frame["update_mask"]
    ]
    assert statuses[-1] == "succeeded"
    assert follower.frames[0]["payload"]["nodes"]["load"]["status"] == "pending"
