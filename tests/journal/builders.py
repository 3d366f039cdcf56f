"""Deltas and executions as the journal's tests need them."""

from itertools import count

from aether_dagster.journal import ExecutionRecord, Journal
from aether_dagster.state import Authority, Delta, NodeDelta, Outcome

HASH = "e3b0c44298fc1cd"
DOCUMENT = {"metadata": {"name": "quakes"}, "steps": [{"id": "load"}]}
PLUGIN = "Notes@1.0.0"
X, Y = "context.artifacts.x", "context.artifacts.y"
_runs = count(1)


def reserve(
    journal: Journal,
    run_id: str | None = None,
    pipeline: str = "quakes",
    *,
    now_ms: int | None = None,
    resumed_from: str | None = None,
) -> ExecutionRecord:
    return journal.reserve(
        run_id or f"run-{next(_runs)}",
        pipeline,
        now_ms=now_ms,
        config_hash=HASH,
        document=DOCUMENT,
        resumed_from=resumed_from,
    )


def initialization(pipeline_id: str, *names: str) -> Delta:
    return Delta(
        "init",
        Authority.RUN,
        pipeline={
            "id": pipeline_id,
            "version": "1.0.0",
            "start_timestamp": 1689876543.212,
            "config_hash": HASH,
        },
        context={"environment_vars": {}, "secret_store": None, "active_plugins": []},
        nodes={
            name: NodeDelta(node_id=f"{name}_0000000{index}", index=index)
            for index, name in enumerate(names)
        },
    )


def outcome(delta_id: str, node: str, attempt: int, status: str, output: object = None) -> Delta:
    return Delta(
        delta_id,
        Authority.STEP,
        nodes={node: NodeDelta(outcome=Outcome(attempt, status, output))},
    )


def artifact(delta_id: str, name: str, value: str | None) -> Delta:
    return Delta(delta_id, Authority.STEP, artifacts={name: value})


def report(status: str = "succeeded", end: float = 1689876550.5) -> Delta:
    return Delta(
        "finalize",
        Authority.RUN,
        report={
            "status": status,
            "end_timestamp": end,
            "duration": 7.288,
            "nodes": {"succeeded": 2},
            "retries": 0,
            "failed": [],
            "version": 0,
        },
    )
