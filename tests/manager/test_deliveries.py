"""Deliveries of one execution: who is delivered to, and what two deliverers do not do."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from aether_dagster.journal import Journal
from aether_dagster.manager import Execution, deliveries
from aether_dagster.manager.deliveries import HookDeliveries
from aether_dagster.manager.delivery_ledger import register_hooks
from aether_dagster.manager.ending import RunEnd
from aether_dagster.plugins import deliverer
from aether_dagster.plugins.hooks import ActiveHook, HookClass, activate_hooks
from aether_dagster.state import Replica
from aethersdk import StateHook

Deliver = Callable[..., HookDeliveries]


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def hooks(execution: Execution, told: list[str]) -> tuple[ActiveHook, ...]:
    class Told(StateHook):
        def post_node_execute(self, node_id: str) -> None:
            told.append(node_id.rpartition("_")[0])

    active = activate_hooks([HookClass(Told, "plug", "1.0.0", "file:x")])
    register_hooks(execution.journal, execution.id, active)
    return active


@pytest.fixture
def deliver(execution: Execution, hooks: tuple[ActiveHook, ...]) -> Deliver:
    def make(**options: Any) -> HookDeliveries:
        begin, redact = execution.transaction, execution.redaction.value
        return HookDeliveries(
            execution.journal, execution.id, hooks, begin=begin, redact=redact, **options
        )

    return make


def end(execution: Execution, step: str) -> None:
    execution.start(step, 1, {})
    execution.succeed(step, step)
    execution.settle(step, 1, "succeeded")


def follow(execution: Execution, replica: Replica, into: HookDeliveries) -> None:
    for version in execution.journal.versions(execution.id, after=replica.version):
        for delta in version.deltas:
            replica.apply(delta)
        replica.version = version.number
        into.see(version, replica)


def test_what_is_followed_is_delivered_as_what_is_read(
    execution: Execution, deliver: Deliver, told: list[str], journal: Journal
) -> None:
    followed, replica = deliver(followed=True), Replica()
    end(execution, "load")
    follow(execution, replica, followed)
    assert followed.drain(written=False, keep=True).delivered == 1
    end(execution, "check")
    follow(execution, replica, followed)
    assert followed.drain(written=False, keep=True).delivered == 1
    execution.end_nodes(RunEnd(error="it ended"))
    execution.finalize(RunEnd(error="it ended"))
    follow(execution, replica, followed)
    assert followed.drain(written=True).delivered == 0
    assert told == ["load", "check"]
    ids = [call.delivery for call in journal.outbox.calls(execution.id)]
    # Whoever reads the journal finds the same deliveries at the same places: none is left.
    assert deliver().drain(written=True).delivered == 0
    (cursor,) = journal.outbox.cursors(execution.id)
    assert cursor.done
    found = all_deliveries(execution)
    assert [d.identity("plug.Told") for d in found if d.event == "post_node_execute"] == ids


def test_a_lease_which_is_kept_keeps_others_away_and_is_taken_once(
    execution: Execution, deliver: Deliver, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    acquire = execution.journal.acquire

    def count(*words: Any, **named: Any) -> bool:
        taken.append(named["name"])
        return acquire(*words, **named)

    monkeypatch.setattr(execution.journal, "acquire", count)
    mine = deliver()
    for step in ("load", "check", "write"):
        end(execution, step)
        assert mine.drain(written=False, keep=True).delivered == 1
    assert taken == ["hook plug.Told"]
    assert deliver().drain(written=False).held == 1
    mine.release()
    assert deliver().drain(written=False).held == 0
    assert told == ["load", "check", "write"]


def test_who_was_away_longer_than_its_lease_looks_where_the_hook_is_before_it_delivers(
    execution: Execution, deliver: Deliver, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(deliveries.time, "monotonic", lambda: clock[0])
    asleep = deliver()
    end(execution, "load")
    assert asleep.drain(written=False, keep=True).delivered == 1
    end(execution, "check")
    clock[0] += 90
    execution.journal.release(execution.id, asleep._holder, name="hook plug.Told")
    assert deliver().drain(written=False).delivered == 1, "another takes it, and is done"
    assert asleep.drain(written=False, keep=True).delivered == 0
    assert told == ["load", "check"]


def test_a_lease_which_is_lost_between_two_deliveries_ends_them(
    execution: Execution, deliver: Deliver, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(deliveries.time, "monotonic", lambda: clock[0])
    mine, others = deliver(), deliver()
    end(execution, "load")
    end(execution, "check")

    def lose(*words: Any) -> Any:
        delivered = real(*words)
        clock[0] += 90
        execution.journal.release(execution.id, mine._holder, name="hook plug.Told")
        assert others._acquire(others._hooks[0])
        return delivered

    real = mine._deliverer.deliver
    monkeypatch.setattr(type(mine._deliverer), "deliver", lambda _, *words: lose(*words))
    drained = mine.drain(written=False)
    assert (drained.delivered, drained.held) == (1, 1)
    assert told == ["load"]


STEPS = ["load", "check", "write"]


@pytest.fixture
def ended(execution: Execution) -> Execution:
    """An execution of which hooks are still to be told that its steps have ended."""
    for step in STEPS:
        end(execution, step)
    return execution


def outcomes(execution: Execution) -> list[tuple[str, str | None]]:
    calls = execution.journal.outbox.calls(execution.id)
    return [(str(call.node), call.outcome) for call in calls]


def test_a_hook_which_returns_at_once_is_told_in_turn_and_the_ledger_says_all_of_it(
    ended: Execution, deliver: Deliver, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[int] = []
    call = deliverer.call_in_turn

    def count(active: ActiveHook, event: str, given: Any, **more: Any) -> Any:
        turns.append(len(given))
        return call(active, event, given, **more)

    monkeypatch.setattr(deliverer, "call_in_turn", count)
    assert deliver().drain(written=False).delivered == 3
    assert (told, turns) == (STEPS, [2])
    assert outcomes(ended) == [(step, "returned") for step in STEPS]
    found = [d for d in all_deliveries(ended) if d.event == "post_node_execute"]
    calls = ended.journal.outbox.calls(ended.id)
    assert [call.delivery for call in calls] == [each.identity("plug.Told") for each in found]
    assert calls[0].called_at <= calls[1].called_at <= calls[2].called_at
    assert all(call.milliseconds is not None and call.plugin == "plug@1.0.0" for call in calls)
    (cursor,) = ended.journal.outbox.cursors(ended.id)
    assert (cursor.version, cursor.attempts) == (ended.replica.version, 0)


def all_deliveries(execution: Execution) -> list[deliveries.Delivery]:
    read = deliveries.Deliveries(execution.id)
    versions = execution.journal.versions(execution.id)
    return [d for v in versions for d in read.fold(v.number, v.deltas)]


def test_of_a_turn_whose_process_is_killed_all_are_told_again_one_by_one(
    ended: Execution, deliver: Deliver, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(active: ActiveHook, event: str, given: Any, **_: Any) -> Any:
        for values, _identity in given:
            told.append(values["node_id"].rpartition("_")[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(deliverer, "call_in_turn", die)
        with pytest.raises(KeyboardInterrupt):
            deliver().drain(written=False)
    assert told == STEPS
    # Somebody who fails must not keep others waiting: it is known who was killed in the middle.
    assert deliver()._stored()["plug.Told"].attempts == 1
    monkeypatch.setattr(deliverer, "call_in_turn", None)
    assert deliver().drain(written=False).delivered == 2
    assert told == [*STEPS, "check", "write"]
    assert outcomes(ended) == [(step, "returned") for step in STEPS]


def test_one_which_ends_its_process_in_a_turn_is_found_and_given_up(
    ended: Execution, deliver: Deliver, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(active: ActiveHook, event: str, *given: Any, **_: Any) -> Any:
        raise KeyboardInterrupt

    def die_of_write(active: ActiveHook, event: str, values: Any, **more: Any) -> Any:
        return (die if values["node_id"].startswith("write") else call)(
            active, event, values, **more
        )

    call = deliverer.call_hook
    monkeypatch.setattr(deliverer, "call_in_turn", die)
    monkeypatch.setattr(deliverer, "call_hook", die_of_write)
    kills = 0
    while True:
        try:
            drained = deliver().drain(written=False)
        except KeyboardInterrupt:
            kills += 1
        else:
            break
    # One was in the turn, where nobody knew who it was.
    assert (kills, drained.dead) == (1 + 5, 1)
    assert told == ["load", "check"]
    assert outcomes(ended) == [
        ("load", "returned"),
        ("check", "returned"),
        *[("write", None)] * 5,
        ("write", "dead"),
    ]


def test_one_which_fails_in_a_turn_is_tried_again_before_those_after_it(
    ended: Execution,
) -> None:
    met: list[str] = []

    class Fails(StateHook):
        def post_node_execute(self, node_id: str) -> None:
            met.append(node_id.rpartition("_")[0])
            if met == ["load", "check"]:
                raise ValueError("not yet")

    hooks = activate_hooks([HookClass(Fails, "plug", "1.0.0", "file:x")])
    register_hooks(ended.journal, ended.id, hooks)
    clock = [1000.0]
    begin, redact = ended.transaction, ended.redaction.value
    mine = HookDeliveries(
        ended.journal,
        ended.id,
        hooks,
        begin=begin,
        redact=redact,
        now=lambda: clock[0],
    )
    drained = mine.drain(written=False)
    assert (drained.delivered, drained.waiting, drained.retry_at) == (2, 2, 1001.0)
    clock[0] = 1001.0
    assert mine.drain(written=False).delivered == 2
    assert met == ["load", "check", "check", "write"]
    calls = ended.journal.outbox.calls(ended.id)
    assert [(call.node, call.outcome) for call in calls] == [
        ("load", "returned"),
        ("check", "raised"),
        ("check", "returned"),
        ("write", "returned"),
    ]
    assert calls[1].detail is not None
    assert calls[1].detail["message"] == "not yet"


def test_one_which_begins_in_time_may_last_until_all_must_be_over(
    execution: Execution, deliver: Deliver, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, limits = [1000.0], list[float]()
    monkeypatch.setattr(deliveries.time, "monotonic", lambda: clock[0])
    mine = deliver()
    for step in ("load", "check", "write"):
        end(execution, step)

    def take_time(hook: Any, position: Any, delivery: Any, limit: float) -> Any:
        limits.append(limit)
        clock[0] += 9
        return replace(real(hook, position, delivery, limit), milliseconds=9000.0)

    real = mine._deliverer.deliver
    deliverer = type(mine._deliverer)
    monkeypatch.setattr(deliverer, "deliver", lambda _, *words: take_time(*words))
    drained = mine.drain(written=False, give_up=1010.0, over=1040.0)
    assert (drained.delivered, drained.waiting) == (2, 1)
    assert limits == [40.0, 31.0]
    assert told == ["load", "check"]
