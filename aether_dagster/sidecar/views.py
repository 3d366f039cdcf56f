"""What a page asks for beside the stream: the graph, the versions, the attempts of the nodes."""

from typing import Any

from aether_dagster.protocol.messages import EXECUTING, Message, snapshot
from aether_dagster.sidecar.source import Source, started_times
from aether_dagster.state import Replica

_AT_ONCE = 1000


def state_at(source: Source, pipeline_id: str, version: int) -> Message:
    """Returns the snapshot of a past version.

    Raises:
        UnknownExecution: There is no such execution.
        StateError: It has no such version.
    """
    replica = source.replica(pipeline_id, version)
    started = started_times(source, replica, pipeline_id)
    committed = source.versions(pipeline_id, version - 1, version)
    return snapshot(replica.document(), committed[0].committed_at if committed else 0.0, started)


def pipeline(source: Source, pipeline_id: str) -> dict[str, Any]:
    """Returns what is known of an execution beside its state: the graph, and where it ran.

    No arguments of steps are in it, and so nothing which they hold.
    """
    # The language is a third of a second, which only this needs.
    from aether_dagster.script.dependencies import link
    from aether_dagster.script.findings import Findings
    from aether_dagster.script.rules import items_at, mapping_at

    record = source.record(pipeline_id)
    raw: Any = record.document or {}
    links = link(raw, Findings("journal"), None)
    steps = {str(step.get("id")): step for step in items_at(raw, "pipeline", "steps")}
    metadata = mapping_at(raw, "metadata")
    return {
        "pipeline_id": record.pipeline_id,
        "name": record.pipeline,
        "description": metadata.get("description"),
        "run_id": record.run_id,
        "partition": record.partition,
        "resumed_from": record.resumed_from,
        "created_at": record.created_at,
        "status": EXECUTING if record.finalized is None else record.status,
        "head": record.head,
        "finalized": record.finalized,
        "ended_at": record.ended_at,
        "history": record.history,
        "steps": [
            {
                "id": name,
                "type": steps[name].get("type"),
                "description": steps[name].get("description"),
                "dependencies": list(links.dependencies.get(name, ())),
                "retries": steps[name].get("retries"),
                "timeout": steps[name].get("timeout"),
            }
            for name in links.order
            if name in steps
        ],
    }


def versions(source: Source, pipeline_id: str) -> dict[str, Any]:
    """Returns number and commit time of every version."""
    found = [[v.number, v.committed_at] for v in source.versions(pipeline_id)]
    return {"versions": found}


def attempts(source: Source, pipeline_id: str, node: str | None = None) -> dict[str, Any]:
    """Returns when the attempts of the nodes began and ended.

    Args:
        source: Where to read.
        pipeline_id: The execution.
        node: Of this node only; then with its record at the end of each attempt.
    """
    replica = Replica()
    found: dict[str, dict[int, dict[str, Any]]] = {}
    head = source.record(pipeline_id).head
    while replica.version < head:
        upto = min(replica.version + _AT_ONCE, head)
        for version in source.versions(pipeline_id, replica.version, upto):
            touched: set[str] = set()
            for delta in () if version.late else version.deltas:
                paths = replica.apply(delta)
                touched.update(path[1] for path in paths if path[0] == "nodes")
            for name in touched if node is None else touched & {node}:
                _observe(found.setdefault(name, {}), replica, name, version.committed_at, node)
        replica.version = upto
    ordered = (name for name in replica.nodes() if name in found)
    return {"nodes": {name: list(found[name].values()) for name in ordered if found[name]}}


def _observe(
    found: dict[int, dict[str, Any]],
    replica: Replica,
    name: str,
    committed_at: float,
    node: str | None,
) -> None:
    attempt, record = replica.outcome(name).attempt, replica.node(name)
    if attempt == 0:
        return
    status = record["status"]
    known = found.setdefault(
        attempt, {"attempt": attempt, "status": status, "started": committed_at, "ended": None}
    )
    if status != EXECUTING and (known["ended"] is None or known["status"] != status):
        known["ended"] = committed_at
    known["status"] = status
    if node is not None:
        known["record"] = dict(record)
