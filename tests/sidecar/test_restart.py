"""Killed in the middle of a run with many clients, and started again."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from websockets.exceptions import ConnectionClosed

from aether_dagster.journal import Journal
from tests.journal.builders import artifact, initialization, outcome, report, reserve
from tests.sidecar.running import Follower, Running, sidecar

CLIENTS = 50
NODES = [f"n{number}" for number in range(20)]


async def follow_for_ever(path: str, where: list[Running], follower: Follower) -> None:
    """As the page does: comes back until it is told that this was all."""
    while True:
        since = f"?since={follower.frames[-1]['timestamp']}" if follower.frames else ""
        try:
            async with where[-1].connected(path + since) as connection:
                await follower.follow(connection)
        except (OSError, ConnectionClosed, TimeoutError):
            pass
        else:
            if connection.close_reason == "finalized":
                return
        await asyncio.sleep(0.05)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - many clients have no one event
            await asyncio.sleep(0.05)


def test_clients_of_a_killed_sidecar_are_right_again_and_the_run_never_noticed(
    own_journal: Journal, tmp_path: Path
) -> None:
    pipeline_id = reserve(own_journal).pipeline_id
    own_journal.append(pipeline_id, [initialization(pipeline_id, *NODES)])
    slowest = 0.0

    def run() -> None:
        nonlocal slowest
        for number in range(200):
            node, attempt = NODES[number % len(NODES)], number // len(NODES) + 1
            began = time.monotonic()
            own_journal.append(
                pipeline_id,
                [
                    outcome(f"{number}", node, attempt, "executing"),
                    artifact(f"a{number}", node, None if number % 3 else f"/{number}"),
                ],
            )
            slowest = max(slowest, time.monotonic() - began)
            time.sleep(0.01)

    async def scenario() -> list[Follower]:
        followers = [Follower() for _ in range(CLIENTS)]
        path = f"/executions/{pipeline_id}"
        with sidecar(own_journal.url, tmp_path) as first:
            where = [first]
            tasks = [asyncio.create_task(follow_for_ever(path, where, f)) for f in followers]
            running = asyncio.create_task(asyncio.to_thread(run))
            await until(lambda: all(len(follower.frames) >= 3 for follower in followers))
            os.kill(first.pid, signal.SIGKILL)
            first.process.wait()
            before = [len(follower.frames) for follower in followers]
            with sidecar(own_journal.url, tmp_path, port=first.port) as second:
                where.append(second)
                await running
                await until(
                    lambda: all(
                        len(follower.frames) > count
                        for follower, count in zip(followers, before, strict=True)
                    )
                )
                state = own_journal.state(pipeline_id)
                await until(lambda: all(right(follower, state) for follower in followers))
                own_journal.append(pipeline_id, [report("failed")])
                await asyncio.wait_for(asyncio.gather(*tasks), 30)
        return followers

    def right(follower: Follower, state: dict[str, object]) -> bool:
        return without_time(follower.state) == without_time(state)

    def without_time(state: dict[str, object]) -> object:
        nodes = state.get("nodes", {})
        assert isinstance(nodes, dict)
        return {**state, "nodes": {n: {**r, "execution_time": 0.0} for n, r in nodes.items()}}

    followers = asyncio.run(scenario())
    state = own_journal.state(pipeline_id)
    assert all(right(follower, state) for follower in followers)
    masks = [frame["update_mask"] for follower in followers for frame in follower.frames]
    assert masks.count(["*"]) == CLIENTS, "nobody needed a second snapshot"
    assert own_journal.record(pipeline_id).head == 202
    assert slowest < 5, "a commit does not wait for those who look"
