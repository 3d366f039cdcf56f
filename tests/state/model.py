"""What spec 1.5 says the state of a set of deltas is, written down once more and plainly.

Nothing is joined here: each field is the greatest of all that was ever said of it.
"""

import json
from collections.abc import Collection, Iterable
from typing import Any

from aether_dagster.state import Delta

PIPELINE = ("id", "version", "start_timestamp", "config_hash")
RANKS = ("pending", "executing", "succeeded", "retrying", "failed")
STATUS = {
    "start": "executing",
    "restart": "executing",
    "retry": "retrying",
    "success": "succeeded",
    "failure": "failed",
}


def expected(deltas: Collection[Delta]) -> dict[str, Any]:
    """Returns the state document, the report, and what stands beside the document."""
    names = {name for delta in deltas for name in delta.nodes}
    nodes = {name: _node(name, deltas) for name in names}
    declared = sorted((n["index"], name) for name, n in nodes.items() if n["record"]["node_id"])
    pipeline = _once(delta.pipeline for delta in deltas) or {}
    context = _once(delta.context for delta in deltas) or {}
    reports = [delta.report | {"version": delta.clock} for delta in deltas if delta.report]
    return {
        "document": {
            "pipeline": {key: pipeline[key] for key in PIPELINE if key in pipeline},
            "nodes": {name: nodes[name]["record"] for _, name in declared},
            "context": {
                "environment_vars": dict(sorted(context.get("environment_vars", {}).items())),
                "secret_store": context.get("secret_store"),
                "active_plugins": context.get("active_plugins", []),
                "artifacts": _artifacts(deltas),
            },
        },
        "report": min(reports, key=lambda r: (r["version"], _text(r)), default=None),
        "settled": {name: nodes[name]["settled"] for name in names},
        "worker": {name: nodes[name]["worker"] for name in names},
    }


def _node(name: str, deltas: Collection[Delta]) -> dict[str, Any]:
    said = [(delta, delta.nodes[name]) for delta in deltas if name in delta.nodes]
    index, node_id = _once((n.index, n.node_id) for _, n in said if n.node_id) or (0, None)
    claims = [
        (
            (n.outcome.attempt, RANKS.index(n.outcome.status), delta.authority, delta.clock),
            delta.id,
            _group(n.outcome),
        )
        for delta, n in said
        if n.outcome
    ]
    claims += _observed([item for _, n in said for item in n.evidence.items()])
    stamp, _, group = max(claims, key=_greatest, default=((0,), "", _group(None)))
    attempt = stamp[0]
    here = [(delta, n) for delta, n in said if n.outcome and n.outcome.attempt == attempt]
    by_authority = [(((delta.authority, delta.clock), delta.id), n) for delta, n in here]
    given = [(*key, n.input_payload) for key, n in by_authority if n.has_input]
    workers = [(*key, n.worker) for key, n in by_authority if n.worker]
    return {
        "index": index,
        "settled": max(n.settled for _, n in said),
        "worker": max(workers, key=_greatest, default=(None,))[-1],
        "record": {
            "node_id": node_id,
            "status": group["status"],
            "input_payload": max(given, key=_greatest, default=(None,))[-1],
            "output_payload": group["output_payload"],
            "error": group["error"],
            "retry_count": max(0, attempt - 1),
            "execution_time": group["execution_time"],
        },
    }


def _observed(events: list[tuple[int, Any]]) -> list[tuple[tuple[int, ...], str, Any]]:
    claims = []
    log = {i: max((e for j, e in events if j == i), key=_text) for i, _ in events}
    for event_id, event in log.items():
        earlier = [log[i] for i in sorted(log) if i < event_id]
        attempt = 1 + sum(e.kind == "retry" for e in earlier)
        started = None
        for e in [*earlier, event]:
            if e.kind in ("start", "restart"):
                started = e.time
            elif e.kind == "retry" and e is not event:
                started = None
        error = event.error and {
            "type": event.error["type"],
            "message": event.error["message"],
            "attempt": attempt,
            **{k: v for k, v in event.error.items() if k == "traceback"},
        }
        group = {
            "status": STATUS[event.kind],
            "output_payload": None,
            "error": error,
            "execution_time": 0.0 if started is None else max(0.0, event.time - started),
        }
        stamp = (attempt, RANKS.index(STATUS[event.kind]), 1, event_id)
        claims.append((stamp, f"dagster:{event_id}", group))
    return claims


def _artifacts(deltas: Iterable[Delta]) -> dict[str, str]:
    writes = [
        (name, ((delta.clock,), delta.id, value))
        for delta in deltas
        for name, value in delta.artifacts.items()
    ]
    last = {n: max((w for m, w in writes if m == n), key=_greatest)[-1] for n, _ in writes}
    return {name: last[name] for name in sorted(last) if last[name] is not None}


def _group(outcome: Any) -> dict[str, Any]:
    return {
        "status": outcome.status if outcome else "pending",
        "output_payload": outcome.output_payload if outcome else None,
        "error": outcome.error if outcome else None,
        "execution_time": outcome.execution_time if outcome else 0.0,
    }


def _greatest(claim: tuple[Any, str, Any]) -> tuple[Any, str, str]:
    return (*claim[:-1], _text(claim[-1]))


def _once(values: Iterable[Any]) -> Any:
    return max((v for v in values if v), key=_text, default=None)


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), default=lambda part: part.to_json())
