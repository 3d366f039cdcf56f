"""The laws are worth what they catch: each lattice here is broken in one way, and must be seen."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from aether_dagster.state import Authority, Delta, Evidence, NodeDelta, Outcome, Replica, lattice
from aether_dagster.state import replica as replicas
from aether_dagster.state.delta import Stamp
from aether_dagster.state.lattice import NodeLattice, Register
from aether_dagster.state.machine import RANK
from tests.state.laws import LAWS
from tests.state.strategies import DECLARED, Scenario, scenarios

Mutant = Callable[[pytest.MonkeyPatch], None]


def broken_law(corpus: list[Scenario]) -> str | None:
    """Returns the name of a law which does not hold, or None where all hold."""
    for scenario in corpus:
        for law in LAWS:
            try:
                law(scenario)
            except (AssertionError, LookupError, ValueError):
                return law.__name__
    return None


def _said(key: str, authority: Authority, clock: int, outcome: Outcome) -> Delta:
    return Delta(key, authority, clock=clock, nodes={"a": NodeDelta(outcome=outcome)})


def pairs() -> Iterator[Scenario]:
    """Every two reports of one node which differ in any part of their stamps, in both orders."""
    ends = ((1, "executing"), (1, "succeeded"), (1, "failed"), (2, "succeeded"), (2, "retrying"))
    said: list[Delta] = []
    for (attempt, status), authority, clock in itertools.product(ends, Authority, (2, 3)):
        error = {"type": "E", "message": "m", "attempt": attempt}
        outcome = Outcome(
            attempt,
            status,
            output_payload=len(said) if status == "succeeded" else None,
            error=error if status in ("failed", "retrying") else None,
            execution_time=len(said) / 4,
        )
        said.append(_said(f"d{99 - len(said)}", authority, clock, outcome))
    for pair in itertools.permutations(said, 2):
        yield Scenario((*DECLARED, *pair), (*pair, *DECLARED), 3)


def rare() -> Iterator[Scenario]:
    """What is drawn too rarely to rely on."""
    said = [_said("d", Authority.STEP, 2, Outcome(1, "succeeded", rows)) for rows in (1, 2)]
    written = [
        Delta("w", Authority.STEP, clock=2, artifacts={"x": "/1"}),
        Delta("d", Authority.RUN, clock=3, artifacts={"x": None}),
    ]
    for one, other in (said, written):
        yield Scenario((*DECLARED, one, other), (*DECLARED, other, one), 3)
    equal_in_python = (
        _said("d1", Authority.STEP, 1, Outcome(1, "succeeded", {"k": 1})),
        _said("d2", Authority.STEP, 2, Outcome(1, "succeeded", {"k": True})),
    )
    yield Scenario((*DECLARED, *equal_in_python), (*DECLARED, *equal_in_python), 3)


@pytest.fixture(scope="module")
def corpus() -> list[Scenario]:
    drawn = [*rare()]

    @settings(
        max_examples=400,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(scenarios())
    def draw(scenario: Scenario) -> None:
        drawn.append(scenario)

    draw()
    return [*drawn, *pairs()]


def _stamp(make: Callable[[Outcome, int, int, str], Stamp]) -> Mutant:
    return lambda patch: patch.setattr(lattice, "outcome_stamp", make)


def _greater(choose: Callable[[Register[Any], Register[Any]], Register[Any]]) -> Mutant:
    def greater(a: Register[Any] | None, b: Register[Any] | None) -> Register[Any] | None:
        if a is None or b is None:
            return b if a is None else a
        return choose(a, b)

    def install(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(lattice, "greater", greater)
        patch.setattr(replicas, "greater", greater)

    return install


def _after_join(change: Callable[[NodeLattice, NodeLattice, NodeLattice], NodeLattice]) -> Mutant:
    real = lattice.join
    return lambda patch: patch.setattr(replicas, "join", lambda a, b: change(a, b, real(a, b)))


def _method(owner: type, name: str, body: Callable[..., Any]) -> Mutant:
    return lambda patch: patch.setattr(owner, name, body)


def _evidence(change: Callable[[Mapping[int, Evidence]], Mapping[int, Evidence]]) -> Mutant:
    real = lattice.observation
    return lambda patch: patch.setattr(lattice, "observation", lambda log: real(change(log)))


class Torn(Outcome):
    """An outcome whose members each have a stamp of their own."""

    parts: dict[str, Register[Any]]


def _torn(a: Register[Any], b: Register[Any]) -> Register[Any]:
    if not isinstance(a.value, Outcome):
        return max(a, b, key=lambda register: (register.stamp, lattice.text(register.value)))
    parts: dict[str, Register[Any]] = {}
    for register in (a, b):
        for name, part in _parts(register).items():
            known = parts.get(name)
            parts[name] = part if known is None or part.stamp > known.stamp else known
    winner = max(a, b, key=lambda register: register.stamp)
    torn = Torn(winner.value.attempt, **{name: part.value for name, part in parts.items()})
    object.__setattr__(torn, "parts", parts)
    return Register(winner.stamp, torn)


def _parts(register: Register[Outcome]) -> dict[str, Register[Any]]:
    if isinstance(register.value, Torn):
        return register.value.parts
    fields = {"status": register.value.status, "execution_time": register.value.execution_time}
    for name in ("error", "output_payload"):
        # Under a stamp of its own a field is written where there is something to write.
        if (value := getattr(register.value, name)) is not None:
            fields[name] = value
    return {name: Register(register.stamp, value) for name, value in fields.items()}


def _unmasked_input(node: NodeLattice) -> dict[str, Any]:
    record = _record(node)
    return record | {"input_payload": None if node.input is None else node.input.value}


def _first_seen_evidence(a: NodeLattice, b: NodeLattice, joined: NodeLattice) -> NodeLattice:
    log = {**b.evidence, **a.evidence}
    return joined._replace(evidence=log, observed=lattice.observation(log) if log else None)


def _stale_observation(a: NodeLattice, b: NodeLattice, joined: NodeLattice) -> NodeLattice:
    return joined._replace(observed=lattice.greater(a.observed, b.observed))


def _forget_tombstone(replica: Replica, name: str, register: Register[str | None]) -> set[Any]:
    changed = _join_artifact(replica, name, register)
    if replica._artifacts[name].value is None:
        del replica._artifacts[name]
    return changed


def _keep_first_artifact(replica: Replica, name: str, register: Register[str | None]) -> set[Any]:
    return set() if name in replica._artifacts else _join_artifact(replica, name, register)


def _fold_last(replica: Replica, deltas: Iterable[Delta]) -> None:
    for delta in [*deltas][-1:]:
        replica.apply(delta)


def _shared_copy(replica: Replica) -> Replica:
    copy = _copy(replica)
    copy._nodes = replica._nodes
    return copy


def _copy_without_tombstones(replica: Replica) -> Replica:
    copy = _copy(replica)
    copy._artifacts = {n: r for n, r in replica._artifacts.items() if r.value is not None}
    return copy


def _leaves_by_python_equality(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(replicas, "same", lambda a, b: a == b)


def _success_over_failure(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(RANK, "succeeded", RANK["failed"] + 1)


def _failed_below_retrying(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(RANK, "failed", RANK["succeeded"])


def _last_write_once(patch: pytest.MonkeyPatch) -> None:
    def last(a: Any, b: Any) -> Any:
        return a if b is None else b

    patch.setattr(lattice, "write_once", last)
    patch.setattr(replicas, "write_once", last)


def _artifacts_by_authority(patch: pytest.MonkeyPatch) -> None:
    real = lattice.singleton

    def singleton(delta: Any) -> Any:
        known = real(delta)
        ranked = {
            name: register._replace(stamp=register.stamp._replace(authority=delta.authority))
            for name, register in known.artifacts.items()
        }
        return known._replace(artifacts=ranked)

    patch.setattr(replicas, "singleton", singleton)


def _nodes_in_order_of_arrival(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Replica, "_ordered_records", lambda replica: replica._records)


_record, _copy, _join_artifact = NodeLattice.record, Replica.copy, Replica._join_artifact

MUTANTS: dict[str, Mutant] = {
    "no attempt in the stamp": _stamp(
        lambda o, authority, clock, key: Stamp(0, RANK[o.status], authority, clock, key)
    ),
    "no rank in the stamp": _stamp(
        lambda o, authority, clock, key: Stamp(o.attempt, 0, authority, clock, key)
    ),
    "no authority in the stamp": _stamp(
        lambda o, authority, clock, key: Stamp(o.attempt, RANK[o.status], 0, clock, key)
    ),
    "no clock in the stamp": _stamp(
        lambda o, authority, clock, key: Stamp(o.attempt, RANK[o.status], authority, 0, key)
    ),
    "no delta id in the stamp, first wins": _greater(
        lambda a, b: b if b.stamp[:4] > a.stamp[:4] else a
    ),
    "clock before authority": _stamp(
        lambda o, authority, clock, key: Stamp(o.attempt, RANK[o.status], clock, authority, key)
    ),
    "rank before attempt": _stamp(
        lambda o, authority, clock, key: Stamp(RANK[o.status], o.attempt, authority, clock, key)
    ),
    "authority upside down": _stamp(
        lambda o, authority, clock, key: Stamp(o.attempt, RANK[o.status], -authority, clock, key)
    ),
    "success over failure": _success_over_failure,
    "failed below retrying": _failed_below_retrying,
    "last writer wins by arrival": _greater(lambda _a, b: b),
    "first writer wins by arrival": _greater(lambda a, _b: a),
    "logical clock alone": _greater(lambda a, b: max(a, b, key=lambda r: r.stamp[3:])),
    "equal stamps by arrival": _greater(lambda a, b: a if a.stamp >= b.stamp else b),
    "members of the outcome under stamps of their own": _greater(_torn),
    "input not masked by a newer attempt": _method(NodeLattice, "record", _unmasked_input),
    "error not masked by success": _method(
        NodeLattice,
        "record",
        lambda node: (
            _record(node) | ({"error": node.observed.value.error} if node.observed else {})
        ),
    ),
    "worker not masked by a newer attempt": _method(
        Replica,
        "worker",
        lambda r, name: w.value if (w := r._nodes.get(name, NodeLattice()).worker) else None,
    ),
    "retries not counted": _evidence(
        lambda log: {
            i: replace(e, kind="failure") if e.kind == "retry" else e for i, e in log.items()
        }
    ),
    "a retry belongs to the attempt which it begins": _evidence(
        lambda log: {2 * i - 3 * (e.kind == "retry"): e for i, e in log.items()}
    ),
    "events counted in order of arrival": lambda patch: patch.setattr(
        lattice, "sorted", list, raising=False
    ),
    "observation joined, not derived": _after_join(_stale_observation),
    "of two texts of an event the first seen": _after_join(_first_seen_evidence),
    "reports hide the log": _method(
        NodeLattice,
        "current",
        lambda node: (node.outcome or node.observed or Register(None, Outcome(0, "pending"))).value,
    ),
    "the log has the step's authority": lambda patch: patch.setattr(
        lattice, "Authority", type("Authority", (), {"RECONCILIATION": 4, "STEP": Authority.STEP})
    ),
    "tombstone forgotten": _method(Replica, "_join_artifact", _forget_tombstone),
    "first artifact stays": _method(Replica, "_join_artifact", _keep_first_artifact),
    "artifacts by authority": _artifacts_by_authority,
    "a copy forgets tombstones": _method(Replica, "copy", _copy_without_tombstones),
    "a copy shares its nodes": _method(Replica, "copy", _shared_copy),
    "folding many joins the last": _method(Replica, "fold", _fold_last),
    "the last of two initializations": _last_write_once,
    "the last of two reports": lambda patch: patch.setattr(
        replicas, "first_report", lambda _a, b: b
    ),
    "the later of two reports": lambda patch: patch.setattr(
        replicas, "first_report", lambda a, b: b if a is None or b["version"] > a["version"] else a
    ),
    "settled goes back": _after_join(lambda _a, b, joined: joined._replace(settled=b.settled)),
    "join forgets evidence": _after_join(lambda a, _b, j: j._replace(evidence=a.evidence)),
    "changed leaves by Python's equality": _leaves_by_python_equality,
    "nodes in order of arrival": _nodes_in_order_of_arrival,
}


def test_the_real_lattice_keeps_every_law(corpus: list[Scenario]) -> None:
    assert broken_law(corpus) is None


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_broken_lattice_is_caught(
    mutant: str, corpus: list[Scenario], monkeypatch: pytest.MonkeyPatch
) -> None:
    MUTANTS[mutant](monkeypatch)
    assert broken_law(corpus) is not None, f"no law notices: {mutant}"
