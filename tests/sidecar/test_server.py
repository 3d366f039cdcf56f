import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from aether_dagster.journal import Journal
from aether_dagster.sidecar.listing import LISTED
from tests.journal.builders import artifact, initialization, outcome, report, reserve
from tests.sidecar.running import STATE, Follower, Running, sidecar

MEMBERS = ["event_type", "update_mask", "timestamp", "payload"]


def run_to_its_end(journal: Journal, pipeline_id: str) -> None:
    """Two nodes, one of which fails once, and an artifact which comes and goes."""
    journal.append(pipeline_id, [outcome("1", "load", 1, "executing")])
    journal.append(pipeline_id, [outcome("2", "load", 1, "retrying"), artifact("a1", "a.b", "/1")])
    journal.append(pipeline_id, [outcome("3", "load", 2, "executing")])
    journal.append(pipeline_id, [outcome("4", "load", 2, "succeeded", {"rows": 3})])
    journal.append(pipeline_id, [artifact("a2", "a.b", None), artifact("a3", "c", "/2")])
    journal.append(pipeline_id, [outcome("5", "plot", 1, "executing")])
    journal.append(pipeline_id, [outcome("6", "plot", 1, "succeeded", "<b>ü</b>")])
    journal.append(pipeline_id, [report()])


async def seen_to_its_end(running: Running, pipeline_id: str) -> None:
    """Waits until the sidecar knows of the end: a moment after the commit it still follows."""

    def ended(state: dict[str, Any]) -> bool:
        return state["executions"].get(pipeline_id, {}).get("status") == "succeeded"

    async with running.connected("/executions") as connection:
        await Follower().until(connection, ended)


def test_what_is_folded_is_the_state_on_either_engine(journal_url: str, tmp_path: Path) -> None:
    with Journal.open(journal_url) as journal:
        pipeline_id = reserve(journal).pipeline_id
        journal.append(pipeline_id, [initialization(pipeline_id, "load", "plot")])

        async def follow(running: Running) -> Follower:
            follower = Follower()
            async with running.connected(f"/executions/{pipeline_id}") as connection:
                follower.take(await connection.recv())
                await asyncio.to_thread(run_to_its_end, journal, pipeline_id)
                await follower.follow(connection)
                assert (connection.close_code, connection.close_reason) == (1000, "finalized")
            return follower

        with sidecar(journal_url, tmp_path) as running:
            follower = asyncio.run(follow(running))
        assert follower.state == journal.state(pipeline_id)
    assert all(list(frame) == MEMBERS for frame in follower.frames)
    assert follower.frames[0]["update_mask"] == ["*"]
    stamps = [frame["timestamp"] for frame in follower.frames]
    assert stamps == sorted(set(stamps))


def test_a_past_execution_is_one_snapshot_and_the_end(
    journal: Journal, execution: str, running: Running
) -> None:
    run_to_its_end(journal, execution)

    async def look() -> None:
        await seen_to_its_end(running, execution)
        follower = Follower()
        async with running.connected(f"/executions/{execution}") as connection:
            await follower.follow(connection)
        assert len(follower.frames) == 1
        assert follower.state == journal.state(execution)

    asyncio.run(look())


def test_latest_goes_over_to_a_newer_execution(
    journal: Journal, execution: str, running: Running
) -> None:
    async def follow() -> None:
        follower = Follower()
        async with running.connected("/executions/latest") as connection:
            await follower.until(connection, lambda s: s["pipeline"]["id"] == execution)
            newer = reserve(journal).pipeline_id
            journal.append(newer, [initialization(newer, "other")])
            await follower.until(connection, lambda s: s["pipeline"]["id"] == newer)
            assert set(follower.state["nodes"]) == {"other"}

    asyncio.run(follow())


def test_latest_waits_for_a_first_execution(own_journal: Journal, tmp_path: Path) -> None:
    async def follow(running: Running) -> None:
        async with running.connected("/executions/latest") as connection:
            first = reserve(own_journal).pipeline_id
            own_journal.append(first, [initialization(first, "load")])
            frame = Follower().take(await asyncio.wait_for(connection.recv(), 30))
            assert frame["payload"]["pipeline"]["id"] == first

    with sidecar(own_journal.url, tmp_path) as running:
        asyncio.run(follow(running))


def test_the_list_counts_nodes_and_learns_of_new_executions(
    journal: Journal, execution: str, running: Running
) -> None:
    async def follow() -> None:
        follower = Follower()
        async with running.connected("/executions") as connection:
            await follower.until(connection, lambda s: execution in s["executions"])
            run_to_its_end(journal, execution)
            newer = reserve(journal, pipeline="other").pipeline_id
            journal.append(newer, [initialization(newer, "one")])

            def seen(state: dict[str, Any]) -> bool:
                known = state["executions"]
                ended = known[execution]["status"] == "succeeded"
                return ended and known[execution]["nodes"] == {"succeeded": 2} and newer in known

            await follower.until(connection, seen)
            assert follower.state["executions"][newer] == {
                "name": "other",
                "status": "executing",
                "start_timestamp": journal.record(newer).created_at,
                "nodes": {"pending": 1},
            }

    asyncio.run(follow())


def test_a_mask_narrows_what_is_sent(journal: Journal, execution: str, running: Running) -> None:
    async def follow() -> None:
        follower = Follower()
        path = f"/executions/{execution}?mask=nodes.*.status"
        async with running.connected(path) as connection:
            follower.take(await connection.recv())
            run_to_its_end(journal, execution)
            await follower.follow(connection)
        status = {"status": "succeeded"}
        assert follower.state == {"nodes": {"load": status, "plot": status}}

    asyncio.run(follow())


def test_who_comes_back_gets_what_changed(
    journal: Journal, execution: str, running: Running
) -> None:
    async def follow() -> None:
        follower = Follower()
        async with running.connected(f"/executions/{execution}") as connection:
            follower.take(await connection.recv())
        run_to_its_end(journal, execution)
        since = follower.frames[-1]["timestamp"]
        path = f"/executions/{execution}?since={since}"
        async with running.connected(path) as connection:
            await follower.follow(connection)
        assert follower.frames[-1]["update_mask"] != ["*"]
        assert follower.state == journal.state(execution)

    asyncio.run(follow())


def test_subprotocols_are_echoed_and_one_adds_members(execution: str, running: Running) -> None:
    async def look() -> None:
        path = f"/executions/{execution}"
        async with running.connected(path) as connection:
            assert connection.subprotocol is None
        async with running.connected(path, subprotocols=[STATE]) as connection:
            assert connection.subprotocol == STATE
            assert list(json.loads(await connection.recv())) == MEMBERS
        async with running.connected(path, subprotocols=[f"{STATE}+seq"]) as connection:
            frame = json.loads(await connection.recv())
            assert list(frame) == [*MEMBERS, "version", "execution"]
            assert (frame["version"], frame["execution"]) == (1, execution)

    asyncio.run(look())


def close_of(running: Running, path: str, *said: str) -> int | None:
    async def talk() -> int | None:
        async with running.connected(path) as connection:
            for text in said:
                await connection.send(text)
            try:
                async with asyncio.timeout(20):
                    while True:
                        await connection.recv()
            except ConnectionClosed:
                return connection.close_code

    return asyncio.run(talk())


def test_close_codes(execution: str, running: Running) -> None:
    here = f"/executions/{execution}"
    assert close_of(running, "/executions/pipeline_00000000") == 4404
    assert close_of(running, "/executions/nonsense") == 4404
    assert close_of(running, here, "nonsense") == 4400
    assert close_of(running, here, '{"set": {"status": "succeeded"}}') == 4400
    assert close_of(running, f"{here}?mask=a..b") == 4400
    assert close_of(running, f"{here}?since=yesterday") == 4400
    assert close_of(running, f"{here}?replay=0") == 4400
    assert close_of(running, f"{here}?replay=1&from=99") == 4404
    assert close_of(running, "/executions?version=1") == 4400
    assert close_of(running, f"{here}?version=1") == 1000
    assert close_of(running, f"{here}?version=99") == 4404
    assert close_of(running, here, *['{"subscribe": {}}'] * 40) == 4429
    assert close_of(running, here, "x" * 100_000) == 1009


def test_state_by_get(
    journal: Journal, execution: str, running: Running, get: Callable[..., Any]
) -> None:
    run_to_its_end(journal, execution)
    asyncio.run(seen_to_its_end(running, execution))
    whole = get(running, f"/executions/{execution}")
    assert list(whole) == MEMBERS
    assert whole["payload"] == journal.state(execution)
    assert get(running, "/executions/latest") == whole
    listed = get(running, "/executions")["payload"]["executions"]
    assert listed[execution]["name"] == "quakes"
    third = get(running, f"/executions/{execution}?version=3")
    assert third["payload"] == journal.state(execution, 3)
    part = get(running, f"/executions/{execution}?mask=nodes.load.status,nodes.plot.status")
    assert part["update_mask"] == ["nodes.load.status", "nodes.plot.status"]
    versions = get(running, f"/executions/{execution}/versions")["versions"]
    assert [number for number, _ in versions] == list(range(1, 10))
    about = get(running, f"/executions/{execution}/pipeline")
    assert (about["name"], about["status"], about["head"]) == ("quakes", "succeeded", 9)
    attempts = get(running, f"/executions/{execution}/attempts")["nodes"]
    assert [(a["attempt"], a["status"]) for a in attempts["load"]] == [
        (1, "retrying"),
        (2, "succeeded"),
    ]
    assert all(a["started"] <= a["ended"] for a in attempts["load"])
    one = get(running, f"/executions/{execution}/attempts?node=load")["nodes"]["load"]
    assert one[1]["record"]["output_payload"] == {"rows": 3}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/executions/pipeline_00000000", 404),
        ("/executions/pipeline_00000000/pipeline", 404),
        ("/executions/{id}?version=99", 404),
        ("/executions/{id}?version=x", 400),
        ("/executions/{id}?mask=a..b", 400),
        ("/executions/{id}/unknown", 404),
        ("/executions/pipeline", 404),
        ("/unknown", 404),
    ],
)
def test_what_is_wrong_by_get(
    execution: str, running: Running, get: Callable[..., Any], path: str, status: int
) -> None:
    assert get(running, path.replace("{id}", execution), raw=True).status_code == status


def test_health_and_metrics_need_no_token_and_hold_no_state(
    execution: str, running: Running, get: Callable[..., Any]
) -> None:
    assert get(running, "/healthz", raw=True, token=None).text == "ok\n"
    metrics = get(running, "/metrics", raw=True, token=None).text
    assert "aetherscript_sidecar_clients 0" in metrics
    for word in (execution, "load", "quakes", running.token):
        assert word not in metrics


def test_a_replay_sends_the_versions_in_their_time_and_ends(
    journal: Journal, execution: str, running: Running
) -> None:
    start = journal.record(execution).committed_at
    assert start is not None
    for number, node in enumerate(("load", "plot"), start=1):
        at = int((start + number * 20) * 1000)
        journal.append(execution, [outcome(node, node, 1, "executing")], now_ms=at)
    end = int((start + 60) * 1000)
    journal.append(execution, [report()], now_ms=end)

    async def replay(speed: int, first: int = 0) -> tuple[Follower, float]:
        follower, began = Follower(), time.monotonic()
        path = f"/executions/{execution}?replay={speed}&from={first}"
        async with running.connected(path) as connection:
            await follower.follow(connection)
            assert (connection.close_code, connection.close_reason) == (1000, "replayed")
        return follower, time.monotonic() - began

    follower, seconds = asyncio.run(replay(60))
    assert seconds > 0.9
    assert follower.state == journal.state(execution)
    assert [f["update_mask"] for f in follower.frames] == [
        ["*"],
        ["nodes.load.status"],
        ["nodes.plot.status"],
    ]
    assert follower.frames[0]["payload"] == journal.state(execution, 1)
    assert follower.frames[1]["timestamp"] == pytest.approx(start + 20, abs=0.01)
    later, _ = asyncio.run(replay(100000, 3))
    assert later.frames[0]["payload"] == journal.state(execution, 3)


def test_a_sidecar_on_many_past_executions_starts_soon(tmp_path: Path) -> None:
    """No fold for the list: the time which 10,000 executions add is what counts."""
    small, large = tmp_path / "small", tmp_path / "large"
    seconds: dict[str, float] = {}
    for folder, count in ((small, 1), (large, 10_000)):
        folder.mkdir()
        with Journal.open(folder / "state.db") as journal:
            fill(journal, count)
        began = time.monotonic()
        with sidecar(f"sqlite:///{folder}/state.db", folder) as running:
            seconds[folder.name] = time.monotonic() - began

            async def look(running: Running = running, count: int = count) -> None:
                async with running.connected("/executions") as connection:
                    frame = json.loads(await connection.recv())
                    assert len(frame["payload"]["executions"]) == min(count, LISTED)

            asyncio.run(look())
    assert seconds["large"] < seconds["small"] + 2


def fill(journal: Journal, count: int) -> None:
    """Past executions of one version, written at once: one commit for each would take a minute."""
    pipeline_id = reserve(journal).pipeline_id
    journal.append(pipeline_id, [initialization(pipeline_id, "load")])
    journal.append(pipeline_id, [report()])
    if count > 1:
        with journal._database.writing() as session:
            session.sql(MANY, count=count - 1)


COLUMNS = (
    "pipeline, partition_key, resumed_from, config_hash, document, created_at, head, "
    "committed_at, finalized, status, nodes, ended_at, history, refused"
)
MANY = f"""
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)
    INSERT INTO aether_executions (number, run_id, {COLUMNS})
    SELECT number - i, run_id || i, {COLUMNS} FROM aether_executions, n
"""


def test_a_reader_thread_follows_what_two_processes_write(
    journal: Journal, execution: str, running: Running
) -> None:
    """Interleaved executions reach each client whole."""
    others = [reserve(journal).pipeline_id for _ in range(3)]
    for other in others:
        journal.append(other, [initialization(other, "load", "plot")])

    async def follow(pipeline_id: str) -> Follower:
        follower = Follower()
        async with running.connected(f"/executions/{pipeline_id}") as connection:
            await follower.follow(connection)
        return follower

    async def all_of_them() -> None:
        following = [asyncio.create_task(follow(name)) for name in (*others, execution)]
        await asyncio.sleep(0.2)
        writing: list[Awaitable[None]] = [
            asyncio.to_thread(run_to_its_end, journal, name) for name in (*others, execution)
        ]
        await asyncio.gather(*writing)
        for name, task in zip((*others, execution), following, strict=True):
            assert (await asyncio.wait_for(task, 30)).state == journal.state(name)

    asyncio.run(all_of_them())
