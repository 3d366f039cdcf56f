"""What a plugin brings besides hooks: step types, checks, secret stores, a clean-up (spec 5)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from aethersdk.checks import OutputCheck, StepDefinition
from aethersdk.hooks import StateHook

SecretReader = Callable[[str], str]
"""Gives a secret by its name; a LookupError says that there is none."""


class Plugin:
    """Base class of plugins: an entry point of the group `aetherscript.plugins` names a subclass.

    A plugin which brings hooks alone needs none; its entry points name the hooks, or modules.

    Attributes:
        requires: Other plugins, by name, with npm-style ranges: `{"TableKit": "^2.1"}`.
        hooks: State hooks.
        step_types: Functions by action, `{"check": check}` for `type: Name/check` in a document;
            each is called with the step's arguments and its context.
        secret_stores: By scheme, what opens a store by its URL and gives its reader.
    """

    requires: ClassVar[Mapping[str, str]] = {}
    hooks: ClassVar[Sequence[type[StateHook]]] = ()
    step_types: ClassVar[Mapping[str, Callable[..., Any] | str]] = {}
    secret_stores: ClassVar[Mapping[str, Callable[[str], SecretReader]]] = {}

    def output_checks(self, step: StepDefinition) -> Iterable[OutputCheck]:
        """Gives the checks of what a step returns; Dagster shows each as an asset check.

        Called where definitions are built, for every step of a document which lists the plugin.

        Args:
            step: The step.
        """
        del step
        return ()

    def cleanup(self) -> None:
        """Called in the run's own process when an execution succeeded, failed or was cancelled."""
