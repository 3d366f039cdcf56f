"""The list of executions, where there are more than it holds."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aether_dagster.journal import Journal
from aether_dagster.sidecar.listing import LISTED
from tests.journal.builders import initialization, report, reserve
from tests.journal.many import add_ended
from tests.sidecar.running import Follower, Running, sidecar


async def see_one_come(running: Running, journal: Journal, before: list[str]) -> None:
    """Follows the list while an execution begins, for which the oldest has to go."""
    follower = Follower()
    async with running.connected("/executions") as connection:
        await follower.until(connection, lambda state: list(state["executions"]) == before)
        new = reserve(journal).pipeline_id
        journal.append(new, [initialization(new, "load"), report()])
        after = [*before[1:], new]
        await follower.until(connection, lambda state: list(state["executions"]) == after)
    assert len(follower.frames[-1]["payload"]["executions"]) == 1, "no snapshot"


def test_the_newest_are_listed_and_older_ones_followed_by_their_ids(
    own_journal: Journal, tmp_path: Path, get: Callable[..., Any]
) -> None:
    oldest = add_ended(own_journal, LISTED + 200)
    newest = [record.pipeline_id for record in own_journal.executions(LISTED)][::-1]
    with sidecar(own_journal.url, tmp_path) as running:
        assert list(get(running, "/executions")["payload"]["executions"]) == newest
        state = get(running, f"/executions/{oldest}")["payload"]
        assert state["nodes"]["load"]["status"] == "succeeded"
        again = get(running, "/executions")["payload"]["executions"]
        assert list(again) == newest, "looking at an old one does not list it"
        asyncio.run(see_one_come(running, own_journal, newest))
