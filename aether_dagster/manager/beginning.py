"""Asks the state hooks before an execution begins (`pre_state_initialize`, spec 5)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aether_dagster.errors import HookError
from aether_dagster.journal import Journal
from aether_dagster.manager.ledger import CallLedger
from aether_dagster.manager.redaction import Redaction
from aether_dagster.plugins.hooks import ActiveHook
from aether_dagster.plugins.manager import HookManager
from aethersdk import ExecutionContext, PipelineState


def ask_hooks(
    journal: Journal,
    pipeline: Mapping[str, Any],
    context: Mapping[str, Any],
    hooks: Sequence[ActiveHook],
    secrets: Iterable[str],
) -> dict[str, Any]:
    """Returns the context as the hooks leave it; notes in the journal where one refuses.

    Raises:
        Vetoed: A hook refused.
        HookError: A hook failed, and its failures count.
    """
    redaction = Redaction()
    redaction.learn(secrets)
    ledger = CallLedger(journal.outbox)
    manager = HookManager(hooks, ledger, redaction.value)
    state = PipelineState.from_dict(pipeline)
    try:
        told = manager.initialize(state, ExecutionContext.from_dict(context)).to_dict()
        return redaction.value(told)  # a hook may have read a secret, and put it there
    except HookError as error:
        journal.annotate(state.id, refused=redaction.text(str(error)))
        raise
    finally:
        ledger.flush()
