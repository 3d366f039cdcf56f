"""How hooks' calls ended is written with what is committed next, and lost only with its process."""

from aether_dagster.manager import Execution
from aether_dagster.manager.ledger import CallLedger
from aether_dagster.plugins.hooks import HookClass, activate_hooks
from aether_dagster.plugins.manager import HookManager
from aethersdk import StateHook


class Asked(StateHook):
    def pre_state_mutation(self): ...


class Second(StateHook):
    order = 1

    def pre_state_mutation(self): ...


def use(execution: Execution, *hooks: type[StateHook]) -> CallLedger:
    ledger = CallLedger(execution.journal.outbox)
    active = activate_hooks([HookClass(hook, "plug", "1.0.0", "file:x") for hook in hooks])
    execution.use_hooks(HookManager(active, ledger, execution.redaction.value), ledger)
    return ledger


def outcomes(execution: Execution) -> list[str | None]:
    return [call.outcome for call in execution.journal.outbox.calls(execution.id)]


def test_a_calls_end_is_written_with_the_next_call_and_with_the_change(execution: Execution):
    use(execution, Asked, Second)
    execution.review_output("load", 1)
    assert outcomes(execution) == ["returned", None], "the first with the second's beginning"
    execution.start("load", 1, {})
    assert outcomes(execution) == ["returned"] * 4


def test_what_is_noted_twice_is_noted_once(execution: Execution):
    ledger = use(execution, Asked)
    execution.review_output("load", 1)
    pending = ledger.pending()
    execution.journal.outbox.end_calls(pending)
    ledger.flush()
    assert outcomes(execution) == ["returned"]
    assert ledger.pending() == []
