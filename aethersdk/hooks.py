"""State hooks: classes which are told of state changes, or asked before them (spec 5)."""

import logging


class StateVeto(Exception):
    """Raised by a `pre_` event to refuse what is about to happen; its text is the reason."""


class StateHook:
    """Base class of state hooks. Define any of the events as methods:

    `pre_state_initialize(pipeline, context)`, `pre_state_mutation(mutation, state)`,
    `post_node_execute(node_id, previous_state, current_state)`,
    `post_state_finalize(report, state)`, each with any subset of these parameters.
    """

    @property
    def logger(self) -> logging.Logger:
        """The logger named after the hook's class, below `aethersdk.hooks`."""
        return logging.getLogger(f"aethersdk.hooks.{type(self).__name__}")
