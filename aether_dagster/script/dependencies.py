"""References and `dependsOn`: do they lead somewhere, and which step follows which (spec 2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aether_dagster.script.expansion import MAX_CHARACTERS, TOO_LARGE, Expansion
from aether_dagster.script.findings import Findings, dotted, is_credential_place
from aether_dagster.script.graph import topological_order
from aether_dagster.script.interpolation import (
    METADATA_NAMES,
    SYSTEM_NAMES,
    Kind,
    NoSuchKey,
    Reference,
    follow,
    parse,
    references,
    templates,
)
from aether_dagster.script.loader import Path
from aether_dagster.script.raw_credentials import check_credentials
from aether_dagster.script.rules import HOOK_EVENTS, items_at, mapping_at, named_steps

_EVERYWHERE: tuple[Kind, ...] = ("name", "system", "metadata", "file")
_WITH_SECRETS: tuple[Kind, ...] = (*_EVERYWHERE, "secret")
_ALL: tuple[Kind, ...] = (*_WITH_SECRETS, "step")
_OF_STEPS: tuple[Kind, ...] = (*_ALL, "asset")

_WHY_NOT = {
    "step": "no step has run when this is resolved",
    "asset": "only steps wait for assets",
    "secret": "what stands here is kept in the journal",
}
_MAX_SHOWN = 12


@dataclass(frozen=True)
class Links:
    """What a document's references lead to.

    Attributes:
        order: Step ids, topological, ties in document order.
        dependencies: What each step waits for, in document order.
        data_dependencies: Those of them whose output it takes.
        assets: The assets of others whose values a step takes, by its id.
        names: Environment variables which are read outside `connectors`.
        connector_names: Environment variables which `connectors` read.
        secret_names: Environment variables whose values are secret.
        secrets: Names of secrets.
        files: Paths of files.
        variables: Names of variables, each after those which it refers to.
    """

    order: tuple[str, ...]
    dependencies: dict[str, tuple[str, ...]]
    data_dependencies: dict[str, tuple[str, ...]]
    assets: dict[str, tuple[str, ...]]
    names: frozenset[str]
    connector_names: frozenset[str]
    secret_names: frozenset[str]
    secrets: frozenset[str]
    files: frozenset[str]
    variables: tuple[str, ...]


def metadata_of(raw: Any) -> dict[str, Any]:
    """Return what `${METADATA.…}` can read."""
    metadata = mapping_at(raw, "metadata")
    version = metadata.get("version")
    return {
        "NAME": metadata.get("name"),
        "VERSION": f"{mapping_at(raw).get('version')}.0" if version is None else version,
        "DESCRIPTION": metadata.get("description") or "",
        "OWNERS": list(items_at(raw, "metadata", "owners")),
        "LABELS": dict(mapping_at(raw, "metadata", "labels")),
    }


def link(
    raw: Any, findings: Findings, environ: Mapping[str, str] | None, *, connecting: bool = True
) -> Links:
    """Follow every reference and `dependsOn` of a document.

    Args:
        raw: The document as plain data, of any shape.
        findings: Takes the problems: names, steps and keys which do not exist, credentials
            which stand in the document, cycles.
        environ: The environment to look names up in; None leaves them unchecked.
        connecting: Whether the names in `connectors` must be in it too. They resolve in the
            process which connects, and that may be another one.
    """
    return _Linker(raw, findings, environ, connecting=connecting).link()


class _Linker:
    def __init__(
        self,
        raw: Any,
        findings: Findings,
        environ: Mapping[str, str] | None,
        *,
        connecting: bool,
    ):
        self._raw = raw
        self._connecting = connecting
        self._findings = findings
        self._environ = environ
        self._variables = mapping_at(raw, "variables")
        self._metadata = metadata_of(raw)
        self._expansion = Expansion(self._variables, self._metadata)
        self._steps = named_steps(raw)
        self._index = {step: position for position, step in enumerate(self._steps)}
        self._names: set[str] = set()
        self._connector_names: set[str] = set()
        self._secrets: set[str] = set()
        self._files: set[str] = set()
        self._assets: dict[str, tuple[str, ...]] = {}
        self._edges: dict[tuple[str, str], Path] = {}

    def link(self) -> Links:
        secret_names = self._check_secrets()
        variables = self._check_variables()
        self._check_context(secret_names)
        connectors = mapping_at(self._raw, "connectors")
        for _, reference in self._references(connectors, ("connectors",), _WITH_SECRETS):
            if reference.kind == "name" and reference.name not in self._variables:
                self._connector_names.add(reference.name)
        for event in HOOK_EVENTS:
            for index, hook in enumerate(items_at(self._raw, "hooks", event)):
                path: Path = ("hooks", event, index, "args")
                for _, reference in self._references(mapping_at(hook).get("args"), path, _ALL):
                    self._note_name(reference)
        data, all_ = self._check_steps()
        order, cycles = topological_order(tuple(self._steps), all_)
        for cycle in cycles:
            shown = cycle
            if len(cycle) > _MAX_SHOWN:
                shown = (*cycle[: _MAX_SHOWN - 2], "…", cycle[-1])
            message = "steps depend on each other in a cycle: " + " → ".join(shown)
            self._findings.add(self._edges[cycle[0], cycle[1]], message)
        return Links(
            order,
            all_,
            data,
            self._assets,
            frozenset(self._names),
            frozenset(self._connector_names),
            secret_names,
            frozenset(self._secrets),
            frozenset(self._files),
            variables,
        )

    def _check_secrets(self) -> frozenset[str]:
        declared = items_at(self._raw, "context", "secret_env")
        names = {name for name in declared if isinstance(name, str)}
        for index, name in enumerate(declared):
            if isinstance(name, str) and name in self._variables:
                message = f"{name!r} is also a variable, whose value is kept in the journal"
                self._findings.add(("context", "secret_env", index), message)
        parts: list[tuple[Path, Any]] = [
            (("variables",), self._variables),
            (("context", "environment_vars"), mapping_at(self._raw, "context", "environment_vars")),
            (("context", "artifacts"), mapping_at(self._raw, "context", "artifacts")),
            (("connectors",), mapping_at(self._raw, "connectors")),
        ]
        for index, step in enumerate(items_at(self._raw, "pipeline", "steps")):
            parts.append((("pipeline", "steps", index, "args"), mapping_at(step).get("args")))
        for event in HOOK_EVENTS:
            for index, hook in enumerate(items_at(self._raw, "hooks", event)):
                parts.append((("hooks", event, index, "args"), mapping_at(hook).get("args")))
        for path, value in parts:
            names.update(check_credentials(value, path, self._variables, self._findings))
        store = mapping_at(self._raw, "context").get("secret_store")
        if isinstance(store, str) and "@" in store:
            message = "a secret store's URL holds no credentials; its plugin finds them elsewhere"
            self._findings.add(("context", "secret_store"), message)
        return frozenset(names)

    def _check_variables(self) -> tuple[str, ...]:
        needs: dict[str, list[str]] = {}
        for where, reference in self._references(self._variables, ("variables",), _EVERYWHERE):
            self._note_name(reference)
            if reference.kind == "name" and reference.name in self._variables:
                needs.setdefault(str(where[1]), []).append(reference.name)
        order, cycles = topological_order(tuple(self._variables), needs)
        for cycle in cycles:
            message = "variables refer to each other in a cycle: " + " → ".join(cycle)
            self._findings.add(("variables", cycle[0]), message)
        for name in order:
            if (fault := self._expansion.expand(name)) is not None:
                message = f"with what it refers to in its place, this {fault[0]}"
                self._findings.add(("variables", name), message, expected=fault[1])
        return order

    def _check_context(self, secret_names: frozenset[str]) -> None:
        kept = list(references(self._variables, ("variables",)))
        for key in ("environment_vars", "secret_store", "artifacts"):
            value = mapping_at(self._raw, "context").get(key)
            for where, reference in self._references(value, ("context", key), _EVERYWHERE):
                self._note_name(reference)
                if key != "environment_vars":
                    kept.append((where, reference))
        outside = secret_names - set(self._variables)
        for where, reference in kept:
            if reference.kind == "name" and reference.name in outside:
                self._findings.add(
                    where,
                    f"{reference.text} is secret, and what stands here is kept in the journal",
                    ordinal=reference.ordinal,
                )

    def _check_steps(self) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
        data: dict[str, tuple[str, ...]] = {}
        all_: dict[str, tuple[str, ...]] = {}
        for index, item in enumerate(items_at(self._raw, "pipeline", "steps")):
            step = mapping_at(item)
            name = step.get("id")
            path: Path = ("pipeline", "steps", index)
            taken: set[str] = set()
            assets: dict[str, None] = {}
            for where, reference in self._references(step.get("args"), (*path, "args"), _OF_STEPS):
                self._note_name(reference)
                if reference.kind == "step" and reference.name in self._steps:
                    taken.add(reference.name)
                    self._edges.setdefault((str(name), reference.name), where)
                elif reference.kind == "asset":
                    assets[reference.name] = None
            after = set(taken)
            for position, dependency in enumerate(items_at(step, "dependsOn")):
                if not isinstance(dependency, str):
                    continue
                where = (*path, "dependsOn", position)
                if dependency in self._steps:
                    after.add(dependency)
                    self._edges.setdefault((str(name), dependency), where)
                else:
                    self._unknown_step(where, dependency)
            if isinstance(name, str) and self._steps[name] == index:
                if assets:
                    self._assets[name] = tuple(assets)
                data[name] = tuple(sorted(taken, key=self._index.__getitem__))
                all_[name] = tuple(sorted(after, key=self._index.__getitem__))
        return data, all_

    def _references(
        self, value: Any, path: Path, allowed: Sequence[Kind]
    ) -> list[tuple[Path, Reference]]:
        """The references of a part of the document; what is wrong with them is noted."""
        found: list[tuple[Path, Reference]] = []
        room = MAX_CHARACTERS
        for where, text in templates(value, path):
            template, faults = parse(text)
            for fault in faults:
                self._findings.add(
                    where,
                    fault.message[:1].lower() + fault.message[1:],
                    found=None if is_credential_place(where) else fault.found,
                    expected=fault.expected,
                    suggestion=fault.suggestion,
                    ordinal=fault.ordinal,
                )
            found.extend(
                (where, part)
                for part in template
                if isinstance(part, Reference) and self._check(where, part, allowed)
            )
            within = room >= 0
            room -= sum(self._expansion.size(p) for p in template if isinstance(p, Reference))
            if within and room < 0:
                limit = f"at most {MAX_CHARACTERS} characters in {dotted(path[-1:])}"
                message = f"with what it refers to in its place, this {TOO_LARGE}"
                self._findings.add(where, message, expected=limit)
        return found

    def _check(self, where: Path, reference: Reference, allowed: Sequence[Kind]) -> bool:
        if reference.kind not in allowed:
            message = f"{reference.text} cannot stand here: {_WHY_NOT[reference.kind]}"
            self._findings.add(where, message, ordinal=reference.ordinal)
            return False
        if reference.kind == "name":
            self._check_name(where, reference)
        elif reference.kind == "step" and reference.name not in self._steps:
            self._unknown_step(where, reference.name, reference)
        elif reference.kind == "metadata":
            self._check_metadata(where, reference)
        elif reference.kind == "secret":
            self._secrets.add(reference.name)
        elif reference.kind == "file":
            self._files.add(reference.name)
        return True

    def _check_name(self, where: Path, reference: Reference) -> None:
        if reference.name in self._variables:
            return
        if self._environ is None or reference.name in self._environ:
            return
        if where[0] == "connectors" and not self._connecting:
            return
        known = [*self._variables, *SYSTEM_NAMES]
        self._findings.add(
            where,
            f"{reference.text} is neither a variable nor in the environment",
            expected="a variable, an environment variable which is set, or $${ for a literal ${",
            suggestion=self._findings.nearest(reference.name, known)
            or self._findings.nearest(reference.name, self._environ),
            ordinal=reference.ordinal,
        )

    def _check_metadata(self, where: Path, reference: Reference) -> None:
        try:
            follow(self._metadata, (reference.name, *reference.keys))
        except NoSuchKey:
            near = self._findings.nearest(reference.name, METADATA_NAMES)
            self._findings.add(
                where,
                f"{reference.text} is not in the metadata",
                expected="one of " + ", ".join(f"${{METADATA.{name}}}" for name in METADATA_NAMES),
                suggestion=f"${{METADATA.{near}}}" if near else None,
                ordinal=reference.ordinal,
            )

    def _unknown_step(self, where: Path, name: str, reference: Reference | None = None) -> None:
        self._findings.add(
            where,
            f"there is no step {name!r}",
            suggestion=self._findings.nearest(name, self._steps),
            ordinal=reference.ordinal if reference else None,
        )

    def _note_name(self, reference: Reference) -> None:
        if reference.kind == "name" and reference.name not in self._variables:
            self._names.add(reference.name)
