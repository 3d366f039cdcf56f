"""A folder of the state history as versions, so that it can be played without its journal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aether_dagster.errors import SnapshotError
from aether_dagster.journal import ExecutionRecord, Version
from aether_dagster.snapshot import INIT, ExecutionHistory, attempt_name
from aether_dagster.state import Authority, Delta, NodeDelta, Outcome

# Files are written soon after the commit, unless somebody copied them.
_WRITTEN_WITHIN = 60.0

Event = tuple[float, Delta]


def history_versions(history: ExecutionHistory, written: Mapping[str, float]) -> list[Version]:
    """Returns versions which fold to what the files of an execution say.

    A record says how long an attempt took and not when. That is taken from the times at which the
    files were written, unless these were copied later; then one attempt follows the other.

    Args:
        history: The folder's content.
        written: When its files were written, in Unix seconds, by name.

    Raises:
        SnapshotError: The folder has no `state_init.json`.
    """
    if history.init is None:
        raise SnapshotError(f"The folder {history.folder} holds no state_init.json to play.")
    init = history.init
    pipeline_id = str(init["pipeline"]["id"])
    start = float(init["pipeline"]["start_timestamp"])
    events = [(start, _beginning(init))]
    events += sorted(_attempts(history, written, start), key=lambda event: event[0])
    if history.final is not None:
        end = float(history.final["report"]["end_timestamp"])
        events.append((max(end, events[-1][0]), _end(init, history.final)))
    return [
        Version(pipeline_id, number, round(at, 3), (replace(delta, clock=number),))
        for number, (at, delta) in enumerate(events, start=1)
    ]


def recorded(history: ExecutionHistory, versions: Sequence[Version]) -> ExecutionRecord:
    """Returns the record of an execution of which only the files are there."""
    report: Mapping[str, Any] = (history.final or {}).get("report", {})
    pipeline: Mapping[str, Any] = (history.init or {})["pipeline"]
    return ExecutionRecord(
        pipeline_id=versions[0].pipeline_id,
        run_id="",
        # The files do not say what the pipeline is called.
        pipeline=versions[0].pipeline_id,
        partition=None,
        resumed_from=report.get("resumed_from"),
        config_hash=pipeline["config_hash"],
        created_at=pipeline["start_timestamp"],
        head=len(versions),
        committed_at=versions[-1].committed_at,
        status=report.get("status", "pending"),
        nodes=report.get("nodes", {}),
        finalized=len(versions) if report else None,
        ended_at=report.get("end_timestamp"),
        history=history.folder,
    )


def _beginning(init: Mapping[str, Any]) -> Delta:
    context = init["context"]
    return Delta(
        "initialize",
        Authority.RUN,
        pipeline=init["pipeline"],
        context={key: value for key, value in context.items() if key != "artifacts"},
        nodes={
            name: _node(record, index=index)
            for index, (name, record) in enumerate(init["nodes"].items())
        },
        artifacts=context["artifacts"],
    )


def _attempts(
    history: ExecutionHistory, written: Mapping[str, float], start: float
) -> Iterator[Event]:
    ended = [
        (record, written.get(attempt_name(record["node_id"], number), 0.0))
        for records in history.attempts.values()
        for number, record in enumerate(records, start=1)
    ]
    report = (history.final or {}).get("report", {})
    # Who copies files copies the first one too.
    known = abs(written.get(INIT, 0.0) - start) < _WRITTEN_WITHIN and all(at for _, at in ended)
    total = sum(record["execution_time"] for record, _ in ended)
    scale = min(1.0, report["duration"] / total) if report and total else 1.0
    cursor = start
    for name, records in history.attempts.items():
        for number, record in enumerate(records, start=1):
            seconds = record["execution_time"]
            if known:
                end = written[attempt_name(record["node_id"], number)]
            else:
                end = cursor = cursor + seconds * scale
                seconds *= scale
            running = Outcome(record["retry_count"] + 1, "executing")
            began = NodeDelta(
                outcome=running, has_input=True, input_payload=record["input_payload"]
            )
            label = f"{name}-{number}"
            yield (
                max(start, end - seconds),
                Delta(f"{label}-start", Authority.STEP, nodes={name: began}),
            )
            yield end, Delta(f"{label}-end", Authority.STEP, nodes={name: _node(record)})


def _end(init: Mapping[str, Any], final: Mapping[str, Any]) -> Delta:
    before, after = init["context"]["artifacts"], final["context"]["artifacts"]
    gone: dict[str, str | None] = dict.fromkeys(before.keys() - after.keys())
    return Delta(
        "finalize",
        Authority.RUN,
        nodes={name: _node(record) for name, record in final["nodes"].items()},
        artifacts={**gone, **after},
        report=final["report"],
    )


def _node(record: Mapping[str, Any], *, index: int | None = None) -> NodeDelta:
    status = record["status"]
    outcome = Outcome(
        0 if status == "pending" else record["retry_count"] + 1,
        status,
        record["output_payload"],
        record["error"],
        record["execution_time"],
    )
    return NodeDelta(
        node_id=None if index is None else record["node_id"],
        index=index,
        outcome=outcome,
        has_input=True,
        input_payload=record["input_payload"],
    )
