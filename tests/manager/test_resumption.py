from collections.abc import Callable
from dataclasses import replace

import pytest

from aether_dagster.errors import SettingsError
from aether_dagster.journal import Journal
from aether_dagster.manager import Execution, StateManager
from aether_dagster.manager.ending import RunEnd
from aether_dagster.manager.resumption import (
    ResumePlan,
    earlier_value,
    find_resumable,
    plan_resume,
    take_over,
)
from aether_dagster.plugins.outbox import Deliveries
from aether_dagster.script import Document, parse_document
from aether_dagster.state.ids import encode_suffix, pipeline_number
from aether_dagster.values import ValueRef, ValueStore

DOCUMENT = """
version: "2.1"
metadata: {name: small}
variables: {GREETING: hello, WIDTH: 3}
context: {artifacts: {given: "out/${EXECUTION_ID}"}}
pipeline:
  steps:
    - {id: load, type: core/echo, args: {message: "${GREETING}"}}
    - {id: check, type: core/echo, args: {message: "${steps.load.output}"}}
    - {id: write, type: core/echo, args: {message: x}, dependsOn: [check]}
    - {id: aside, type: core/echo, args: {message: "${WIDTH}"}}
"""
ENVIRON: dict[str, str] = {}


@pytest.fixture
def document() -> Document:
    return parse_document(DOCUMENT, file="small.aether.yaml")


@pytest.fixture
def manager(journal: Journal, values: ValueStore) -> StateManager:
    return StateManager(journal, values)


def execute(
    manager: StateManager,
    document: Document,
    *,
    run_id: str = "run",
    failing: str = "check",
    selected: tuple[str, ...] | None = None,
) -> Execution:
    """Runs every step it can, but for one which fails and what is below it."""
    execution = manager.initialize(document, run_id=run_id, selected=selected, environ=ENVIRON)
    for step in execution.replica.nodes():
        outcomes = map(execution.replica.outcome, document.dependencies[step])
        if any(outcome.status == "failed" for outcome in outcomes):
            continue
        execution.start(step, 1, {"message": step})
        if step == failing:
            execution.fail(step, "ValueError", "bad")
            execution.settle(step, 1, "failed", {"type": "ValueError", "message": "bad"})
        else:
            execution.succeed(step, f"value of {step}")
            execution.settle(step, 1, "succeeded")
    execution.end_nodes(RunEnd())
    execution.finalize(RunEnd())
    return execution


def plan(
    execution: Execution,
    document: Document,
    selected: tuple[str, ...] | None = None,
    has_value: Callable[[ValueRef], bool] | None = None,
) -> ResumePlan:
    record = execution.journal.record(execution.id)
    holds = execution.values.holds if has_value is None else has_value
    return plan_resume(record, execution.replica, document, selected, holds)


def changed(document: Document, old: str, new: str) -> Document:
    text = DOCUMENT.replace(old, new)
    assert text != DOCUMENT
    return parse_document(text, file=document.file)


def test_what_did_not_succeed_runs_and_what_did_is_reused(
    manager: StateManager, document: Document
) -> None:
    found = plan(execute(manager, document), document)
    assert found.runs == {"check": "failed", "write": "did not run"}
    assert set(found.reused) == {"load", "aside"}
    assert found.again == ()


@pytest.mark.parametrize(
    ("old", "new", "runs"),
    [
        ("{message: x}", "{message: y}", ["check", "write"]),
        ('message: "${GREETING}"', "message: new", ["load", "check", "write"]),
        ("GREETING: hello", "GREETING: bye", ["load", "check", "write"]),
        ("WIDTH: 3", "WIDTH: 4", ["check", "write", "aside"]),
        ("name: small", "name: small, description: other", ["check", "write"]),
    ],
    ids=["the one which did not run", "its arguments", "a variable", "another", "only words"],
)
def test_a_step_which_was_changed_runs_again_with_all_below_it(
    manager: StateManager, document: Document, old: str, new: str, runs: list[str]
) -> None:
    other = changed(document, old, new)
    found = plan(execute(manager, document), other)
    assert sorted(found.runs) == sorted(runs)
    assert set(found.reused) == {"load", "check", "write", "aside"} - set(runs)


def test_the_reason_names_what_is_above(manager: StateManager, document: Document) -> None:
    other = changed(document, "GREETING: hello", "GREETING: bye")
    found = plan(execute(manager, document, failing="write"), other)
    assert found.runs == {
        "load": "succeeded, and was changed since",
        "check": "succeeded, and comes after 'load'",
        "write": "failed",
    }
    assert found.again == ("load", "check")


def test_a_new_step_runs_and_one_which_is_gone_is_forgotten(
    manager: StateManager, document: Document
) -> None:
    new = "    - {id: new, type: core/echo, args: {message: n}}\n"
    text = DOCUMENT.replace(
        '    - {id: aside, type: core/echo, args: {message: "${WIDTH}"}}\n', new
    )
    found = plan(execute(manager, document), parse_document(text, file="small.aether.yaml"))
    assert found.runs["new"] == "is new"
    assert "aside" not in {*found.runs, *found.reused}


def test_a_step_whose_value_is_gone_runs_again(manager: StateManager, document: Document) -> None:
    execution = execute(manager, document)
    manager.values.remove(execution.id, ())
    found = plan(execution, document)
    assert found.runs["load"] == "succeeded, and its value is gone"
    assert found.reused == ()


def test_a_selection_says_what_may_run(manager: StateManager, document: Document) -> None:
    found = plan(execute(manager, document), document, ("load", "check"))
    assert list(found.runs) == ["check"]
    assert set(found.reused) == {"load", "aside"}


def test_what_the_execution_did_not_cover_does_not_run(
    manager: StateManager, document: Document
) -> None:
    execution = execute(manager, document, selected=("check", "write"))
    found = plan(execution, document)
    assert list(found.runs) == ["check", "write"]
    assert found.reused == ()


def test_an_execution_which_was_cut_off_says_so(manager: StateManager, document: Document) -> None:
    execution = manager.initialize(document, run_id="run", environ=ENVIRON)
    execution.start("load", 1, {})
    assert plan(execution, document).runs["load"] == "was cut off"


def test_reused_nodes_begin_succeeded_with_the_old_output(
    manager: StateManager, document: Document
) -> None:
    old = execute(manager, document)
    record = manager.journal.record(old.id)
    resumption = take_over(manager.journal, record, document, ("check", "write"))
    new = manager.initialize(
        document, run_id="next", selected=("check",), environ=ENVIRON, resumption=resumption
    )
    first = manager.journal.state(new.id, 1)
    suffix = encode_suffix(pipeline_number(new.id) + 1 + document.order.index("aside"))
    assert first["nodes"]["aside"] == {
        "node_id": f"aside_{suffix}",
        "status": "succeeded",
        "input_payload": None,
        "output_payload": "value of aside",
        "error": None,
        "retry_count": 0,
        "execution_time": 0.0,
    }
    assert list(first["nodes"]) == [step for step in document.order if step != "write"]
    assert first["nodes"]["check"]["status"] == "pending"
    assert new.record.resumed_from == old.id
    assert new.value_ref("load") == old.value_ref("load")
    new.start("check", 1, {})
    new.succeed("check", 1)
    new.end_nodes(RunEnd())
    assert new.finalize(RunEnd())["resumed_from"] == old.id
    assert new.replica.report is not None
    assert new.replica.report["status"] == "succeeded"


def test_hooks_are_not_told_again_of_what_is_reused(
    manager: StateManager, document: Document
) -> None:
    old = execute(manager, document)
    record = manager.journal.record(old.id)
    resumption = take_over(manager.journal, record, document, ("check",))
    new = manager.initialize(
        document, run_id="next", selected=("check",), environ=ENVIRON, resumption=resumption
    )
    new.start("check", 1, {})
    new.succeed("check", 1)
    new.settle("check", 1, "succeeded")
    new.finalize(RunEnd())
    deliveries = Deliveries(new.id)
    told = [
        (delivery.event, delivery.node)
        for version in manager.journal.versions(new.id)
        for delivery in deliveries.fold(version.number, version.deltas, late=version.late)
    ]
    assert told == [("post_node_execute", "check"), ("post_state_finalize", None)]


def test_artifacts_which_steps_wrote_are_taken_over_and_declared_ones_are_new(
    manager: StateManager, document: Document
) -> None:
    old = manager.initialize(document, run_id="run", environ=ENVIRON)
    old.start("load", 1, {})
    old.artifacts("load")["raw"] = "/data/raw"
    old.succeed("load", 1)
    resumption = take_over(manager.journal, manager.journal.record(old.id), document, ("check",))
    new = manager.initialize(
        document, run_id="next", selected=("check",), environ=ENVIRON, resumption=resumption
    )
    assert new.replica.artifacts() == {"given": f"out/{new.id}", "raw": "/data/raw"}
    again = take_over(manager.journal, manager.journal.record(new.id), document, ("check",))
    assert again.artifacts == {"raw": "/data/raw"}


def test_an_earlier_value_is_found_through_a_chain_of_resumes(
    manager: StateManager, document: Document
) -> None:
    old = execute(manager, document)
    resumption = take_over(manager.journal, manager.journal.record(old.id), document, None)
    middle = manager.initialize(
        document, run_id="2", selected=("check",), environ=ENVIRON, resumption=resumption
    )
    onward = replace(resumption, resumed_from=middle.id, reused={})
    last = manager.initialize(
        document, run_id="3", selected=("write",), environ=ENVIRON, resumption=onward
    )
    assert earlier_value(manager.journal, last.record, "load") == old.value_ref("load")
    assert earlier_value(manager.journal, last.record, "check") is None
    manager.journal.prune([old.id])
    assert earlier_value(manager.journal, last.record, "load") is None


def test_executions_are_found_by_id_by_its_beginning_and_as_the_latest(
    manager: StateManager, document: Document
) -> None:
    first, second = (execute(manager, document, run_id=run) for run in ("one", "two"))
    for wanted in (first.id, first.id.removeprefix("pipeline_")):
        assert find_resumable(manager.journal, wanted, "small").pipeline_id == first.id
    assert find_resumable(manager.journal, "latest", "small").pipeline_id == second.id
    manager.journal.prune([first.id])
    begins = second.id[:13]
    assert find_resumable(manager.journal, begins, "small").pipeline_id == second.id


def test_who_cannot_be_resumed_is_told_why(manager: StateManager, document: Document) -> None:
    with pytest.raises(SettingsError, match="no execution of 'small' to resume"):
        find_resumable(manager.journal, "latest", "small")
    first, second = (execute(manager, document, run_id=run) for run in ("one", "two"))
    with pytest.raises(SettingsError, match="did you mean latest"):
        find_resumable(manager.journal, "last", "small")
    other = "0" if second.id[-3] != "0" else "1"
    with pytest.raises(SettingsError, match=f"did you mean {second.id[:-1]}"):
        find_resumable(manager.journal, second.id[:-3] + other + second.id[-2:], "small")
    with pytest.raises(SettingsError, match=r"is the beginning of pipeline_.*; write more of it"):
        find_resumable(manager.journal, "pipeline_0", "small")
    with pytest.raises(SettingsError, match="is an execution of 'small', not of 'big'"):
        find_resumable(manager.journal, first.id, "big")
    record = manager.journal.reserve("three", "small", config_hash="x", document={})
    manager.journal.annotate(record.pipeline_id, refused="No.")
    with pytest.raises(SettingsError, match="refused before its first step"):
        find_resumable(manager.journal, "latest", "small")
