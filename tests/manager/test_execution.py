import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aether_dagster.errors import (
    DependencyFailed,
    ExecutionEnded,
    IllegalTransition,
    ValueStoreError,
    WriteConflict,
)
from aether_dagster.journal import Journal, Transaction, fold
from aether_dagster.journal.statement import Session
from aether_dagster.manager import Execution
from aether_dagster.manager.ending import RunEnd
from aether_dagster.state import Delta
from aether_dagster.values import ValueStore
from tests import schemas
from tests.journals import dump, journal_url

LOST = {"type": "WorkerLost", "message": "it died", "traceback": None}


def node(execution: Execution, step: str) -> dict[str, Any]:
    record = dict(execution.catch_up().node(step))
    assert schemas.errors("node", record) == []
    return record


def ends(execution: Execution, step: str) -> list[tuple[int, str]]:
    """Attempt and status of every outcome which was committed of a step."""
    versions = execution.journal.versions(execution.id)
    nodes = [d.nodes[step] for version in versions for d in version.deltas if step in d.nodes]
    return [(n.outcome.attempt, n.outcome.status) for n in nodes if n.outcome is not None]


def test_an_attempt_goes_from_its_start_to_its_value(execution: Execution) -> None:
    execution.start("load", 1, {"message": "hello"})
    assert node(execution, "load")["status"] == "executing"
    ref = execution.succeed("load", {"rows": [1, 2]})
    record = node(execution, "load")
    assert (record["status"], record["output_payload"]) == ("succeeded", {"rows": [1, 2]})
    assert record["input_payload"] == {"message": "hello"}
    assert execution.value_ref("load") == ref
    assert execution.values.get(ref) == {"rows": [1, 2]}


def test_a_transition_which_the_lifecycle_does_not_know_is_refused(execution: Execution) -> None:
    with pytest.raises(IllegalTransition, match="attempt 2"):
        execution.start("load", 2, {})
    execution.start("load", 1, {})
    with pytest.raises(IllegalTransition):
        execution.start("load", 1, {})
    execution.fail("load", "ValueError", "no")
    with pytest.raises(IllegalTransition):
        execution.succeed("load", 1)


def test_a_value_which_cannot_be_stored_changes_nothing(execution: Execution) -> None:
    execution.start("load", 1, {})
    before = execution.catch_up().version
    with pytest.raises(ValueStoreError):
        execution.succeed("load", lambda: None)
    assert execution.catch_up().version == before
    assert node(execution, "load")["status"] == "executing"


@pytest.mark.parametrize(
    ("status", "error"), [("succeeded", None), ("failed", LOST), ("retrying", LOST)]
)
def test_an_end_which_only_dagster_saw_is_filled_in_with_its_start(
    execution: Execution, status: str, error: dict[str, Any] | None
) -> None:
    execution.settle("load", 1, status, error, seconds=1.25)
    record = node(execution, "load")
    assert (record["status"], record["execution_time"]) == (status, 1.25)
    assert error is None or record["error"] == {**LOST, "attempt": 1}
    assert [status for _, status in ends(execution, "load")] == ["executing", status]


def test_what_the_step_said_of_its_end_stays_in_force(
    execution: Execution, open_execution: Callable[[], Execution]
) -> None:
    run_side = open_execution()
    execution.start("load", 1, {"message": "hello"})
    execution.fail("load", "ValueError", "row 7", traceback="here", retrying=True)
    said = node(execution, "load")
    run_side.settle("load", 1, "retrying", LOST, seconds=99)
    assert node(execution, "load") == said
    assert execution.replica.settled("load") == 1


def test_dagsters_failure_after_an_output_ends_the_attempt(execution: Execution) -> None:
    execution.start("load", 1, {})
    execution.succeed("load", "stored")
    execution.settle("load", 1, "failed", LOST)
    record = node(execution, "load")
    assert (record["status"], record["output_payload"]) == ("failed", None)


def test_to_settle_again_changes_nothing(
    execution: Execution, open_execution: Callable[[], Execution]
) -> None:
    execution.settle("load", 1, "failed", LOST, seconds=1)
    version = execution.replica.version
    execution.settle("load", 1, "failed", LOST, seconds=1)
    open_execution().settle("load", 1, "failed", LOST, seconds=2)
    assert execution.catch_up().version == version


def test_an_attempt_which_ended_in_silence_ends_when_the_next_one_starts(
    execution: Execution, open_execution: Callable[[], Execution]
) -> None:
    execution.start("load", 1, {"message": "one"})
    other = open_execution()
    other.start("load", 2, {"message": "two"})
    record = node(execution, "load")
    assert (record["status"], record["retry_count"]) == ("executing", 1)
    assert record["input_payload"] == {"message": "two"}
    assert ends(execution, "load") == [
        (1, "executing"),
        (1, "retrying"),
        (2, "executing"),
    ]


def test_an_argument_which_was_loaded_refers_to_where_it_is_stored(
    execution: Execution, values: ValueStore
) -> None:
    large = [{"n": n, "text": "x" * 30} for n in range(1000)]
    execution.start("load", 1, {})
    ref = execution.succeed("load", large)
    value = values.get(ref)
    execution.loaded(value, ref)
    execution.start("check", 1, {"message": value})
    assert node(execution, "check")["input_payload"] == {"message": ref.to_json()}
    assert execution.referenced_values() == {ref.uri}


def test_secrets_are_masked_in_inputs_outputs_errors_and_artifacts(execution: Execution) -> None:
    execution.redaction.learn(["hunter2"])
    execution.start("load", 1, {"message": ["hunter2"]})
    execution.artifacts("load")["where"] = "s3://hunter2@x"
    execution.succeed("load", {"token": "hunter2", "odd": (1, 2)})
    execution.start("check", 1, {})
    execution.fail("check", "ValueError", "hunter2", traceback="at hunter2", hook="hunter2")
    execution.settle("write", 1, "failed", {**LOST, "message": "hunter2"})
    execution.end_nodes(RunEnd(error="hunter2"))
    kept = dump(execution.journal.url)
    assert "***" in kept
    assert "hunter2" not in kept


def test_the_errors_of_nodes_which_never_started_are_cut_as_all_are(
    execution: Execution,
) -> None:
    execution.end_nodes(RunEnd(resource_error="x" * 100_000))
    for step in ("load", "check", "write"):
        assert len(node(execution, step)["error"]["message"]) <= 2_048


def test_an_execution_is_finalized_once(
    execution: Execution, open_execution: Callable[[], Execution], journal: Journal
) -> None:
    other = open_execution()
    execution.end_nodes(RunEnd(cancelled=True))
    other.end_nodes(RunEnd(cancelled=True))
    first = execution.finalize(RunEnd(cancelled=True), details={"history_error": "full"})
    again = other.finalize(RunEnd(error="came later"))
    assert first == again
    assert first["status"] == "cancelled"
    assert first["history_error"] == "full"
    assert first["version"] == journal.record(execution.id).finalized
    assert schemas.errors("final", {**execution.replica.document(), "report": first}) == []


def test_what_comes_after_finalization_changes_nothing(execution: Execution) -> None:
    execution.start("load", 1, {})
    execution.end_nodes(RunEnd(cancelled=True))
    execution.finalize(RunEnd(cancelled=True))
    before = execution.catch_up().document()
    with pytest.raises(IllegalTransition):
        execution.succeed("load", "late")
    execution.artifacts("load")["late"] = "x"
    assert execution.catch_up().document() == before


def test_artifacts_are_a_mapping_which_every_process_shares(
    execution: Execution, open_execution: Callable[[], Execution]
) -> None:
    ours, theirs = execution.artifacts("load"), open_execution().artifacts("check")
    ours.set("b", "/b")
    theirs["a"] = "/a"
    assert dict(ours) == {"a": "/a", "b": "/b"}
    theirs.delete("b")
    theirs.delete("b")
    assert list(ours) == ["a"]
    assert len(ours) == 1
    with pytest.raises(KeyError):
        del ours["b"]


def test_no_increment_is_lost_where_plugins_meet(
    execution: Execution, open_execution: Callable[[], Execution]
) -> None:
    def count(tx: Transaction) -> None:
        tx.set("context.artifacts.count", str(int(tx.get("context.artifacts.count", "0")) + 1))

    def work(mine: Execution) -> None:
        for _ in range(20):
            mine.transact(count, "Counter@1.0.0", attempts=100)

    threads = [threading.Thread(target=work, args=(e,)) for e in (execution, open_execution())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert execution.catch_up().artifact("count") == "40"


def test_a_plugin_which_always_meets_others_gives_up(execution: Execution) -> None:
    tries: list[int] = []

    def hopeless(tx: Transaction) -> None:
        tries.append(tx.base)
        tx.set("context.artifacts.x", "mine")
        execution.artifacts("load").set("x", f"theirs {len(tries)}")

    with pytest.raises(WriteConflict) as caught:
        execution.transact(hopeless, "Counter@1.0.0", attempts=3)
    assert (len(tries), caught.value.keys) == (3, ("context.artifacts.x",))


def test_an_attempt_whose_process_was_lost_goes_to_another(
    execution: Execution, open_execution: Callable[[], Execution]
) -> None:
    """An engine like celery gives the task of a lost worker to the next one."""
    execution.start("load", 1, {"message": "hello"})
    before = execution.replica.version
    another = open_execution()
    assert another.ended("load", 1) is None
    another.start("load", 1, {"message": "hello"})
    assert another.replica.version == before + 1, "who runs it now is a change"
    another.succeed("load", 1)
    assert node(execution, "load")["retry_count"] == 0
    # The lost one goes on after all: it is told what was committed, and changes nothing.
    assert execution.succeed("load", 2) == another.value_ref("load")
    assert node(execution, "load")["output_payload"] == 1


def test_an_end_which_was_committed_is_known_to_whoever_is_to_run_the_attempt_again(
    execution: Execution, open_execution: Callable[[], Execution]
) -> None:
    execution.start("load", 1, {})
    execution.fail("load", "ValueError", "no", retrying=True)
    known = open_execution().ended("load", 1)
    assert known is not None
    assert (known.status, known.error and known.error["message"]) == ("retrying", "no")
    assert open_execution().ended("load", 2) is None
    execution.start("load", 2, {})
    ref = execution.succeed("load", [7])
    assert execution.ended("load", 2) is None, "who ended it does not ask"
    another = open_execution()
    assert another.ended("load", 2) is not None
    before = another.replica.version
    assert another.succeed("load", [8]) == ref, "the value of the one which ended it"
    assert another.catch_up().version == before


def test_below_a_failed_step_and_after_the_end_nothing_starts(execution: Execution) -> None:
    execution.start("load", 1, {})
    execution.fail("load", "ValueError", "no")
    with pytest.raises(DependencyFailed, match="'check' did not run: it depends on 'load'"):
        execution.start("check", 1, {})
    assert node(execution, "check")["status"] == "pending"
    execution.end_nodes(RunEnd(lost=True))
    execution.finalize(RunEnd(lost=True))
    head = execution.replica.version
    with pytest.raises(ExecutionEnded, match=f"{execution.id} has been brought to its end"):
        execution.start("write", 1, {})
    assert execution.catch_up().version == head


def test_readers_fold_on_from_what_whoever_commits_had_folded(
    execution: Execution, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "INTERVAL", 5)
    monkeypatch.setattr(journal, "replica", None)  # nothing is folded anew for a checkpoint
    for number in range(11):
        execution.write_artifact("load", "x", str(number))
    execution.start("load", 1, {"message": "hello"})
    head = execution.replica.version
    folded_from: list[int] = []
    versions = fold._deltas

    def read(session: Session, number: int, after: int, upto: int) -> Iterator[Delta]:
        folded_from.append(after)
        return versions(session, number, after, upto)

    monkeypatch.setattr(fold, "_deltas", read)
    with Journal.open(journal_url(tmp_path, "state.db")) as other:
        assert other.state(execution.id) == execution.state_document()
    assert folded_from == [head - head % 5]
