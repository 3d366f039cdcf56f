"""Which plugins are installed: distributions with entry points of our group (spec 5)."""

from collections.abc import Mapping
from importlib import metadata

GROUP = "aetherscript.plugins"
"""The entry point group which makes a distribution a plugin."""


def installed_plugins() -> Mapping[str, list[str]]:
    """Return the installed versions by plugin name; nothing of them is imported."""
    versions: dict[str, list[str]] = {}
    for entry_point in metadata.entry_points(group=GROUP):
        distribution = entry_point.dist
        if distribution is not None:
            found = versions.setdefault(distribution.name, [])
            if distribution.version not in found:
                found.append(distribution.version)
    return versions
