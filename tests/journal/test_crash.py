"""Writers which are killed at any moment (spec 1.6): what was acknowledged is there, whole."""

import os
import random
import signal
import sqlite3
import time
from multiprocessing.connection import Connection

import pytest

from aether_dagster.journal import Journal
from aether_dagster.state import Delta
from tests.journal.actor import FORKSERVER
from tests.journal.builders import artifact, reserve

# The three of a version are there together or not at all.
PARTS = ("left", "middle", "right")


def deltas(name: str, number: int) -> list[Delta]:
    return [artifact(f"{name}-{number}-{part}", part, f"{name}-{number}") for part in PARTS]


def _write(url: str, execution: str, name: str, acknowledged: Connection) -> None:
    with Journal.open(url) as journal:
        acknowledged.send(None)
        number = 0
        while True:
            version = journal.append(execution, deltas(name, number))
            acknowledged.send((version, f"{name}-{number}"))
            number += 1


def kill_one(url: str, execution: str, name: str, chance: random.Random) -> dict[int, str]:
    ours, theirs = FORKSERVER.Pipe(duplex=False)
    process = FORKSERVER.Process(target=_write, args=(url, execution, name, theirs), daemon=True)
    process.start()
    theirs.close()
    assert ours.poll(30)
    ours.recv()
    if chance.random() < 0.8:
        # The others are killed before their first version or in it.
        assert ours.poll(30)
    time.sleep(chance.uniform(0, 0.04))
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    acknowledged: dict[int, str] = {}
    try:
        while True:
            version, value = ours.recv()
            acknowledged[version] = value
    except (EOFError, OSError):
        pass  # the last message may have been cut off by the kill
    ours.close()
    return acknowledged


def campaign(url: str, journal: Journal, kills: int) -> None:
    chance = random.Random(kills)
    execution = reserve(journal).pipeline_id
    total = head = 0
    for number in range(kills):
        acknowledged = kill_one(url, execution, f"w{number}", chance)
        began = time.monotonic()
        head = journal.append(execution, deltas("next", number))
        assert time.monotonic() - began < 5, "the next writer had to wait"
        found = journal.versions(execution, after=min(acknowledged, default=head) - 1)
        values = {version.number: version.deltas[0].artifacts["left"] for version in found}
        assert acknowledged.items() <= values.items()
        total += len(acknowledged)
    versions = journal.versions(execution)
    assert [version.number for version in versions] == list(range(1, head + 1))
    for version in versions:
        assert [list(delta.artifacts) for delta in version.deltas] == [[part] for part in PARTS]
        assert len({value for delta in version.deltas for value in delta.artifacts.values()}) == 1
    assert total > kills / 2, "they were killed before they wrote"
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()


def test_twenty_kills_lose_nothing_and_leave_nothing(journal_url: str, journal: Journal) -> None:
    campaign(journal_url, journal, 20)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_two_hundred_kills_lose_nothing_and_leave_nothing(
    journal_url: str, journal: Journal
) -> None:
    campaign(journal_url, journal, 200)
