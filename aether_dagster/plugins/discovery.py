"""Which plugins are there: distributions with entry points of our group, and folders (spec 5)."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from aether_dagster.errors import PluginError

GROUP = "aetherscript.plugins"
"""The entry point group which makes a distribution a plugin."""

FOLDER = "plugins"
"""The folder beside a pipeline document whose plugins are active there."""


@dataclass(frozen=True)
class FoundPlugin:
    """A version of a plugin which could be used; nothing of it is imported.

    Args:
        name: Its name.
        version: Its version, as its metadata says.
        entry_points: `module:object` by name.
        folder: Where it lies, if it is no installed distribution.
        requires: Other plugins with ranges, where its metadata says.
        yanked: Why it should not be used unless it is asked for by its very version.
    """

    name: str
    version: str
    entry_points: Mapping[str, str]
    folder: Path | None = None
    requires: Mapping[str, str] = field(default_factory=dict[str, str])
    yanked: str | None = None

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return "installed" if self.folder is None else str(self.folder)

    @property
    def label(self) -> str:
        """`Name@version`."""
        return f"{self.name}@{self.version}"


def find_plugins(directory: Path | None = None) -> list[FoundPlugin]:
    """Returns every plugin which a pipeline can use.

    Args:
        directory: The document's folder; the plugins in its `plugins/` come first.

    Raises:
        PluginError: The metadata of a plugin in a folder cannot be read.
    """
    found = [] if directory is None else _in_folders(directory / FOLDER)
    return [*found, *_installed()]


def installed_plugins() -> Mapping[str, list[str]]:
    """Return the installed versions by plugin name; nothing of them is imported."""
    return _versions(_installed())


def known_plugins(directory: Path) -> Mapping[str, list[str]]:
    """Return the versions by plugin name which documents of a folder can use.

    Raises:
        PluginError: The metadata of a plugin in the folder cannot be read.
    """
    return _Known(_in_folders(directory / FOLDER))


class _Known(Mapping[str, list[str]]):
    """Asks what is installed when it is asked itself: most documents list no plugin."""

    def __init__(self, beside: Sequence[FoundPlugin]) -> None:
        self._beside = beside

    @cached_property
    def _all(self) -> dict[str, list[str]]:
        return _versions([*self._beside, *_installed()])

    def __getitem__(self, name: str) -> list[str]:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)


def _versions(plugins: list[FoundPlugin]) -> dict[str, list[str]]:
    versions: dict[str, list[str]] = {}
    for plugin in plugins:
        known = versions.setdefault(plugin.name, [])
        if plugin.version not in known:
            known.append(plugin.version)
    return versions


def _installed() -> list[FoundPlugin]:
    points: dict[tuple[str, str], dict[str, str]] = {}
    for entry_point in metadata.entry_points(group=GROUP):
        if entry_point.dist is not None:
            key = (entry_point.dist.name, entry_point.dist.version)
            points.setdefault(key, {})[entry_point.name] = entry_point.value
    return [FoundPlugin(name, version, found) for (name, version), found in points.items()]


def _in_folders(folder: Path) -> list[FoundPlugin]:
    files = sorted(folder.glob("*/pyproject.toml")) if folder.is_dir() else []
    return [read_folder(file.parent) for file in files]


def read_folder(folder: Path) -> FoundPlugin:
    """Returns the plugin of a folder, as its `pyproject.toml` describes it.

    `[project]` gives name, version and entry points, as of a distribution;
    `[tool.aetherscript.requires]` the plugins which it needs, `tool.aetherscript.yanked` a reason
    not to use it.

    Raises:
        PluginError: There is none, or it says too little.
    """
    file = folder / "pyproject.toml"
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise PluginError(f"{file} cannot be read: {error}.") from None
    project: Mapping[str, Any] = content.get("project", {})
    own: Mapping[str, Any] = content.get("tool", {}).get("aetherscript", {})
    for key in ("name", "version"):
        if not isinstance(project.get(key), str):
            raise PluginError(f"{file}: the plugin has no {key!r}; write it under [project].")
    return FoundPlugin(
        name=project["name"],
        version=project["version"],
        entry_points=dict(project.get("entry-points", {}).get(GROUP, {})),
        folder=folder.resolve(),
        requires=dict(own.get("requires", {})),
        yanked=own.get("yanked"),
    )
