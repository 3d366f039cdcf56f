"""What Hypothesis draws for the state's tests: conflicting deltas, scenarios, documents."""

from dataclasses import dataclass

from hypothesis import strategies as st

from aether_dagster.state import Authority, Delta, Evidence, NodeDelta, Outcome
from aether_dagster.state.delta import EvidenceKind

NAMES = ("a", "b")
KINDS: tuple[EvidenceKind, ...] = ("failure", "start", "retry", "restart", "success", "retry")
ERRORS = ({"type": "E1", "message": "m"}, {"type": "E2", "message": "m", "traceback": "t"})

# 1, 1.0 and True are one value in Python and two in JSON.
payloads = st.sampled_from([None, 1, True, {"k": 1, "l": 2}, {"l": 2, "k": 1}])
inputs = st.sampled_from([None, {}, {"n": 1}, {"n": True}])
errors = st.sampled_from(ERRORS)


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    attempt = draw(st.sampled_from([0, 1, 1, 1, 2, 2, 3]))
    if attempt == 0:
        return Outcome(0, "pending", error=draw(st.none() | errors))
    status = draw(st.sampled_from(["executing", "succeeded", "succeeded", "retrying", "failed"]))
    if status == "executing":
        return Outcome(attempt, status)
    seconds = draw(st.sampled_from([0.5, 1.0]))
    if status == "succeeded":
        return Outcome(attempt, status, draw(payloads), None, seconds)
    return Outcome(attempt, status, None, draw(errors) | {"attempt": attempt}, seconds)


@st.composite
def evidence(draw: st.DrawFn) -> dict[int, Evidence]:
    """Some of Dagster's log. An event has one kind; its text may be told in two ways."""
    log: dict[int, Evidence] = {}
    for event_id in draw(st.sets(st.integers(1, 12), min_size=1, max_size=4)):
        kind = KINDS[event_id % len(KINDS)]
        error = draw(errors) if kind in ("retry", "failure") else None
        log[event_id] = Evidence(kind, error, draw(st.integers(0, 9)) / 2)
    return log


@st.composite
def node_deltas(draw: st.DrawFn) -> NodeDelta:
    kind = draw(st.sampled_from(["declare", "outcome", "outcome", "evidence", "settled"]))
    if kind == "declare":
        return NodeDelta(
            node_id=draw(st.sampled_from(["n_1", "n_2"])), index=draw(st.integers(0, 2))
        )
    if kind == "evidence":
        return NodeDelta(evidence=draw(evidence()))
    if kind == "settled":
        return NodeDelta(settled=draw(st.integers(1, 3)))
    outcome = draw(outcomes())
    has_input = draw(st.booleans())
    return NodeDelta(
        outcome=outcome,
        has_input=has_input,
        input_payload=draw(inputs) if has_input else None,
        worker=draw(st.none() | st.sampled_from(["w1", "w2"])),
    )


def pipelines() -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries(
        {
            "id": st.just("pipeline_01H3XYZ9"),
            "version": st.sampled_from(["1.0.0", "2.0.0"]),
            "start_timestamp": st.just(1689876543.212),
            "config_hash": st.just("e3b0c44298fc1cd"),
        }
    )


def contexts() -> st.SearchStrategy[dict[str, object]]:
    return st.fixed_dictionaries(
        {
            "environment_vars": st.dictionaries(st.sampled_from("BA"), st.sampled_from("xy")),
            "secret_store": st.none() | st.just("vault://aether-prod"),
            "active_plugins": st.sampled_from([[], ["P@1.0.0"]]),
        }
    )


@st.composite
def deltas(draw: st.DrawFn) -> Delta:
    """Deltas which get in each other's way: few nodes, clocks and ids, so stamps even tie."""
    kind = draw(st.sampled_from(["node"] * 7 + ["artifact"] * 2 + ["once", "report"]))
    once = kind == "once"
    artifact = st.dictionaries(
        st.sampled_from(["x", "y"]), st.none() | st.sampled_from(["/1", "/2"]), min_size=1
    )
    return Delta(
        id=draw(st.sampled_from("pqrs")),
        authority=draw(st.sampled_from(Authority)),
        clock=draw(st.integers(1, 3)),
        pipeline=draw(pipelines()) if once else None,
        context=draw(contexts()) if once else None,
        nodes={draw(st.sampled_from("aaab")): draw(node_deltas())} if kind == "node" else {},
        artifacts=draw(artifact) if kind == "artifact" else {},
        report={"status": draw(st.sampled_from(["failed", "succeeded"]))}
        if kind == "report"
        else None,
    )


DECLARED = (
    Delta("init-b", Authority.RUN, clock=1, nodes={"b": NodeDelta(node_id="b_1", index=1)}),
    Delta("init-a", Authority.RUN, clock=1, nodes={"a": NodeDelta(node_id="a_1", index=0)}),
)


@dataclass(frozen=True)
class Scenario:
    """Deltas as they were made, how they arrive (all, some twice), and where halves are cut."""

    made: tuple[Delta, ...]
    arriving: tuple[Delta, ...]
    cut: int


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    made = DECLARED + tuple(draw(st.lists(deltas(), min_size=2, max_size=9)))
    again = draw(st.lists(st.sampled_from(made), max_size=4))
    arriving = draw(st.permutations(made + tuple(again)))
    return Scenario(made, tuple(arriving), draw(st.integers(0, len(made))))
