"""Imports a document's own code: from its folder first, then from the Python path (spec 2)."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from importlib.machinery import PathFinder
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any

from aether_dagster.errors import StepFailed

_importing = RLock()
_document_folders: set[Path] = set()


def load_callable(reference: str, directory: Path) -> Callable[..., Any]:
    """Import what `module:function` names; the function may be dotted, as in `Class.method`.

    Args:
        reference: `module:function`.
        directory: The document's folder.

    Raises:
        StepFailed: There is no such module or function (the nearest name is suggested), or what
            it names cannot be called.
        Exception: Whatever the module raises while it is imported.
    """
    module_name, _, function = reference.partition(":")
    module = import_from(module_name, directory)
    found: Any = module
    for name in function.split("."):
        if not hasattr(found, name):
            raise StepFailed(
                "AttributeError",
                f"{_label(found)} has no {name!r}{_suggestion(name, dir(found))}, "
                f"as {reference!r} asks for.",
                "",
            )
        found = getattr(found, name)
    if not callable(found):
        raise StepFailed("TypeError", f"{reference!r} is {type(found).__name__}, no function.", "")
    return found


def import_from(name: str, directory: Path) -> ModuleType:
    """Import a module from a document's folder, else from the Python path.

    Two documents may each have a module of the same name; each gets its own.

    Raises:
        StepFailed: There is none, or another module of its name is in the way.
    """
    with _importing:
        put_first(directory)
        _make_way(name.partition(".")[0], directory.resolve())
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            # A module which exists but misses another one is the other one's error.
            if name != missing and not name.startswith(f"{missing}."):
                raise
            raise StepFailed(
                "ModuleNotFoundError",
                f"There is no module {name!r} in {str(directory)!r} or on the Python path"
                f"{_suggestion(name, _names_beside(name, directory))}.",
                "",
            ) from None


def put_first(directory: Path) -> None:
    """Make a document's folder the first on the import path, where it stays.

    It stays because the document's code may import more while it runs.
    """
    folder = directory.resolve()
    with _importing:
        _document_folders.add(folder)
        if sys.path[:1] != [str(folder)]:
            sys.path[:] = [str(folder), *(entry for entry in sys.path if entry != str(folder))]
            importlib.invalidate_caches()


def path_of(directory: Path) -> list[str]:
    """Give the import path for a process which runs code of one document alone."""
    folder = directory.resolve()
    others = {str(other) for other in _document_folders - {folder}}
    return [str(folder), *(e for e in sys.path if e not in others and e != str(folder))]


def _make_way(top: str, folder: Path) -> None:
    loaded = sys.modules.get(top)
    if loaded is None:
        return
    spec = PathFinder.find_spec(top, [str(folder)])
    places = [Path(place).resolve() for place in _places(loaded)]
    if spec is None or spec.origin is None or any(p.is_relative_to(folder) for p in places):
        return
    others = _document_folders - {folder}
    if not any(place.is_relative_to(other) for place in places for other in others):
        other = f" of {str(places[0])!r}" if places else ""
        raise StepFailed(
            "ImportError",
            f"The module {top!r} of {str(folder)!r} is hidden by the one{other}, which is imported "
            "already; give it another name.",
            "",
        )
    for name in [n for n in sys.modules if n == top or n.startswith(f"{top}.")]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _places(module: ModuleType) -> Iterable[str]:
    file = getattr(module, "__file__", None)
    return [file] if file else list(getattr(module, "__path__", []))


def _names_beside(name: str, directory: Path) -> list[str]:
    package, _, _ = name.rpartition(".")
    if not package:
        return _modules_in([str(directory)])
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    places = spec.submodule_search_locations if spec else None
    if places is None:
        rest = name.partition(".")[2]
        return [f"{top}.{rest}" for top in _modules_in([str(directory)])]
    return [f"{package}.{module}" for module in _modules_in(places)]


def _modules_in(places: Iterable[str]) -> list[str]:
    entries = [entry for place in places for entry in Path(place).iterdir()]
    return [entry.stem for entry in entries if entry.suffix == ".py" or entry.is_dir()]


def _suggestion(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, [n for n in known if not n.startswith("__")], n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _label(found: Any) -> str:
    if isinstance(found, ModuleType):
        return f"The module {found.__name__!r} ({getattr(found, '__file__', 'built in')})"
    return repr(getattr(found, "__qualname__", found))
