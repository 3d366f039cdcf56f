"""What the versions of a journal amount to for hooks, and what becomes of a delivery."""

import pytest

from aether_dagster.plugins.deliverer import ATTEMPTS, Deliverer
from aether_dagster.plugins.hooks import HookClass, activate_hooks
from aether_dagster.plugins.outbox import Deliveries, Delivery, Position
from aether_dagster.state import Authority, Delta, NodeDelta, Outcome
from aether_dagster.state.ids import node_id
from aethersdk import StateHook, StateVeto, Trigger

ID = "pipeline_01H3XYZ9"
REPORT = {
    "status": "succeeded",
    "end_timestamp": 2.0,
    "duration": 1.0,
    "nodes": {},
    "retries": 0,
    "failed": [],
    "version": 0,
}


class Told:
    """Folds versions which are written down shortly."""

    def __init__(self, *names):
        self.deliveries = Deliveries(ID)
        self.number = 0
        nodes = {name: NodeDelta(node_id(ID, name, i), i) for i, name in enumerate(names)}
        pipeline = {"id": ID, "version": "1.0.0", "start_timestamp": 1.0, "config_hash": "0" * 15}
        context = {"environment_vars": {}, "secret_store": None, "active_plugins": []}
        self.fold(pipeline=pipeline, context=context, nodes=nodes)

    def fold(self, *, late=False, **members):
        self.number += 1
        delta = Delta(f"d{self.number}", Authority.STEP, clock=self.number, **members)
        return [
            (d.version, d.node, d.values.get("previous_state"), d.values.get("current_state"))
            if d.event == "post_node_execute"
            else d.event
            for d in self.deliveries.fold(self.number, [delta], late=late)
        ]

    def node(self, name, status=None, attempt=1, *, settled=0, **members):
        outcome = None if status is None else Outcome(attempt, status, **members)
        found = self.fold(nodes={name: NodeDelta(outcome=outcome, settled=settled)})
        return [
            (n, before.status.value, after.status.value, after.attempt)
            for _, n, before, after in found
        ]


def test_an_attempt_is_told_when_dagster_has_said_how_it_ended():
    told = Told("load")
    assert told.node("load", "executing") == []
    assert told.node("load", "succeeded") == []
    assert told.node("load", settled=1) == [("load", "executing", "succeeded", 1)]
    assert told.node("load", settled=1) == []


def test_each_attempt_is_told_once():
    told = Told("load")
    told.node("load", "executing")
    assert told.node("load", "retrying", settled=1) == [("load", "executing", "retrying", 1)]
    told.node("load", "executing", 2)
    assert told.node("load", "failed", 2, settled=2) == [("load", "executing", "failed", 2)]


def test_an_attempt_of_which_nobody_said_a_word_is_told_with_the_next():
    told = Told("load")
    told.node("load", "executing")
    assert told.node("load", "retrying") == []
    assert told.node("load", "executing", 2) == [("load", "executing", "retrying", 1)]


def test_a_node_which_is_cancelled_while_it_waits_is_told_again():
    told = Told("load")
    told.node("load", "executing")
    told.node("load", "retrying", settled=1)
    assert told.node("load", "failed", settled=1) == [("load", "retrying", "failed", 1)]


def test_the_end_tells_what_was_left_and_then_itself():
    told = Told("one", "two", "three")
    told.node("one", "executing")
    told.node("one", "succeeded")
    found = told.fold(report=REPORT)
    assert [each if isinstance(each, str) else each[1] for each in found] == [
        "one",
        "post_state_finalize",
    ]
    assert told.node("two", "executing") == []
    assert told.fold(nodes={}, late=True) == []


def test_a_node_which_never_started_is_not_told():
    told = Told("one")
    error = {"type": "UpstreamFailed", "message": "", "attempt": 0, "upstream": ["x"]}
    assert told.node("one", "pending", 0, error=error) == []


class Store:
    """Keeps positions in memory."""

    def __init__(self):
        self.noted = []

    def begin(self, active, delivery, identity, position):
        self.attempt = position.attempts
        self.noted.append([identity])
        return len(self.noted) - 1

    def end(self, active, call, delivered):
        self.noted[call] += [delivered.outcome, delivered.detail, delivered.position]


def deliver(function, position=None, event="post_state_finalize", **options):
    hook = type("Hook", (StateHook,), {event: function, **options.pop("members", {})})
    (active,) = activate_hooks([HookClass(hook, "plug", "1.0.0", "file:x")])
    store = Store()
    made = Deliverer(store, lambda: 100.0, lambda value: value, lambda _: None, **options)
    delivery = Delivery(ID, 7, 1, event, None, {"report": 1, "state": 2})
    return made.deliver(active, position or Position(), delivery), store


def test_a_delivery_moves_the_position_with_the_ledger():
    delivered, store = deliver(lambda self: None)
    assert delivered.position == Position(7, 1, done=True)
    assert store.noted == [[f"{ID}/7//plug.Hook", "returned", None, delivered.position]]


def test_one_which_fails_is_tried_again_later_and_later_and_given_up():
    position, waits, outcomes = Position(6, 1), [], []
    for _ in range(ATTEMPTS):
        delivered, _ = deliver(lambda self: 1 / 0, position)
        position = delivered.position
        outcomes.append(delivered.outcome)
        waits.append(position.retry_at - 100.0 if position.retry_at else None)
    assert waits == [1.0, 2.0, 4.0, 8.0, None]
    assert outcomes == ["raised"] * 4 + ["dead"]
    assert position == Position(7, 1, done=True)


@pytest.mark.parametrize(
    ("returned", "members", "launches", "outcome"),
    [
        (Trigger(tags={"a": "b"}), {"job": "after"}, True, "triggered"),
        (Trigger(), {"job": "after"}, False, "trigger not launched"),
        (Trigger(), {}, True, "trigger ignored"),
        ("something", {}, False, "amendment ignored"),
    ],
)
def test_what_it_returns_is_a_trigger_or_nothing(returned, members, launches, outcome):
    delivered, _ = deliver(lambda self: returned, members=members, launches=launches)
    assert delivered.outcome == outcome
    assert delivered.position.done


def test_a_veto_of_what_happened_is_recorded_as_ignored():
    def refuse(self):
        raise StateVeto("no")

    delivered, store = deliver(refuse)
    assert store.noted[0][1:3] == ["veto ignored", {"reason": "no"}]
    assert delivered.position.done


def test_one_which_ended_its_process_each_time_is_given_up_uncalled():
    asked = []
    delivered, store = deliver(lambda self: asked.append(1), Position(6, 1, attempts=ATTEMPTS))
    assert delivered.outcome == "dead"
    assert delivered.position == Position(7, 1, done=True)
    assert not asked
    assert "process ended" in store.noted[0][2]["problem"]


def test_the_attempt_is_counted_before_the_call():
    seen = []
    _, store = deliver(lambda self: seen.append(1), Position(6, 1, attempts=2))
    assert (store.attempt, seen) == (3, [1])
