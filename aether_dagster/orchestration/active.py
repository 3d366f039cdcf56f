"""What is active for a pipeline in this process: plugins, state hooks, secret stores (spec 5)."""

from pathlib import Path
from typing import TYPE_CHECKING

from aether_dagster.orchestration.pipeline import CompiledPipeline

if TYPE_CHECKING:
    from aether_dagster.plugins.activation import Active
    from aether_dagster.plugins.hooks import HookClass

_of_sensors: "dict[str, HookClass]" = {}


def add_hooks_of_sensors(hooks: "list[HookClass]") -> None:
    """Makes the hooks of a code location's sensors active in its runs: one list feeds both."""
    _of_sensors.update({hook.key: hook for hook in hooks})


def has_sensor(key: str) -> bool:
    """Tells whether the code location has built the sensor of a hook itself."""
    return key in _of_sensors


def find_active(pipeline: CompiledPipeline) -> "Active | None":
    """Resolves and loads what is active for a pipeline; None, at no cost, where nothing is.

    Raises:
        PluginError: Plugins cannot be resolved or loaded, or a hook is wrong.
    """
    document, places = pipeline.document, pipeline.settings.hooks
    if not (document.pipeline.plugins or places or _of_sensors or _has_folder(pipeline.directory)):
        return None
    # Imported here: what has no plugins pays nothing for them.
    from aether_dagster.plugins.activation import activate

    return activate(document, pipeline.directory, places, list(_of_sensors.values()))


def _has_folder(directory: Path) -> bool:
    return (directory / "plugins").is_dir()
