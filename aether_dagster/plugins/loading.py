"""Finds state hooks in files, folders and modules (spec 5, "Which hooks are active")."""

import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from threading import RLock
from types import ModuleType

from aether_dagster.errors import PluginError
from aether_dagster.plugins.discovery import GROUP
from aether_dagster.plugins.hooks import HookClass
from aethersdk import StateHook

UNKNOWN_VERSION = "0.0.0"
_FILE = "file:"
_MODULE = "module:"
_loading = RLock()


def load_hooks(place: str) -> list[HookClass]:
    """Returns the hook classes of a module, a file, or the files of a folder.

    Args:
        place: A path, or a module's dotted name.

    Raises:
        PluginError: There is no such thing, or it cannot be imported.
    """
    path = Path(place)
    if path.is_dir():
        return [found for file in hook_files(path) for found in hooks_of_file(file)]
    if place.endswith(".py") or path.is_absolute():
        return hooks_of_file(path)
    return hooks_of_module(place)


def load_source(source: str) -> list[HookClass]:
    """Returns the hook classes of a `HookClass.source` of a file or module; else none."""
    if source.startswith(_FILE):
        return hooks_of_file(Path(source.removeprefix(_FILE)))
    if source.startswith(_MODULE):
        return hooks_of_module(source.removeprefix(_MODULE))
    return []


def hook_files(folder: Path) -> list[Path]:
    """Returns the files of a folder which may hold hooks: those without a leading underscore."""
    return sorted(file for file in folder.glob("*.py") if not file.name.startswith("_"))


def hooks_of_file(file: Path) -> list[HookClass]:
    """Returns the hook classes which a file defines."""
    place = file.resolve()
    module = _import_file(place)
    version = str(getattr(module, "__version__", UNKNOWN_VERSION))
    return [
        HookClass(hook, place.stem, version, f"{_FILE}{place}") for hook in hook_classes([module])
    ]


def hooks_of_module(name: str) -> list[HookClass]:
    """Returns the hook classes which a module defines, or the modules of a package."""
    try:
        module = importlib.import_module(name)
    except Exception as error:
        raise PluginError(
            f"The module {name!r} of state hooks cannot be imported: "
            f"{type(error).__name__}: {error}"
        ) from error
    return [hook_class(hook) for hook in hook_classes(_with_submodules(module))]


def hook_class(hook: type[StateHook]) -> HookClass:
    """Returns what is known of a class which was imported as usual."""
    module = sys.modules[hook.__module__]
    file = getattr(module, "__file__", None)
    distribution = plugin_of_module(hook.__module__)
    if distribution is not None:
        name, version = distribution
        return HookClass(hook, name, version, f"plugin:{name}")
    version = getattr(module, "__version__", None) or _distribution_version(hook.__module__)
    source = f"{_FILE}{Path(file).resolve()}" if file else f"{_MODULE}{hook.__module__}"
    return HookClass(hook, hook.__module__.rpartition(".")[2], str(version), source)


def hook_classes(modules: Iterable[ModuleType]) -> list[type[StateHook]]:
    """Returns the hook classes which modules define, and do not merely import."""
    return [
        member
        for module in modules
        for member in vars(module).values()
        if inspect.isclass(member)
        and issubclass(member, StateHook)
        and member.__module__ == module.__name__
        and not member.__name__.startswith("_")
    ]


def plugin_of_module(module: str) -> tuple[str, str] | None:
    """Returns name and version of the installed plugin which a module is of, if it is of one."""
    top = module.partition(".")[0]
    for entry_point in metadata.entry_points(group=GROUP):
        if entry_point.dist is not None and entry_point.module.partition(".")[0] == top:
            return entry_point.dist.name, entry_point.dist.version
    return None


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


def _distribution_version(module: str) -> str:
    for name in _distributions().get(module.partition(".")[0], ()):
        return metadata.version(name)
    return UNKNOWN_VERSION


def _with_submodules(module: ModuleType) -> Iterator[ModuleType]:
    yield module
    for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
        if not found.name.startswith("_"):
            yield importlib.import_module(f"{module.__name__}.{found.name}")


def _import_file(file: Path) -> ModuleType:
    """Imports a file under a name of its own: `plugins/json.py` must not be everybody's json."""
    digest = hashlib.sha256(str(file).encode()).hexdigest()[:12]
    name = f"_aether_hooks_{digest}_{file.stem}"
    with _loading:
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None or not file.is_file():
            raise PluginError(f"There is no file {str(file)!r} of state hooks.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[name]
            if not isinstance(error, Exception):
                raise
            raise PluginError(
                f"{file} cannot be imported: {type(error).__name__}: {error}"
            ) from error
        return module
