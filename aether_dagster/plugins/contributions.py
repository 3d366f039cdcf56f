"""What a plugin brings: loaded from its entry points (spec 5)."""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from aether_dagster.errors import PluginError
from aether_dagster.plugins.discovery import FoundPlugin
from aether_dagster.plugins.hooks import HookClass
from aether_dagster.plugins.loading import hook_classes
from aethersdk import Plugin, StateHook
from aethersdk.plugin import SecretReader


@dataclass(frozen=True)
class LoadedPlugin:
    """A plugin which was imported.

    Args:
        found: The plugin.
        hooks: Its hook classes.
        step_types: `module:function` by step type, `Name/action`.
        secret_stores: What opens a secret store, by scheme.
        requires: Other plugins with ranges.
        instances: Its `Plugin` objects, for their clean-up.
    """

    found: FoundPlugin
    hooks: tuple[HookClass, ...]
    step_types: Mapping[str, str]
    secret_stores: Mapping[str, Callable[[str], SecretReader]]
    requires: Mapping[str, str]
    instances: tuple[Plugin, ...]


def load_plugin(found: FoundPlugin) -> LoadedPlugin:
    """Imports a plugin and returns what it brings.

    Raises:
        PluginError: It cannot be imported, or brings something which is none of ours.
    """
    if found.folder is not None:
        _put_on_path(found)
    hooks: list[type[StateHook]] = []
    instances: list[Plugin] = []
    for value in found.entry_points.values():
        brought = _load(found, value)
        if isinstance(brought, ModuleType):
            hooks += hook_classes([brought])
        elif inspect.isclass(brought) and issubclass(brought, StateHook):
            hooks.append(brought)
        elif inspect.isclass(brought) and issubclass(brought, Plugin):
            instances.append(_instance(found, brought))
        else:
            raise PluginError(
                f"{found.label}: its entry point {value!r} is {brought!r}; it must name a module, "
                "a StateHook or a Plugin."
            )
    source = f"plugin:{found.name}" if found.folder is None else f"folder:{found.folder}"
    brings = [hook for instance in instances for hook in instance.hooks]
    return LoadedPlugin(
        found,
        tuple(
            HookClass(hook, found.name, found.version, source)
            for hook in dict.fromkeys([*hooks, *brings])
        ),
        {
            f"{found.name}/{action}": _target(found, action, function)
            for instance in instances
            for action, function in instance.step_types.items()
        },
        {scheme: opener for each in instances for scheme, opener in each.secret_stores.items()},
        dict(found.requires)
        | {name: wanted for each in instances for name, wanted in each.requires.items()},
        tuple(instances),
    )


def _load(found: FoundPlugin, value: str) -> Any:
    module_name, _, names = value.partition(":")
    module_name = module_name.strip()
    try:
        brought: Any = importlib.import_module(module_name)
        _check_origin(found, brought)
        for name in filter(None, names.strip().split(".")):
            brought = getattr(brought, name)
    except PluginError:
        raise
    except Exception as error:
        raise PluginError(
            f"{found.label} ({found.place}): its entry point {value!r} cannot be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error
    return brought


def _instance(found: FoundPlugin, plugin: type[Plugin]) -> Plugin:
    try:
        return plugin()
    except Exception as error:
        raise PluginError(
            f"{found.label}: {plugin.__name__} cannot be made: {type(error).__name__}: {error}"
        ) from error


def _target(found: FoundPlugin, action: str, function: Any) -> str:
    """`module:function`, which the fresh process of an attempt with a timeout can import too."""
    if isinstance(function, str):
        return function
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    if not module or not name.isidentifier():
        raise PluginError(
            f"{found.label}: the step type {action!r} must be a function of a module, "
            f"not {function!r}."
        )
    return f"{module}:{name}"


def _put_on_path(found: FoundPlugin) -> None:
    assert found.folder is not None
    source = found.folder / "src"
    place = str(source if source.is_dir() else found.folder)
    if place not in sys.path:
        sys.path.append(place)
        importlib.invalidate_caches()


def _check_origin(found: FoundPlugin, module: ModuleType) -> None:
    file = getattr(module, "__file__", None)
    if found.folder is None or file is None or Path(file).resolve().is_relative_to(found.folder):
        return
    raise PluginError(
        f"{found.label}: its module {module.__name__!r} is hidden by {file}; give it another name, "
        "or run pipelines which use different versions of a plugin in different processes."
    )
