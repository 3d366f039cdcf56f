"""A replica as the fewest deltas which fold to it, so that a long journal need not be folded anew.

Every register keeps the stamp it was written under, for a stamp is what a delta of that id,
authority and clock gives it. So whatever comes later joins as it would with the original.
"""

from collections.abc import Iterable

from aether_dagster.state.delta import Authority, Delta, NodeDelta, Outcome, Stamp
from aether_dagster.state.lattice import NodeLattice
from aether_dagster.state.replica import Replica
from aethersdk.state import NodeStatus

_Key = tuple[str, Authority, int]


def checkpoint(replica: Replica) -> list[Delta]:
    """Returns deltas which fold to a replica that knows the same."""
    known = replica.knowledge()
    unstamped = Delta(
        id="",
        authority=Authority.RECONCILIATION,
        # A report's version is the clock of its delta.
        clock=0 if known.report is None else known.report["version"],
        pipeline=known.pipeline,
        context=known.context,
        report=known.report,
        nodes={name: _unstamped(node) for name, node in known.nodes.items()},
    )
    nodes: dict[_Key, dict[str, NodeDelta]] = {}
    artifacts: dict[_Key, dict[str, str | None]] = {}
    older: list[Delta] = []
    for name, node in known.nodes.items():
        if node.outcome is not None:
            stamp, outcome = node.outcome
            nodes.setdefault(_key(stamp), {})[name] = _reported(node, stamp, outcome)
        older += _from_older_deltas(name, node)
    for name, (stamp, value) in known.artifacts.items():
        artifacts.setdefault(_key(stamp), {})[name] = value
    stamped = [
        Delta(
            id=key[0],
            authority=key[1],
            clock=key[2],
            nodes=nodes.get(key, {}),
            artifacts=artifacts.get(key, {}),
        )
        for key in {**nodes, **artifacts}
    ]
    return [unstamped, *stamped, *older]


def restore(deltas: Iterable[Delta], version: int) -> Replica:
    """Returns the replica of a checkpoint, as of a version."""
    replica = Replica()
    for delta in deltas:
        replica.apply(delta)
    replica.version = version
    return replica


def _unstamped(node: NodeLattice) -> NodeDelta:
    index, node_id = (None, None) if node.declared is None else node.declared
    return NodeDelta(node_id=node_id, index=index, settled=node.settled, evidence=node.evidence)


def _key(stamp: Stamp) -> _Key:
    return (stamp.delta_id, Authority(stamp.authority), stamp.clock)


def _reported(node: NodeLattice, stamp: Stamp, outcome: Outcome) -> NodeDelta:
    unranked = stamp._replace(rank=0)
    given = node.input if node.input and node.input.stamp == unranked else None
    worker = node.worker if node.worker and node.worker.stamp == unranked else None
    return NodeDelta(
        outcome=outcome,
        input_payload=None if given is None else given.value,
        has_input=given is not None,
        worker=None if worker is None else worker.value,
    )


def _from_older_deltas(name: str, node: NodeLattice) -> list[Delta]:
    """Input and worker, where another delta than the outcome's reported them."""
    newest = None if node.outcome is None else node.outcome.stamp._replace(rank=0)
    stamps = {
        register.stamp
        for register in (node.input, node.worker)
        if register is not None and register.stamp != newest
    }
    # The outcome of that delta has lost already, so the lowest of its attempt loses as well.
    return [
        Delta(
            id=stamp.delta_id,
            authority=Authority(stamp.authority),
            clock=stamp.clock,
            nodes={name: _reported(node, stamp, Outcome(stamp.attempt, NodeStatus.PENDING.value))},
        )
        for stamp in sorted(stamps)
    ]
