"""Which plugins and state hooks are active for a pipeline: one list for all who ask (spec 5)."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aether_dagster.errors import PluginError
from aether_dagster.plugins.contributions import LoadedPlugin, load_plugin
from aether_dagster.plugins.discovery import FOLDER, FoundPlugin, find_plugins, read_folder
from aether_dagster.plugins.hooks import ActiveHook, HookClass, activate_hooks
from aether_dagster.plugins.loading import hook_files, hooks_of_file, load_hooks, load_source
from aether_dagster.script import STEP_ARGUMENTS, Document
from aethersdk import Plugin
from aethersdk.plugin import SecretReader

# How long the clean-up of one plugin may take, in seconds.
_CLEANUP_LIMIT = 30.0


@dataclass(frozen=True)
class Active:
    """What is active for one pipeline in this process.

    Args:
        hooks: State hooks, in the order in which they are called.
        labels: The plugins as `Name@version`, sorted: `context.active_plugins`.
        step_types: `module:function` by step type.
        secret_stores: What opens a secret store, by scheme.
        instances: The plugins' objects, each after those which it requires.
    """

    hooks: tuple[ActiveHook, ...]
    labels: tuple[str, ...]
    step_types: Mapping[str, str]
    secret_stores: Mapping[str, Callable[[str], SecretReader]]
    instances: tuple[tuple[str, Plugin], ...]

    def cleanup(self) -> list[dict[str, Any]]:
        """Cleans up after an execution, in reverse order; returns how each plugin's went."""
        return [_clean(label, plugin) for label, plugin in reversed(self.instances)]


def activate(
    document: Document,
    directory: Path,
    places: Sequence[str] = (),
    classes: Iterable[HookClass] = (),
) -> Active:
    """Resolves the plugins of a document, and loads them and the active hooks.

    Args:
        document: The document.
        directory: Its folder.
        places: Modules, files and folders of further hooks (`AetherSettings.hooks`).
        classes: Further hook classes, of a deployment's sensors.

    Raises:
        PluginError: Plugins cannot be resolved or loaded, or a hook is wrong.
    """
    plugins = _resolved(document, directory)
    loose = [hook for file in hook_files(directory / FOLDER) for hook in hooks_of_file(file)]
    further = [hook for place in places for hook in load_hooks(place)]
    brought = [hook for plugin in plugins for hook in plugin.hooks]
    step_types = {name: target for each in plugins for name, target in each.step_types.items()}
    _check_step_types(document, step_types)
    labels = {plugin.found.label for plugin in plugins} | {hook.label for hook in loose}
    return Active(
        activate_hooks([*brought, *loose, *further, *classes]),
        tuple(sorted(labels)),
        step_types,
        {scheme: opener for each in plugins for scheme, opener in each.secret_stores.items()},
        tuple((each.found.label, plugin) for each in plugins for plugin in each.instances),
    )


def hooks_of_source(source: str) -> list[HookClass]:
    """Returns the hook classes of a `HookClass.source`, in whichever process needs them.

    Raises:
        PluginError: It is not there any more, or cannot be imported.
    """
    kind, _, place = source.partition(":")
    if kind == "folder":
        return list(load_plugin(read_folder(Path(place))).hooks)
    if kind == "plugin":
        found = [plugin for plugin in find_plugins() if plugin.name == place]
        return [hook for plugin in found[:1] for hook in load_plugin(plugin).hooks]
    return load_source(source)


def _resolved(document: Document, directory: Path) -> list[LoadedPlugin]:
    if not document.pipeline.plugins:
        return []
    # Imported here: most pipelines list none.
    from aether_dagster.plugins.resolver import document_requirements, resolve_plugins

    loaded: dict[tuple[str, str], LoadedPlugin] = {}

    def load(found: FoundPlugin) -> LoadedPlugin:
        key = (found.name, found.version)
        if key not in loaded:
            loaded[key] = load_plugin(found)
        return loaded[key]

    def requires(found: FoundPlugin) -> Mapping[str, str]:
        # Of one in a folder its metadata says; of an installed one its own object alone.
        return found.requires if found.folder is not None else load(found).requires

    wanted = list(document_requirements(document.pipeline.plugins))
    return [load(each) for each in resolve_plugins(wanted, find_plugins(directory), requires)]


def _check_step_types(document: Document, step_types: Mapping[str, str]) -> None:
    hooks = document.pipeline.hooks
    parts = [*document.pipeline.steps, *hooks.on_success, *hooks.on_failure, *hooks.on_complete]
    for part in parts:
        if part.type not in STEP_ARGUMENTS and part.type not in step_types:
            owner = part.type.partition("/")[0]
            known = [name for name in sorted(step_types) if name.startswith(f"{owner}/")]
            brings = f"it brings {', '.join(known)}" if known else "it brings none"
            raise PluginError(
                f"{document.file}: the plugin {owner!r} has no step type {part.type!r}; {brings}."
            )


def _clean(label: str, plugin: Plugin) -> dict[str, Any]:
    failure: list[str] = []

    def run() -> None:
        try:
            plugin.cleanup()
        except BaseException as error:  # noqa: BLE001 - the plugin's own fault, whatever it is
            failure.append(f"{type(error).__name__}: {error}")

    began = time.perf_counter()
    thread = threading.Thread(target=run, name=f"{label} cleanup", daemon=True)
    thread.start()
    thread.join(_CLEANUP_LIMIT)
    milliseconds = round((time.perf_counter() - began) * 1000, 3)
    if thread.is_alive():
        outcome, error = "timed out", f"It did not return within {_CLEANUP_LIMIT:g} s."
    elif failure:
        outcome, error = "raised", failure[0]
    else:
        outcome, error = "returned", None
    return {"plugin": label, "outcome": outcome, "milliseconds": milliseconds, "error": error}
