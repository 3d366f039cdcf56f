import threading
from typing import Any

import pytest

from aether_dagster.errors import ReadOnlyState, StateError, TransactionError, WriteConflict
from aether_dagster.journal import Journal, Transaction
from tests.journal.builders import PLUGIN, X, Y, artifact, outcome, report


def test_it_commits_on_leaving_and_says_which_version(journal: Journal, execution: str) -> None:
    journal.append(execution, [artifact("a", "gone", "1")])
    with journal.transaction(execution, PLUGIN) as tx:
        tx.set("context.artifacts.raw_data", "/tmp/x")
        tx.set("context.artifacts.`other/ä.b`", "/tmp/y")
        tx.delete("context.artifacts.gone")
        tx.delete("context.artifacts.never_was")
        assert journal.record(execution).head == 2
    assert (tx.base, tx.version) == (2, 3)
    assert journal.state(execution)["context"]["artifacts"] == {
        "other/ä.b": "/tmp/y",
        "raw_data": "/tmp/x",
    }
    (version,) = journal.versions(execution, after=2)
    assert [delta.actor for delta in version.deltas] == [PLUGIN]


def test_it_reads_its_own_writes_and_nobody_elses(journal: Journal, execution: str) -> None:
    journal.append(execution, [artifact("a", "x", "old"), artifact("b", "y", "old")])
    with journal.transaction(execution, PLUGIN) as tx:
        assert tx.get(X) == "old"
        tx.set(X, "mine")
        tx.delete(Y)
        tx.set("context.artifacts.empty", "")
        assert tx.get(X) == "mine"
        assert tx.get(Y) is None
        assert tx.get(Y, "default") == "default"
        assert tx.get("context.artifacts") == {"empty": "", "x": "mine"}
        assert tx.get(("context", "artifacts", "x")) == "mine"
        journal.append(execution, [outcome("s", "load", 1, "executing")])
        assert journal.state(execution)["nodes"]["load"]["status"] == "executing"
        assert tx.get("pipeline.id") == execution
        assert tx.get("context.environment_vars") == {}


def test_what_it_gives_is_a_copy(journal: Journal, execution: str) -> None:
    with journal.transaction(execution, PLUGIN) as tx:
        tx.get("nodes")["load"]["status"] = "failed"
        assert tx.get("nodes.load.status") == "pending"
    assert journal.state(execution)["nodes"]["load"]["status"] == "pending"


def test_reading_alone_commits_nothing_and_never_conflicts(
    journal: Journal, execution: str
) -> None:
    with journal.transaction(execution, PLUGIN) as tx:
        tx.get(X)
        journal.append(execution, [artifact("a", "x", "new")])
    assert tx.version is None
    assert journal.record(execution).head == 2


def test_an_error_gives_it_up(journal: Journal, execution: str) -> None:
    def fail() -> None:
        with journal.transaction(execution, PLUGIN) as tx:
            tx.set(X, "1")
            tx.private["seen"] = 1
            int("x")

    with pytest.raises(ValueError, match="invalid literal"):
        fail()
    with journal.transaction(execution, PLUGIN) as tx:
        assert (tx.get(X), dict(tx.private)) == (None, {})
    assert journal.record(execution).head == 1


@pytest.mark.parametrize(
    "path",
    [
        "nodes.load.status",
        "pipeline.id",
        "context.artifacts",
        "context.artifacts.x.y",
        "context.environment_vars.DEBUG",
        "anything",
    ],
)
def test_only_artifacts_are_a_plugins_to_write(journal: Journal, execution: str, path: str) -> None:
    for write in (lambda tx: tx.set(path, "v"), lambda tx: tx.delete(path)):
        with (
            pytest.raises(ReadOnlyState, match=r"tx\.private") as caught,
            journal.transaction(execution, PLUGIN) as tx,
        ):
            write(tx)
        assert caught.value.key == path
    assert journal.record(execution).head == 1


def test_an_artifact_is_a_string_and_a_path_is_a_path(journal: Journal, execution: str) -> None:
    value: Any = {"rows": 3}
    with pytest.raises(StateError, match="given dict"), journal.transaction(execution, "P@1") as tx:
        tx.set(X, value)
    with (
        pytest.raises(StateError, match="is not a path"),
        journal.transaction(execution, "P@1") as t,
    ):
        t.get("context..x")


def test_a_conflict_names_its_keys_and_writes_nothing(journal: Journal, execution: str) -> None:
    def attempt() -> None:
        with journal.transaction(execution, PLUGIN) as tx:
            tx.get(X)
            tx.set("context.artifacts.`a b`", "mine")
            tx.private["k"] = 1
            journal.append(execution, [artifact("1", "x", "1"), artifact("2", "a b", "2")])

    with pytest.raises(WriteConflict) as caught:
        attempt()
    assert caught.value.keys == ("context.artifacts.`a b`", X)
    with journal.transaction(execution, PLUGIN) as again:
        assert "k" not in again.private
        assert again.get("context.artifacts") == {"a b": "2", "x": "1"}


def test_transactions_do_not_nest(journal: Journal, execution: str) -> None:
    with journal.transaction(execution, PLUGIN) as outer:
        with (
            pytest.raises(TransactionError, match="do not nest"),
            journal.transaction(execution, PLUGIN),
        ):
            pytest.fail("it began")
        outer.set(X, "1")
    with journal.transaction(execution, PLUGIN) as after:
        assert after.get(X) == "1"


def test_a_transaction_is_for_one_use(journal: Journal, execution: str) -> None:
    tx = journal.transaction(execution, PLUGIN)
    with pytest.raises(TransactionError, match="has not begun"):
        tx.get(X)
    with tx:
        pass
    with pytest.raises(TransactionError, match="for one use"):
        tx.__enter__()
    for late in (lambda: tx.get(X), lambda: tx.set(X, "1"), lambda: tx.private):
        with pytest.raises(TransactionError, match="has ended"):
            late()


def test_a_transaction_belongs_to_its_thread(journal: Journal, execution: str) -> None:
    errors: list[Exception] = []

    def use(tx: Transaction) -> None:
        try:
            tx.set(X, "1")
        except TransactionError as error:
            errors.append(error)
        with journal.transaction(execution, PLUGIN) as mine:
            mine.set(Y, "theirs")

    with journal.transaction(execution, PLUGIN) as tx:
        thread = threading.Thread(target=use, args=(tx,))
        thread.start()
        thread.join()
    assert "belongs to the thread" in str(errors[0])
    assert journal.state(execution)["context"]["artifacts"] == {"y": "theirs"}


def test_two_plugins_which_begin_alike_write_two_versions(journal: Journal, execution: str) -> None:
    versions = []
    for name in ("one", "two"):
        tx = journal.transaction(execution, PLUGIN)
        tx._snapshot = lambda session: journal._folder.replica(session, execution, 1)[0]
        with tx:
            tx.set(f"context.artifacts.{name}", "v")
        versions.append(tx.version)
    assert versions == [2, 3]
    assert journal.state(execution)["context"]["artifacts"] == {"one": "v", "two": "v"}


def test_after_the_finalization_artifacts_are_fixed_but_plugins_remember(
    journal: Journal, execution: str
) -> None:
    final = journal.append(execution, [report()])
    with (
        pytest.raises(TransactionError, match=f"finalized at version {final}"),
        journal.transaction(execution, PLUGIN) as tx,
    ):
        tx.set(X, "1")
    with journal.transaction(execution, PLUGIN) as tx:
        tx.private["posted"] = True
    with journal.transaction(execution, PLUGIN) as tx:
        assert tx.private["posted"] is True


def test_transact_runs_again_until_nothing_conflicts(journal: Journal, execution: str) -> None:
    runs: list[int] = []

    def disturbed(tx: Transaction) -> str:
        runs.append(tx.base)
        tx.set(X, (tx.get(X) or "") + "+")
        if len(runs) < 3:
            journal.append(execution, [artifact(f"d{len(runs)}", "x", str(len(runs)))])
        return "done"

    assert journal.transact(execution, disturbed, PLUGIN) == "done"
    assert runs == [1, 2, 3]
    assert journal.state(execution)["context"]["artifacts"] == {"x": "2+"}


def test_transact_gives_up_after_its_attempts(journal: Journal, execution: str) -> None:
    runs: list[int] = []

    def hopeless(tx: Transaction) -> None:
        runs.append(tx.base)
        tx.set(X, "mine")
        journal.append(execution, [artifact(f"d{len(runs)}", "x", f"theirs {len(runs)}")])

    with pytest.raises(WriteConflict) as caught:
        journal.transact(execution, hopeless, PLUGIN, attempts=4)
    assert len(runs) == 4
    assert caught.value.keys == (X,)


def test_transact_does_not_repeat_other_errors(journal: Journal, execution: str) -> None:
    runs: list[int] = []

    def broken(tx: Transaction) -> None:
        runs.append(1)
        raise KeyError("x")

    with pytest.raises(KeyError):
        journal.transact(execution, broken, PLUGIN)
    assert runs == [1]


def test_nothing_is_locked_while_a_transaction_is_open(journal: Journal, execution: str) -> None:
    with journal.transaction(execution, PLUGIN) as tx:
        tx.set(X, "1")
        done: list[int] = []
        thread = threading.Thread(
            target=lambda: done.append(journal.append(execution, [artifact("a", "y", "1")]))
        )
        thread.start()
        thread.join(5)
        assert done == [2]
    assert tx.version == 3
