"""Resolves the plugins of a document to exact versions, with a real resolver (spec 5)."""

# nodesemver has no type annotations.
# pyright: reportUnknownMemberType=false

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Any, cast

from resolvelib import AbstractProvider, BaseReporter, ResolutionImpossible, Resolver

from aether_dagster.errors import PluginError
from aether_dagster.plugins.discovery import FoundPlugin
from aether_dagster.script.ranges import is_range, satisfying, semantic_version

DOCUMENT = "the document"


@dataclass(frozen=True)
class Requirement:
    """A plugin which somebody needs.

    Args:
        name: The plugin.
        range: An npm-style range.
        by: Who needs it: the document, or `Name@version`.
    """

    name: str
    range: str
    by: str = DOCUMENT

    def __str__(self) -> str:
        return f"{self.by} requires {self.name} {self.range}"


Requires = Callable[[FoundPlugin], Mapping[str, str]]


def resolve_plugins(
    requirements: Sequence[Requirement], found: Iterable[FoundPlugin], requires: Requires
) -> list[FoundPlugin]:
    """Chooses a version of each plugin which is required, the newest which fits everybody.

    Args:
        requirements: The document's.
        found: Every version there is.
        requires: Gives the requirements of a version.

    Returns:
        The chosen versions; each stands after those which it requires.

    Raises:
        PluginError: One is missing, no versions fit together, or they require each other in a
            circle. Names every requirement and who made it.
    """
    by_name: dict[str, list[FoundPlugin]] = {}
    for plugin in found:
        known = by_name.setdefault(plugin.name, [])
        if all(plugin.version != other.version for other in known):
            known.append(plugin)
    provider = _Provider(by_name, requires)
    resolver = Resolver(provider, BaseReporter[Requirement, FoundPlugin, str]())
    try:
        chosen = resolver.resolve(requirements, max_rounds=10_000).mapping
    except ResolutionImpossible as error:  # pyright: ignore[reportUnknownVariableType]
        causes = cast("Sequence[Any]", error.causes)
        raise PluginError(_conflict([cause.requirement for cause in causes], by_name)) from None
    return _in_order(chosen, provider.requirements)


class _Provider(AbstractProvider[Requirement, FoundPlugin, str]):
    def __init__(self, by_name: Mapping[str, list[FoundPlugin]], requires: Requires):
        self._by_name, self._requires = by_name, requires
        self._known: dict[tuple[str, str], list[Requirement]] = {}

    def requirements(self, plugin: FoundPlugin) -> list[Requirement]:
        key = (plugin.name, plugin.version)
        if key not in self._known:
            ranges = self._requires(plugin)
            for name, wanted in ranges.items():
                if not is_range(wanted):
                    raise PluginError(
                        f"{plugin.label} requires {name} {wanted!r}, which is no version range; "
                        "write one such as '^1.4.0'."
                    )
            self._known[key] = [Requirement(n, r, plugin.label) for n, r in ranges.items()]
        return self._known[key]

    def identify(self, requirement_or_candidate: Requirement | FoundPlugin) -> str:
        return requirement_or_candidate.name

    def get_preference(
        self,
        identifier: str,
        resolutions: Any,  # noqa: ARG002 - resolvelib's signature
        candidates: Any,
        information: Any,  # noqa: ARG002
        backtrack_causes: Any,
    ) -> tuple[bool, int, str]:
        causes = {cause.requirement.name for cause in backtrack_causes}
        return (identifier not in causes, len(list(candidates[identifier])), identifier)

    def narrow_requirement_selection(
        self,
        identifiers: Iterable[str],
        resolutions: Any,  # noqa: ARG002
        candidates: Any,  # noqa: ARG002
        information: Any,  # noqa: ARG002
        backtrack_causes: Any,  # noqa: ARG002
    ) -> Iterable[str]:
        return identifiers

    def find_matches(
        self, identifier: str, requirements: Any, incompatibilities: Any
    ) -> list[FoundPlugin]:
        wanted = list(requirements[identifier])
        refused = [plugin.version for plugin in incompatibilities[identifier]]
        fitting = [
            plugin
            for plugin in self._by_name.get(identifier, ())
            if plugin.version not in refused and all(_fits(plugin, each) for each in wanted)
        ]
        return _newest_first(fitting)

    def is_satisfied_by(self, requirement: Requirement, candidate: FoundPlugin) -> bool:
        return _fits(candidate, requirement)

    def get_dependencies(self, candidate: FoundPlugin) -> list[Requirement]:
        return self.requirements(candidate)


def _fits(plugin: FoundPlugin, requirement: Requirement) -> bool:
    if plugin.yanked is not None and requirement.range.lstrip("=v") != plugin.version:
        return False
    return bool(satisfying([plugin.version], requirement.range))


def _newest_first(plugins: list[FoundPlugin]) -> list[FoundPlugin]:
    import nodesemver

    def compare(one: FoundPlugin, other: FoundPlugin) -> int:
        versions = semantic_version(one.version), semantic_version(other.version)
        return int(nodesemver.compare(*versions, loose=False))

    return sorted(plugins, key=cmp_to_key(compare), reverse=True)


def _conflict(requirements: Sequence[Requirement], by_name: Mapping[str, list[FoundPlugin]]) -> str:
    lines = ["The plugins cannot be resolved:"]
    told = dict.fromkeys(str(requirement) for requirement in requirements)
    lines += [f"  {requirement}" for requirement in told]
    for name in dict.fromkeys(requirement.name for requirement in requirements):
        versions = _newest_first(by_name.get(name, []))
        there = ", ".join(_shown(plugin) for plugin in versions)
        lines.append(f"  of {name} there is {there}" if there else f"  {name} is not installed")
    return "\n".join(lines)


def _shown(plugin: FoundPlugin) -> str:
    yanked = "" if plugin.yanked is None else f", yanked: {plugin.yanked}"
    return f"{plugin.version} ({plugin.place}{yanked})"


def _in_order(
    chosen: Mapping[str, FoundPlugin], requirements: Callable[[FoundPlugin], list[Requirement]]
) -> list[FoundPlugin]:
    ordered: dict[str, FoundPlugin] = {}

    def visit(name: str, path: tuple[Requirement, ...]) -> None:
        if name in ordered:
            return
        names = [requirement.name for requirement in path]
        if name in names[:-1]:
            circle = path[names.index(name) + 1 :]
            steps = "\n".join(f"  {requirement}" for requirement in circle)
            raise PluginError(f"Plugins require each other in a circle:\n{steps}")
        for requirement in requirements(chosen[name]):
            visit(requirement.name, (*path, requirement))
        ordered[name] = chosen[name]

    for name in sorted(chosen):
        visit(name, (Requirement(name, "*"),))
    return list(ordered.values())


def document_requirements(plugins: Iterable[Any]) -> Iterator[Requirement]:
    """Yields the requirements of a document's `plugins:`."""
    for plugin in plugins:
        yield Requirement(plugin.name, plugin.version)
