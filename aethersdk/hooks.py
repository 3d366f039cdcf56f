"""State hooks: classes which are told of state changes, or asked before them (spec 5)."""

import logging
import random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from aethersdk.calls import HookCall, Transaction, current_call

_ATTEMPTS = 20
_PAUSE = 0.005
T = TypeVar("T")

EVENTS: Mapping[str, tuple[str, ...]] = {
    "pre_state_initialize": ("pipeline", "context"),
    "pre_state_mutation": ("mutation", "state"),
    "post_node_execute": ("node_id", "previous_state", "current_state"),
    "post_state_finalize": ("report", "state"),
}
"""The events, and the parameters of which a method may take any subset by name."""


class StateVeto(Exception):
    """Raised by a `pre_` event to refuse what is about to happen; its text is the reason."""


@dataclass(frozen=True)
class Trigger:
    """Returned by a `post_` event of a hook class with `job`: its sensor launches that job.

    Args:
        run_config: The run's configuration.
        tags: The run's tags.
        partition_key: The partition which it runs, if it has partitions.
    """

    run_config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    partition_key: str | None = None


class StateHook:
    """Base class of state hooks. Define any of the events as methods:

    `pre_state_initialize(pipeline, context)`, `pre_state_mutation(mutation, state)`,
    `post_node_execute(node_id, previous_state, current_state)`,
    `post_state_finalize(report, state)`, each with any subset of these parameters.

    What is handed to them is immutable. A `pre_` event may return a changed copy of its first
    parameter but one (`dataclasses.replace`), or raise `StateVeto`.

    Attributes:
        order: Hooks are called by `order`, then by their distribution's name, then by theirs.
        timeout: Seconds which one call may take; one which takes longer is left behind.
        on_error: `fail_run` makes the run fail where the hook raises.
        on_timeout: Whether a `pre_` event which takes too long lets through or refuses.
        retry_delay: Seconds until a delivery which failed is tried again, doubled each time; after
            five it is given up.
        delivery: `inline` delivers `post_` events in the run's own process, at once, also where
            a Dagster deployment has sensors for them.
        job: Name of the Dagster job which the hook's sensor launches for each `Trigger` that it
            returns.
    """

    order: ClassVar[int] = 0
    timeout: ClassVar[float] = 30.0
    on_error: ClassVar[Literal["continue", "fail_run"]] = "continue"
    on_timeout: ClassVar[Literal["allow", "refuse"]] = "allow"
    retry_delay: ClassVar[float] = 1.0
    delivery: ClassVar[Literal["outbox", "inline"]] = "outbox"
    job: ClassVar[str | None] = None

    @property
    def logger(self) -> logging.Logger:
        """The logger named after the hook's class, below `aethersdk.hooks`."""
        return logging.getLogger(f"aethersdk.hooks.{type(self).__name__}")

    @property
    def delivery_id(self) -> str | None:
        """The id of the delivery which is being made, to tell a repeated one; None in `pre_`."""
        return self._call().delivery_id

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begins a transaction, for a `with` block (spec 1.6).

        Raises:
            RuntimeError: There is no call of an event, or the execution has no state yet.
        """
        call = self._call()
        if call.transaction is None:
            raise RuntimeError(f"In {call.event} the execution has no state to write to.")
        return call.transaction()

    def transact(self, fn: Callable[[Transaction], T], attempts: int = _ATTEMPTS) -> T:
        """Runs `fn` in a transaction, and again where another one came in between.

        Args:
            fn: Is given the transaction; may run several times.
            attempts: How often at most.

        Returns:
            What `fn` returned the time its transaction was committed.
        """
        for attempt in range(1, attempts):
            try:
                with self.transaction() as transaction:
                    return fn(transaction)
            except Exception as error:
                # By name, for the SDK stands below the journal which raises it.
                if type(error).__name__ != "WriteConflict":
                    raise
            # Random, so that those who met do not meet again.
            time.sleep(random.uniform(0, _PAUSE * attempt))  # noqa: S311
        with self.transaction() as transaction:
            return fn(transaction)

    def _call(self) -> HookCall:
        call = current_call.get()
        if call is None:
            raise RuntimeError(
                "Only inside a call of an event is there an execution; call it from the method."
            )
        return call
