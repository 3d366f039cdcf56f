"""State hooks are asked about starts, outputs, artifacts and transactions, and lock nothing."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from aether_dagster.errors import Vetoed
from aether_dagster.manager import Execution
from aether_dagster.manager.ledger import CallLedger
from aether_dagster.manager.review import protected
from aether_dagster.plugins.hooks import HookClass, activate_hooks
from aether_dagster.plugins.manager import HookManager
from aether_dagster.state import Authority, Delta
from aethersdk import Mutation, StateHook, StateVeto

INPUT, OUTPUT = "nodes.load.input_payload", "nodes.load.output_payload"


@pytest.fixture
def ask(execution: Execution) -> Callable[..., Execution]:
    """Lets one function be asked of every mutation."""

    def use(function: Callable[[Mutation], object], **options: object) -> Execution:
        def event(self: StateHook, mutation: Mutation) -> object:
            return function(mutation)

        hook = type("Hook", (StateHook,), {"pre_state_mutation": event, **options})
        hooks = activate_hooks([HookClass(hook, "plug", "1.0.0", "file:x")])
        redact = execution.redaction.value
        ledger = CallLedger(execution.journal.outbox)
        execution.use_hooks(HookManager(hooks, ledger, redact), ledger)
        return execution

    return use


def outcomes(execution: Execution) -> list[str | None]:
    assert execution._ledger is not None
    execution._ledger.flush()  # what was asked last waits for the change which it was about
    return [call.outcome for call in execution.journal.outbox.calls(execution.id)]


def test_what_is_changed_of_arguments_is_what_the_step_is_given_and_what_state_shows(ask):
    def change(mutation):
        assert mutation.before[INPUT] is None
        after = {"message": "bye", "more": [1]}
        return replace(mutation, after={**mutation.after, INPUT: after})

    execution = ask(change)
    changes = execution.start("load", 1, {"message": "hello", "gone": True})
    given = {"message": "hello", "gone": True, "live": object}
    assert changes.apply({"message": "hello", "gone": True}) == {"message": "bye", "more": [1]}
    assert changes.apply(given)["live"] is object
    assert execution.replica.node("load")["input_payload"] == {"message": "bye", "more": [1]}


def test_an_argument_which_holds_a_secret_cannot_be_changed(ask):
    def change(mutation):
        after = {**mutation.after[INPUT], "message": "mine"}
        return replace(mutation, after={**mutation.after, INPUT: after})

    execution = ask(change)
    execution.redaction.learn(["hunter22"])
    assert execution.start("load", 1, {"message": "it is hunter22"}) is None
    assert execution.replica.node("load")["input_payload"] == {"message": "it is ***"}
    assert outcomes(execution) == ["invalid"]


def test_a_start_which_is_refused_is_committed_for_its_failure_to_follow(ask):
    def refuse(mutation):
        raise StateVeto("not now")

    execution = ask(refuse)
    with pytest.raises(Vetoed, match=r"plug@1\.0\.0: Hook refused: not now"):
        execution.start("load", 1, {"message": "hello"})
    assert execution.replica.outcome("load").status == "executing"
    execution.fail("load", "Vetoed", "not now", hook="Hook")
    assert execution.replica.node("load")["error"]["hook"] == "Hook"
    assert outcomes(execution) == ["vetoed", "veto ignored"]


@pytest.mark.parametrize("by", ["value", "after"])
def test_an_output_is_changed_by_its_value_or_by_what_is_shown_of_it(ask, by):
    def change(mutation):
        if OUTPUT not in mutation.after:
            return None
        if by == "value":
            return replace(mutation, value=[*mutation.value, 3])
        return replace(mutation, after={**mutation.after, OUTPUT: [1, 2, 3]})

    execution = ask(change)
    execution.start("load", 1, {})
    assert execution.review_output("load", [1, 2]) == [1, 2, 3]


def test_an_output_which_nobody_changes_is_the_very_object(ask):
    execution = ask(lambda mutation: None)
    execution.start("load", 1, {})
    value = {"rows": [1, 2]}
    assert execution.review_output("load", value) is value


def test_what_hooks_are_given_is_no_way_to_the_original(ask):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2]})
    rows = [{"a": 1}]

    def spoil(mutation):
        if isinstance(mutation.value, pandas.DataFrame):
            mutation.value.iloc[0, 0] = 99
        elif mutation.value is not None:
            mutation.value[0]["a"] = 99

    execution = ask(spoil)
    execution.start("load", 1, {})
    execution.review_output("load", frame)
    execution.review_output("load", rows)
    assert frame.iloc[0, 0] == 1
    assert rows == [{"a": 1}]
    assert outcomes(execution)[-1] == "raised", "a list is handed over as what cannot be changed"


def test_arrays_are_read_only_and_bytes_are_copies():
    numpy = pytest.importorskip("numpy")
    array = numpy.zeros(3)
    with pytest.raises(ValueError, match="read-only"):
        protected(array)[0] = 1
    assert array.flags.writeable
    assert protected(bytearray(b"ab")) == b"ab"
    assert isinstance(protected({1, 2}), frozenset)


def test_an_artifact_may_be_changed_or_refused(ask):
    def judge(mutation):
        (path,) = mutation.paths
        if mutation.after[path] == "/tmp/secret":
            raise StateVeto("keep it")
        return replace(mutation, after={path: f"s3://{mutation.after[path]}"})

    execution = ask(judge)
    execution.write_artifact("load", "raw", "bucket/raw")
    assert execution.catch_up().artifact("raw") == "s3://bucket/raw"
    with pytest.raises(Vetoed, match="keep it"):
        execution.write_artifact("load", "raw", "/tmp/secret")
    assert execution.catch_up().artifact("raw") == "s3://bucket/raw"


def test_a_plugins_transaction_is_asked_about_before_anything_is_locked(ask):
    seen = []

    def look(mutation):
        # Another thread commits meanwhile: nobody holds the journal's lock.
        other = threading.Thread(
            target=execution.journal.acquire, args=(execution.id, "other", 1.0), daemon=True
        )
        other.start()
        other.join(5)
        seen.append((mutation.paths, dict(mutation.after), other.is_alive()))
        return replace(mutation, after={mutation.paths[0]: "/checked"})

    execution = ask(look)
    with execution.transaction("Other@1.0.0") as tx:
        tx.set("context.artifacts.made", "/made")
    path = "context.artifacts.made"
    assert seen == [((path,), {path: "/made"}, False)]
    assert execution.catch_up().artifact("made") == "/checked"


def test_each_try_of_a_plugins_function_is_asked_about(ask):
    seen = []
    execution = ask(lambda mutation: seen.append(dict(mutation.after)))
    path = "context.artifacts.count"

    def disturbed(tx):
        tx.set(path, str(int(tx.get(path, "0")) + 1))
        if len(seen) < 2:
            tries = len(seen) + 1
            delta = Delta(f"d{tries}", Authority.STEP, artifacts={"count": str(tries * 10)})
            execution.journal.append(execution.id, [delta])
        return "done"

    assert execution.transact(disturbed, "Other@1.0.0") == "done"
    assert seen == [{path: "1"}, {path: "11"}, {path: "21"}]
    assert execution.catch_up().artifact("count") == "21"


def test_an_end_which_dagster_tells_is_told_to_hooks_once(ask):
    told = []

    def note(mutation):
        told.append(mutation.after.get("nodes.load.status"))

    execution = ask(note)
    execution.start("load", 1, {})
    error = {"type": "WorkerLost", "message": "gone"}
    execution.settle("load", 1, "failed", error)
    execution.settle("load", 1, "failed", error)
    assert told == ["executing", "failed"]
