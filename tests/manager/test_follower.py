import threading
import time

import pytest

from aether_dagster.journal import Journal
from aether_dagster.manager import Change, Execution, Follower


def nothing() -> None:
    return


def test_observers_get_every_version_in_order_with_what_it_changed(
    journal: Journal, execution: Execution
) -> None:
    seen: list[tuple[int, str]] = []
    paths: list[frozenset[tuple[str, ...]]] = []

    def observe(change: Change) -> None:
        seen.append((change.version.number, change.replica.outcome("load").status))
        paths.append(change.paths)

    follower = Follower(journal, execution.id, [observe], tick=nothing)
    follower.start()
    execution.start("load", 1, {"message": "hello"})
    execution.succeed("load", "hello")
    assert follower.drain(execution.replica.version, 10)
    follower.stop()
    assert seen == [(1, "pending"), (2, "executing"), (3, "succeeded")]
    assert ("pipeline", "id") in paths[0]
    assert ("nodes", "load", "output_payload") in paths[2]
    assert ("nodes", "check", "status") not in paths[2]


def test_versions_read_together_are_one_to_who_wants_so_and_none_is_followed_before_the_last(
    journal: Journal, execution: Execution
) -> None:
    execution.start("load", 1, {})
    execution.succeed("load", "hello")
    last = execution.replica.version
    more: list[bool] = []
    followed: list[bool] = []

    def observe(change: Change) -> None:
        more.append(change.more)
        followed.append(follower.drain(1, 0))

    follower = Follower(journal, execution.id, [observe], tick=nothing)
    follower.start()
    assert follower.drain(last, 10)
    follower.stop()
    assert more == [True] * (last - 1) + [False]
    assert followed == [False] * last


def test_an_observer_which_fails_is_left_out_and_the_others_go_on(
    journal: Journal, execution: Execution
) -> None:
    seen: list[int] = []
    called: list[int] = []

    def fails(change: Change) -> None:
        called.append(change.version.number)
        raise RuntimeError("a display is broken")

    follower = Follower(
        journal, execution.id, [fails, lambda c: seen.append(c.version.number)], tick=nothing
    )
    follower.start()
    execution.start("load", 1, {})
    assert follower.drain(2, 10)
    follower.stop()
    assert called == [1]
    assert seen == [1, 2]
    assert [str(error) for error in follower.failures] == ["a display is broken"]


def test_who_waits_for_a_version_which_does_not_come_is_told(
    journal: Journal, execution: Execution
) -> None:
    follower = Follower(journal, execution.id, [], tick=nothing)
    follower.start()
    assert not follower.drain(99, 0.1)
    follower.stop()


def test_the_tick_comes_also_where_nothing_changes(journal: Journal, execution: Execution) -> None:
    ticks = threading.Semaphore(0)
    follower = Follower(journal, execution.id, [], tick=ticks.release)
    follower.start()
    for _ in range(3):
        assert ticks.acquire(timeout=5)
    follower.stop()


def test_stopping_does_not_wait_for_something_to_be_committed(
    journal: Journal, execution: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aether_dagster.manager.follower._WAIT", 60.0)
    monkeypatch.setattr("aether_dagster.journal.tail._POLL_SECONDS", 60.0)
    follower = Follower(journal, execution.id, [], tick=nothing)
    follower.start()
    assert follower.drain(execution.replica.version, 10)
    time.sleep(0.2)  # it waits for the next version now
    began = time.monotonic()
    follower.stop()
    assert time.monotonic() - began < 20
