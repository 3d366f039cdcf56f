"""Which files an execution has is a function of its versions."""

import json
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.snapshot import Projection
from aether_dagster.state import (
    Authority,
    Delta,
    Evidence,
    NodeDelta,
    Outcome,
    Replica,
)
from aether_dagster.state.delta import EvidenceKind
from tests.schemas import errors

A, B = "a_01H3XZAA", "b_01H3XZAB"
RETRY_ERROR = {"type": "OSError", "message": "gone", "attempt": 1, "traceback": "…"}
CANCELLED = {"type": "Cancelled", "message": "interrupted", "attempt": 1, "traceback": None}
_ids = count(1)

PIPELINE = {
    "id": "pipeline_01H3XYZ9",
    "version": "2.1.0",
    "start_timestamp": 1689876543.212,
    "config_hash": "e3b0c44298fc1cd",
}
CONTEXT = {"environment_vars": {}, "secret_store": None, "active_plugins": []}


def _delta(authority: Authority = Authority.STEP, **parts: Any) -> Delta:
    return Delta(f"d{next(_ids)}", authority, **parts)


def _init(**reused: Outcome) -> Delta:
    nodes = {
        "a": NodeDelta(node_id=A, index=0, outcome=reused.get("a")),
        "b": NodeDelta(node_id=B, index=1, outcome=reused.get("b")),
    }
    return _delta(Authority.RUN, pipeline=PIPELINE, context=CONTEXT, nodes=nodes)


def _start(attempt: int = 1, node: str = "a") -> Delta:
    said = NodeDelta(
        outcome=Outcome(attempt, "executing"), input_payload={"n": attempt}, has_input=True
    )
    return _delta(nodes={node: said})


def _end(status: str, attempt: int = 1, node: str = "a", **outcome: Any) -> Delta:
    if status in {"failed", "retrying"}:
        outcome.setdefault("error", RETRY_ERROR | {"attempt": attempt})
    said = NodeDelta(outcome=Outcome(attempt, status, execution_time=0.5, **outcome))
    return _delta(nodes={node: said})


def _settled(attempt: int = 1, node: str = "a") -> Delta:
    return _delta(Authority.RUN, nodes={node: NodeDelta(settled=attempt)})


def _report() -> Delta:
    report = {
        "status": "failed",
        "end_timestamp": 1689876545.0,
        "duration": 1.788,
        "nodes": {"succeeded": 1, "pending": 1},
        "retries": 0,
        "failed": [],
    }
    return _delta(Authority.RUN, report=report)


def _events(*kinds: EvidenceKind, after: int = 0) -> Delta:
    evidence = {
        after + place: Evidence(
            kind, {"type": "OSError", "message": "gone"} if kind == "retry" else None, 10.0 * place
        )
        for place, kind in enumerate(kinds, start=1)
    }
    return _delta(Authority.RECONCILIATION, nodes={"a": NodeDelta(evidence=evidence)})


def _files(versions: Iterable[Delta]) -> list[tuple[int, str, Any]]:
    """What is due at each version, in order: its number, the file's name, its content."""
    projection = Projection()
    due: list[tuple[int, str, Any]] = []
    for version, delta in enumerate(versions, start=1):
        for file in projection.fold(version, [delta.at(version)]):
            assert file.version == version
            assert file.data.endswith(b"}\n")
            due.append((version, file.name, json.loads(file.data)))
    return due


def _names(versions: Iterable[Delta]) -> list[tuple[int, str]]:
    return [(version, name.removeprefix("state_")) for version, name, _ in _files(versions)]


def test_a_node_which_succeeds_has_an_attempt_and_a_final_once_dagster_says_so() -> None:
    due = _files([_init(), _start(), _end("succeeded", output_payload=3), _settled(), _report()])
    assert [(version, name) for version, name, _ in due] == [
        (1, "state_init.json"),
        (4, f"state_node_{A}_attempt1.json"),
        (4, f"state_node_{A}_final.json"),
        (5, "state_final.json"),
    ]
    records = [content for _, _, content in due]
    assert records[0]["nodes"]["a"]["status"] == "pending"
    assert records[1] == records[2] == records[3]["nodes"]["a"]
    assert records[1]["output_payload"] == 3
    assert records[3]["report"]["version"] == 5
    assert [errors("state", records[0]), errors("final", records[3])] == [[], []]
    assert [errors("node", record) for record in records[1:3]] == [[], []]


def test_each_attempt_has_its_own_record_and_the_final_is_the_last() -> None:
    due = _files(
        [
            _init(),
            _start(),
            _end("retrying"),
            _start(2),
            _end("succeeded", 2, output_payload=3),
            _settled(2),
        ]
    )
    assert [(version, name) for version, name, _ in due[1:]] == [
        (3, f"state_node_{A}_attempt1.json"),
        (6, f"state_node_{A}_attempt2.json"),
        (6, f"state_node_{A}_final.json"),
    ]
    first, second, final = (content for _, _, content in due[1:])
    assert (first["status"], first["retry_count"], first["error"]["message"]) == (
        "retrying",
        0,
        "gone",
    )
    assert first["input_payload"] == {"n": 1}
    assert (second["status"], second["retry_count"], second["error"]) == ("succeeded", 1, None)
    assert final == second


def test_a_failure_is_known_at_once_and_is_final_once_dagster_says_so() -> None:
    assert _names([_init(), _start(), _end("failed"), _settled()])[1:] == [
        (3, f"node_{A}_attempt1.json"),
        (4, f"node_{A}_final.json"),
    ]


def test_an_output_which_was_handled_before_the_step_failed_is_no_success() -> None:
    due = _files([_init(), _start(), _end("succeeded"), _end("failed"), _settled()])[1:]
    assert [(version, content["status"]) for version, _, content in due] == [
        (4, "failed"),
        (5, "failed"),
    ]


def test_a_node_cancelled_while_it_waits_for_a_retry_has_no_further_attempt() -> None:
    due = _files([_init(), _start(), _end("retrying"), _end("failed", error=CANCELLED), _report()])
    names = [(version, name) for version, name, _ in due[1:]]
    assert names == [
        (3, f"state_node_{A}_attempt1.json"),
        (5, f"state_node_{A}_final.json"),
        (5, "state_final.json"),
    ]
    attempt, final, state = (content for _, _, content in due[1:])
    assert attempt["status"] == "retrying"
    assert final["error"]["type"] == "Cancelled"
    assert final == state["nodes"]["a"]


def test_a_node_which_never_started_has_no_files() -> None:
    upstream = {"type": "UpstreamFailed", "message": "no", "attempt": 0, "upstream": ["a"]}
    pending = NodeDelta(outcome=Outcome(0, "pending", error=upstream))
    due = _files([_init(), _delta(nodes={"b": pending}), _report()])
    assert [name for _, name, _ in due] == ["state_init.json", "state_final.json"]
    assert due[1][2]["nodes"]["b"]["error"] == upstream
    assert errors("final", due[1][2]) == []


def test_a_reused_node_has_no_files_and_is_succeeded_from_the_start() -> None:
    due = _files([_init(a=Outcome(1, "succeeded", 3)), _settled(), _report()])
    assert [name for _, name, _ in due] == ["state_init.json", "state_final.json"]
    assert due[0][2]["nodes"]["a"]["status"] == "succeeded"


def test_finalization_settles_what_dagster_said_nothing_of() -> None:
    versions = [_init(), _start(), _end("succeeded"), _start(node="b"), _end("failed", node="b")]
    assert _names([*versions, _report()])[1:] == [
        (5, f"node_{B}_attempt1.json"),
        (6, f"node_{A}_attempt1.json"),
        (6, f"node_{A}_final.json"),
        (6, f"node_{B}_final.json"),
        (6, "final.json"),
    ]


def test_nothing_is_due_before_initialization_or_after_finalization() -> None:
    assert _names([_start(), _init(), _report(), _end("failed"), _settled()]) == [
        (2, "init.json"),
        (3, "final.json"),
    ]


def test_one_report_of_several_attempts_gives_each_its_record() -> None:
    due = _files([_init(), _events("start", "retry", "restart", "success"), _settled(2)])[1:]
    assert [(version, name) for version, name, _ in due] == [
        (2, f"state_node_{A}_attempt1.json"),
        (3, f"state_node_{A}_attempt2.json"),
        (3, f"state_node_{A}_final.json"),
    ]
    first, second, _ = (content for _, _, content in due)
    assert (first["status"], first["error"]["attempt"], first["execution_time"]) == (
        "retrying",
        1,
        10,
    )
    assert (second["status"], second["retry_count"]) == ("succeeded", 1)


def test_the_end_of_an_attempt_which_is_learnt_late_is_not_lost() -> None:
    due = _files([_init(), _start(), _start(2), _events("start", "retry")])[1:]
    assert [(version, name) for version, name, _ in due] == [(4, f"state_node_{A}_attempt1.json")]
    assert (due[0][2]["status"], due[0][2]["input_payload"]) == ("retrying", {"n": 1})


REPORTS = (
    _start,
    lambda: _end("retrying"),
    lambda: _start(2),
    lambda: _end("succeeded", 2),
    lambda: _end("failed", 2),
    lambda: _settled(2),
    lambda: _events("start", "retry"),
    lambda: _start(node="b"),
    lambda: _end("succeeded", node="b"),
    lambda: _delta(artifacts={"raw": "/tmp/raw"}),
)


@given(st.lists(st.sampled_from(REPORTS), max_size=14))
def test_whatever_is_reported_the_files_are_whole_and_end_with_the_folded_state(
    reports: list[Any],
) -> None:
    deltas = [_init(), *(make() for make in reports), _report()]
    due = _files(deltas)
    names = [name for _, name, _ in due]
    assert (names[0], names[-1]) == ("state_init.json", "state_final.json")
    assert len(set(names)) == len(names)
    replica = Replica()
    for version, delta in enumerate(deltas, start=1):
        replica.apply(delta.at(version))
    final: Mapping[str, Any] = due[-1][2]
    assert {**final, "report": None} == {**replica.document(), "report": None}
    finals = {name: content for _, name, content in due if "_final" in name[:-5]}
    for name, record in final["nodes"].items():
        file = f"state_node_{record['node_id']}_final.json"
        assert (file in finals) == (record["status"] in {"succeeded", "failed"}), name


@given(st.lists(st.sampled_from(REPORTS), max_size=14))
def test_who_joins_the_versions_makes_no_difference(reports: list[Any]) -> None:
    deltas = [_init(), *(make() for make in reports), _report()]
    alone, beside, replica = Projection(), Projection(), Replica()
    for version, delta in enumerate((delta.at(place) for place, delta in enumerate(deltas, 1)), 1):
        replica.apply(delta)
        assert beside.see(replica, version, [delta]) == alone.fold(version, [delta])


@given(st.lists(st.sampled_from(REPORTS), max_size=14), st.integers(1, 4))
def test_deltas_which_share_a_version_give_the_same_final_state(
    reports: list[Any], size: int
) -> None:
    deltas = [delta.at(place) for place, delta in enumerate((make() for make in reports), 2)]
    projection = Projection()
    projection.fold(1, [_init().at(1)])
    for start in range(0, len(deltas), size):
        projection.fold(start + 2, deltas[start : start + size])
    due = projection.fold(99, [_report().at(99)])
    alone = Projection()
    alone.fold(1, [_init().at(1)])
    for delta in deltas:
        alone.fold(delta.clock or 0, [delta])
    assert due[-1].data == alone.fold(99, [_report().at(99)])[-1].data


@pytest.mark.parametrize("late", [_end("failed"), _report(), _events("start", "retry")])
def test_what_comes_after_finalization_changes_nothing(late: Delta) -> None:
    versions = [_init(), _start(), _end("succeeded"), _settled(), _report()]
    assert _names([*versions, late]) == _names(versions)
