"""The laws of spec 1.5, each a check of one scenario against the replicas as they are now.

They are functions, and not tests, so that `test_mutants` can ask them about broken lattices.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from aether_dagster.state import Delta, Replica
from aether_dagster.state.checkpoint import checkpoint, restore
from aether_dagster.state.document import canonical_bytes
from aether_dagster.state.mask import apply, changes, select
from tests.state.model import expected
from tests.state.strategies import NAMES, Scenario

ENDED_WELL, ENDED_BADLY = ("succeeded",), ("failed", "retrying")


def replica_of(deltas: Iterable[Delta]) -> Replica:
    replica = Replica()
    for delta in deltas:
        replica.apply(delta)
    return replica


def shown(replica: Replica) -> str:
    """Everything which a user of the replica can read, in the order in which it stands there."""
    beside = [[name, replica.settled(name), replica.worker(name)] for name in NAMES]
    return json.dumps([replica.document(), replica.report, beside])


def any_order_and_number_of_deliveries_gives_one_state(scenario: Scenario) -> None:
    once, again = replica_of(scenario.made), replica_of(scenario.arriving)
    assert shown(once) == shown(again)
    assert canonical_bytes(once.document()) == canonical_bytes(again.document())
    assert once.knowledge() == again.knowledge()


def folding_many_is_applying_each(scenario: Scenario) -> None:
    half = len(scenario.arriving) // 2
    folded = replica_of(scenario.arriving[:half])
    folded.fold(scenario.arriving[half:])
    applied = replica_of(scenario.arriving)
    assert shown(folded) == shown(applied)
    assert folded.knowledge() == applied.knowledge()


def state_is_what_the_specification_says(scenario: Scenario) -> None:
    replica, wanted = replica_of(scenario.arriving), expected(scenario.made)
    assert json.dumps(replica.document()) == json.dumps(wanted["document"])
    assert replica.report == wanted["report"]
    for name in wanted["settled"]:
        assert replica.settled(name) == wanted["settled"][name]
        assert replica.worker(name) == wanted["worker"][name]


def join_is_commutative(scenario: Scenario) -> None:
    left, right = _halves(scenario)
    there, back = left.copy(), right.copy()
    there.join(right)
    back.join(left)
    assert shown(there) == shown(back)
    assert there.knowledge() == back.knowledge()


def join_is_associative(scenario: Scenario) -> None:
    third = len(scenario.arriving) // 3
    parts = scenario.arriving[:third], scenario.arriving[third : 2 * third]
    a, b, c = (replica_of(part) for part in (*parts, scenario.arriving[2 * third :]))
    left, right, inner = a.copy(), a.copy(), b.copy()
    left.join(b)
    left.join(c)
    inner.join(c)
    right.join(inner)
    assert shown(left) == shown(right)
    assert left.knowledge() == right.knowledge()


def join_is_idempotent(scenario: Scenario) -> None:
    replica = replica_of(scenario.arriving)
    before = shown(replica)
    assert replica.join(replica.copy()) == frozenset()
    assert shown(replica) == before


def join_knows_what_both_knew(scenario: Scenario) -> None:
    left, right = _halves(scenario)
    left.join(right)
    assert shown(left) == shown(replica_of(scenario.made))


def apply_is_join_with_a_replica_of_one_delta(scenario: Scenario) -> None:
    *others, last = scenario.arriving
    applied = replica_of(others)
    joined = applied.copy()
    assert applied.apply(last) == joined.join(replica_of([last]))
    assert shown(applied) == shown(joined)


def a_copy_knows_all_and_is_independent(scenario: Scenario) -> None:
    replica = replica_of(scenario.made[: scenario.cut])
    before = shown(replica)
    copy = replica.copy()
    assert shown(copy) == before
    for delta in scenario.made[scenario.cut :]:
        copy.apply(delta)
    assert shown(replica) == before
    assert shown(copy) == shown(replica_of(scenario.made))


def a_checkpoint_knows_all_that_its_replica_knew(scenario: Scenario) -> None:
    replica = replica_of(scenario.arriving)
    written = json.dumps([delta.to_json() for delta in checkpoint(replica)])
    restored = restore([Delta.from_json(delta) for delta in json.loads(written)], version=7)
    assert restored.version == 7
    assert restored.knowledge() == replica.knowledge()
    assert shown(restored) == shown(replica)


def changed_leaves_are_exactly_those_which_differ(scenario: Scenario) -> None:
    replica = Replica()
    client: dict[str, Any] = replica.document()
    for delta in scenario.arriving:
        before = replica.document()
        changed = replica.apply(delta)
        assert changed == set(changes(before, replica.document()))
        client = apply(client, *select(replica.document(), changed))
    assert canonical_bytes(client) == canonical_bytes(replica.document())


def changed_leaves_of_a_join_are_exactly_those_which_differ(scenario: Scenario) -> None:
    left, right = _halves(scenario)
    before = left.document()
    changed = left.join(right)
    assert changed == set(changes(before, left.document()))


def records_are_never_torn(scenario: Scenario) -> None:
    replica = Replica()
    for delta in scenario.arriving:
        replica.apply(delta)
        for name in replica.nodes():
            record = replica.node(name)
            assert record["error"] is None or record["status"] not in ENDED_WELL
            assert record["output_payload"] is None or record["status"] in ENDED_WELL
            assert (record["error"] is not None) or record["status"] not in ENDED_BADLY
            if record["error"] and record["status"] != "pending":
                assert record["error"]["attempt"] == record["retry_count"] + 1


def attempts_never_go_back(scenario: Scenario) -> None:
    replica = Replica()
    newest = dict.fromkeys(NAMES, 0)
    for delta in scenario.arriving:
        replica.apply(delta)
        for name in NAMES:
            attempt = replica.outcome(name).attempt
            assert attempt >= newest[name]
            newest[name] = attempt


LAWS: tuple[Callable[[Scenario], None], ...] = (
    state_is_what_the_specification_says,
    any_order_and_number_of_deliveries_gives_one_state,
    folding_many_is_applying_each,
    folding_many_is_applying_each,
    changed_leaves_are_exactly_those_which_differ,
    changed_leaves_of_a_join_are_exactly_those_which_differ,
    join_knows_what_both_knew,
    join_is_commutative,
    join_is_associative,
    join_is_idempotent,
    apply_is_join_with_a_replica_of_one_delta,
    a_copy_knows_all_and_is_independent,
    a_checkpoint_knows_all_that_its_replica_knew,
    records_are_never_torn,
    attempts_never_go_back,
)


def _halves(scenario: Scenario) -> tuple[Replica, Replica]:
    return replica_of(scenario.made[: scenario.cut]), replica_of(scenario.made[scenario.cut :])
