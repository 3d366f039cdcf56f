"""State hooks as they are active in a process: checked, instantiated, and in their order."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aether_dagster.errors import PluginError
from aethersdk import StateHook
from aethersdk.signatures import HookDefinitionError, check_hook


@dataclass(frozen=True)
class HookClass:
    """A hook class and where it comes from.

    Args:
        hook: The class.
        plugin: The distribution's name, else its module's.
        version: Of the distribution, else of the module, else `0.0.0`.
        source: How another process finds the class: `file:PATH`, `module:NAME` or
            `plugin:NAME`.
    """

    hook: type[StateHook]
    plugin: str
    version: str
    source: str

    @property
    def key(self) -> str:
        """Names the hook in the outbox, whatever its version and wherever it was loaded from."""
        return f"{self.plugin}.{self.hook.__name__}"

    @property
    def label(self) -> str:
        """`Name@version` of the plugin."""
        return f"{self.plugin}@{self.version}"


@dataclass(frozen=True)
class ActiveHook:
    """A hook which is called.

    Args:
        hook: The instance.
        key: Names it in the outbox.
        label: `Name@version` of its plugin.
        source: How another process finds it.
        events: The events which it takes, each with the parameters which it wants.
    """

    hook: StateHook
    key: str
    label: str
    source: str
    events: Mapping[str, Sequence[str]]

    @property
    def name(self) -> str:
        """The class's name."""
        return type(self.hook).__name__

    @property
    def delivers(self) -> bool:
        """Whether it takes an event which is a delivery."""
        return any(event.startswith("post_") for event in self.events)


def activate_hooks(classes: Iterable[HookClass]) -> tuple[ActiveHook, ...]:
    """Makes hooks of classes, in the order in which they are called (spec 5).

    A class which is found twice is one hook.

    Raises:
        PluginError: A class is wrong, cannot be instantiated, or two have one name.
    """
    found: dict[str, HookClass] = {}
    for each in classes:
        known = found.setdefault(each.key, each)
        if known.source != each.source and known.hook.__module__ == each.hook.__module__:
            raise PluginError(
                f"Two state hooks are called {each.key}: of {known.source} and of {each.source}; "
                "rename one."
            )
    ordered = sorted(found.values(), key=lambda each: (each.hook.order, each.plugin, each.key))
    return tuple(_active(each) for each in ordered)


def _active(each: HookClass) -> ActiveHook:
    try:
        events = check_hook(each.hook)
    except HookDefinitionError as error:
        raise PluginError(f"{each.label} ({each.source}): {error}") from None
    try:
        hook = each.hook()
    except Exception as error:
        raise PluginError(
            f"{each.label}: the state hook {each.hook.__name__} cannot be made: "
            f"{type(error).__name__}: {error}"
        ) from error
    return ActiveHook(hook, each.key, each.label, each.source, events)
