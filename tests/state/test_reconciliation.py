"""Dagster's step events as evidence: whatever part of them arrives where, in whatever order."""

from dataclasses import dataclass
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether_dagster.state import Authority, Delta, Evidence, NodeDelta, Outcome, Replica
from aether_dagster.state.document import canonical_bytes
from tests.state.laws import replica_of, shown

BOOM = {"type": "ValueError", "message": "no rows", "traceback": "…"}
LOST = {"type": "WorkerLost", "message": "the step's process died"}
CANCELLED = {"type": "Cancelled", "message": "the run was cancelled"}


@dataclass(frozen=True)
class History:
    """Events of one step in Dagster's order, and the record which they amount to."""

    events: tuple[Evidence, ...]
    status: str
    retry_count: int
    error: str | None


def _history(retries: int, *end: tuple[str, dict[str, str] | None]) -> tuple[Evidence, ...]:
    told: list[tuple[str, dict[str, str] | None]] = [("start", None)]
    for _ in range(retries):
        told += [("retry", BOOM), ("restart", None)]
    return tuple(
        Evidence(kind, error, 10.0 + i / 4) for i, (kind, error) in enumerate([*told, *end])
    )


HISTORIES = {
    "success": History(_history(0, ("success", None)), "succeeded", 0, None),
    "success at the third attempt": History(_history(2, ("success", None)), "succeeded", 2, None),
    "failure": History(_history(0, ("failure", BOOM)), "failed", 0, "ValueError"),
    "failure of every attempt": History(_history(3, ("failure", BOOM)), "failed", 3, "ValueError"),
    "cancelled while it runs": History(
        _history(1, ("failure", CANCELLED)), "failed", 1, "Cancelled"
    ),
    "cancelled while it waits": History(_history(1)[:-1], "retrying", 0, "ValueError"),
    "a child which died at its start": History(
        (*_history(1)[:-1], Evidence("failure", LOST, 11.0)), "failed", 1, "WorkerLost"
    ),
    "failed after its output was handled": History(
        _history(0, ("success", None), ("failure", BOOM)), "failed", 0, "ValueError"
    ),
    "still running": History(_history(1), "executing", 1, None),
    "never started": History((), "pending", 0, None),
}


@st.composite
def runs(draw: st.DrawFn) -> tuple[dict[str, History], list[Delta]]:
    """Some steps side by side, each with a history: one event, one delta; their ids interleave."""
    names = draw(st.lists(st.sampled_from(sorted(HISTORIES)), min_size=1, max_size=3))
    chosen = {f"step{i}": HISTORIES[name] for i, name in enumerate(names)}
    waiting = {step: list(history.events) for step, history in chosen.items()}
    order = draw(st.permutations([s for s, events in waiting.items() for _ in events]))
    gaps = draw(st.lists(st.integers(1, 9), min_size=len(order), max_size=len(order)))
    found = [
        Delta(
            f"dagster:{event_id}",
            Authority.RECONCILIATION,
            clock=clock,
            nodes={step: NodeDelta(evidence={event_id: waiting[step].pop(0)})},
        )
        for clock, (step, event_id) in enumerate(zip(order, accumulate(gaps), strict=True), start=2)
    ]
    return chosen, [_declaration(chosen), *found]


def _declaration(steps: dict[str, History]) -> Delta:
    nodes = {s: NodeDelta(node_id=f"{s}_0000000{i}", index=i) for i, s in enumerate(steps)}
    return Delta("init", Authority.RUN, clock=1, nodes=nodes)


def _is_told(replica: Replica, steps: dict[str, History]) -> None:
    for step, history in steps.items():
        record = replica.node(step)
        assert (record["status"], record["retry_count"]) == (history.status, history.retry_count)
        assert (record["error"] and record["error"]["type"]) == history.error
        if history.error:
            assert record["error"]["attempt"] == history.retry_count + 1


@given(runs())
def test_events_in_order_tell_status_attempt_and_error(
    run: tuple[dict[str, History], list[Delta]],
) -> None:
    steps, found = run
    _is_told(replica_of(found), steps)


@settings(deadline=None)
@given(runs(), st.data())
def test_shuffled_doubled_and_in_two_halves_they_tell_the_same(
    run: tuple[dict[str, History], list[Delta]], data: st.DataObject
) -> None:
    steps, found = run
    again = data.draw(st.lists(st.sampled_from(found), max_size=5))
    shuffled = data.draw(st.permutations(found + again))
    sides = data.draw(st.lists(st.booleans(), min_size=len(shuffled), max_size=len(shuffled)))
    halves = [
        replica_of(d for d, side in zip(shuffled, sides, strict=True) if side is half)
        for half in (True, False)
    ]
    halves[0].join(halves[1])
    straight = replica_of(found)
    assert canonical_bytes(halves[0].document()) == canonical_bytes(straight.document())
    _is_told(halves[0], steps)


@given(runs())
def test_one_reading_of_the_whole_log_is_as_good_as_event_by_event(
    run: tuple[dict[str, History], list[Delta]],
) -> None:
    _, found = run
    log: dict[str, dict[int, Evidence]] = {}
    for delta in found[1:]:
        for step, node in delta.nodes.items():
            log.setdefault(step, {}).update(node.evidence)
    nodes = {step: NodeDelta(evidence=events) for step, events in log.items()}
    whole = Delta("recover", Authority.RECONCILIATION, clock=77, nodes=nodes)
    assert shown(replica_of([found[0], whole])) == shown(replica_of(found))


def _live(step: str, history: History) -> list[Delta]:
    """What step side and run side reported of the same attempts while they happened."""
    said: list[Delta] = []
    attempt = 0
    for event in history.events:
        starts = event.kind in ("start", "restart")
        fell_at_start = event.kind == "failure" and said and said[-1].id.endswith("retry")
        attempt += 1 if starts or fell_at_start else 0
        status = {"success": "succeeded", "failure": "failed", "retry": "retrying"}.get(event.kind)
        outcome = Outcome(
            attempt,
            status or "executing",
            {"rows": 3} if event.kind == "success" else None,
            event.error and {**event.error, "attempt": attempt},
            0.0 if starts else 0.25,
        )
        node = NodeDelta(
            outcome=outcome, has_input=starts, input_payload={"n": 1} if starts else None
        )
        authority = Authority.RUN if event.kind in ("retry", "failure") else Authority.STEP
        key = f"{step}:{attempt}:{event.kind}"
        said.append(Delta(key, authority, clock=2 + len(said), nodes={step: node}))
    return said


@pytest.mark.parametrize("name", HISTORIES)
def test_joined_with_live_reports_the_log_changes_nothing(name: str) -> None:
    steps = {"load": HISTORIES[name]}
    live = replica_of([_declaration(steps), *_live("load", steps["load"])])
    _is_told(live, steps)
    events = dict(enumerate(steps["load"].events, start=1000))
    log = Delta("l", Authority.RECONCILIATION, clock=99, nodes={"load": NodeDelta(evidence=events)})
    assert live.apply(log) == frozenset()


@given(
    runs(),
    st.integers(1, 4),
    st.sampled_from(["executing", "succeeded"]),
    st.sampled_from(Authority),
)
def test_a_late_zombie_never_overwrites_how_an_attempt_ended(
    run: tuple[dict[str, History], list[Delta]], attempt: int, status: str, authority: Authority
) -> None:
    steps, found = run
    for step, history in steps.items():
        if history.status not in ("failed", "retrying", "succeeded"):
            continue
        if attempt > history.retry_count + 1 or (history.status, status) == ("succeeded",) * 2:
            continue
        replica = replica_of(found)
        before = replica.document()
        said = NodeDelta(outcome=Outcome(attempt, status))
        assert replica.apply(Delta("z", authority, clock=10**6, nodes={step: said})) == frozenset()
        assert replica.document() == before
