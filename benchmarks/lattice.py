"""The lattice against a plain dict and against pycrdt, on one execution's reports.

    python benchmarks/lattice.py [NODES]

Needs `pip install pycrdt`, which the product does not. All run in one process, in turns; ratios
are to the plain dict, which takes the last report for the truth and so is wrong under reordering.
The documents are compared after delivery in order, and again shuffled and partly doubled. There
pycrdt 0.14 holds back an update whose predecessor is missing, and does not always pick it up when
that has come; its updates once more, in order, repair it.
"""

import random
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from pycrdt import Doc, Map

from aether_dagster.state import Authority, Delta, NodeDelta, Outcome, Replica

ROUNDS = 7
Reports = list[tuple[str, int, str, dict[str, Any]]]


def reports(nodes: int) -> Reports:
    """Returns (step, attempt, status, fields); every tenth step is retried once."""
    found: Reports = []
    for i in range(nodes):
        attempts = 2 if i % 10 == 0 else 1
        for attempt in range(1, attempts + 1):
            last = attempt == attempts
            error = None if last else {"type": "E", "message": "m", "attempt": attempt}
            ended = {
                "output_payload": {"rows": i} if last else None,
                "error": error,
                "execution_time": 0.5,
            }
            started = {"output_payload": None, "error": None, "execution_time": 0.0}
            found.append((f"s{i}", attempt, "executing", started))
            found.append((f"s{i}", attempt, "succeeded" if last else "retrying", ended))
    return found


def lattice_deltas(told: Reports) -> list[Delta]:
    names = dict.fromkeys(name for name, *_ in told)
    declared = {name: NodeDelta(f"{name}_01H3XYZ9", i) for i, name in enumerate(names)}
    return [
        Delta("init", Authority.RUN, clock=1, nodes=declared),
        *(
            Delta(
                f"{name}-{attempt}-{status}",
                Authority.STEP,
                clock=clock,
                nodes={name: NodeDelta(outcome=Outcome(attempt, status, **fields))},
            )
            for clock, (name, attempt, status, fields) in enumerate(told, start=2)
        ),
    ]


def fold_lattice(deltas: list[Delta]) -> dict[str, Any]:
    replica = Replica()
    for delta in deltas:
        replica.apply(delta)
    return _shown(replica.document()["nodes"])


def fold_dict(told: Reports) -> dict[str, Any]:
    nodes: dict[str, dict[str, Any]] = {}
    for name, attempt, status, fields in told:
        nodes.setdefault(name, {}).update(status=status, retry_count=attempt - 1, **fields)
    return _shown(nodes)


def pycrdt_updates(told: Reports) -> list[bytes]:
    """Returns one update per report, made by one writer, as a run would broadcast them."""
    updates: list[bytes] = []
    doc = Doc()
    nodes = doc.get("nodes", type=Map)
    subscription = doc.observe(lambda event: updates.append(event.update))
    with doc.transaction():
        for name in dict.fromkeys(name for name, *_ in told):
            nodes[name] = Map({"retry_count": 0})
    for name, attempt, status, fields in told:
        with doc.transaction():
            nodes[name].update({"status": status, "retry_count": attempt - 1, **fields})
    doc.unobserve(subscription)
    return updates


def fold_pycrdt(updates: list[bytes]) -> dict[str, Any]:
    doc = Doc()
    nodes = doc.get("nodes", type=Map)
    for update in updates:
        doc.apply_update(update)
    return _shown(nodes.to_py() or {})


def main(nodes: int) -> None:
    told = reports(nodes)
    deltas, updates = lattice_deltas(told), pycrdt_updates(told)
    wanted = fold_dict(told)
    contenders: dict[str, tuple[Callable[[Any], dict[str, Any]], list[Any]]] = {
        "plain dict": (fold_dict, told),
        "lattice": (fold_lattice, deltas),
        f"pycrdt {version('pycrdt')}": (fold_pycrdt, updates),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, (fold, given) in contenders.items():
            begin = time.perf_counter()
            state = fold(given)
            seconds[name].append(time.perf_counter() - begin)
            assert state == wanted, name
    base = min(seconds["plain dict"])
    print(f"{nodes} nodes, {len(told)} reports, best of {ROUNDS}\n")
    print(f"{'':16}{'µs/report':>10}{'to dict':>9}   reordered and doubled")
    for name, (fold, given) in contenders.items():
        best = min(seconds[name])
        wrong = _wrong(wanted, fold(_disturbed(given)))
        verdict = "same state" if not wrong else f"{wrong} of {nodes} nodes wrong"
        print(f"{name:16}{best / len(told) * 1e6:10.2f}{best / base:9.1f}   {verdict}")
    fold, given = contenders["lattice"]
    _, theirs = list(contenders)[1:]
    print(f"\nlattice : pycrdt = 1 : {min(seconds[theirs]) / min(seconds['lattice']):.1f}")


def _shown(nodes: dict[str, Any]) -> dict[str, Any]:
    keys = ("status", "retry_count", "output_payload", "error", "execution_time")
    return {name: [record.get(key) for key in keys] for name, record in nodes.items()}


def _disturbed(given: list[Any]) -> list[Any]:
    chance = random.Random(7)
    disturbed = given + chance.choices(given, k=len(given) // 5)
    chance.shuffle(disturbed)
    return disturbed


def _wrong(wanted: dict[str, Any], found: dict[str, Any]) -> int:
    return sum(found.get(name) != record for name, record in wanted.items())


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
