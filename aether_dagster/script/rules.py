"""The rules between the parts of a document (spec 2) which no model of one part can say.

They read the plain data and not the models, so that a document with a wrong shape still gets all
of its other problems told.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from aether_dagster.script.builtins import STEP_ARGUMENTS
from aether_dagster.script.command_lines import check_command_line
from aether_dagster.script.findings import Findings
from aether_dagster.script.interpolation import RESERVED_NAMES
from aether_dagster.script.loader import Path
from aether_dagster.script.model import TYPE_NAME
from aether_dagster.script.names import DAGSTER_RESERVED, RESERVED_CONNECTORS, dagster_name
from aether_dagster.script.ranges import is_range, satisfying
from aether_dagster.script.shape import check_shape

CONNECTOR_TYPES = ("sql", "http")
HOOK_EVENTS = ("onSuccess", "onFailure", "onComplete")

_CONNECTOR_OF_STEP = {"sql/query": "sql", "http/request": "http"}
_WRONG_CONNECTOR = {"sql": ("http",), "http": ("sql",)}


def mapping_at(raw: Any, *path: str) -> Mapping[str, Any]:
    """Return the mapping at a path of a document, empty where there is none."""
    for part in path:
        raw = cast("Mapping[str, Any]", raw).get(part) if isinstance(raw, Mapping) else None
    return cast("Mapping[str, Any]", raw) if isinstance(raw, Mapping) else {}


def items_at(raw: Any, *path: str) -> Sequence[Any]:
    """Return the list at a path of a document, empty where there is none."""
    value = mapping_at(raw, *path[:-1]).get(path[-1])
    return cast("Sequence[Any]", value) if isinstance(value, (list, tuple)) else ()


def named_steps(raw: Any) -> dict[str, int]:
    """Return the index of each step's first occurrence, by id, in document order."""
    steps: dict[str, int] = {}
    for index, step in enumerate(items_at(raw, "pipeline", "steps")):
        name = mapping_at(step).get("id")
        if isinstance(name, str):
            steps.setdefault(name, index)
    return steps


def check_rules(
    raw: Mapping[str, Any], findings: Findings, known_plugins: Mapping[str, Sequence[str]] | None
) -> None:
    """Note everything which breaks a rule on names, step types, arguments and plugins.

    Also secrets which would stand in a command line.

    Args:
        raw: The document as plain data, of any shape.
        findings: Takes the problems.
        known_plugins: Installed versions by plugin; None leaves them unchecked.
    """
    first = next(iter(raw), None)
    if "version" in raw and first != "version":
        message = "'version' must be the first key"
        findings.add(("version",), message, found=repr(first), at_key=True)
    _check_pipeline_name(raw, findings)
    _check_variables(raw, findings)
    _check_connectors(raw, findings)
    plugins = _check_plugins(raw, findings, known_plugins)
    _check_step_names(raw, findings)
    secret_env = items_at(raw, "context", "secret_env")
    for path, step in _typed_parts(raw):
        _check_type(path, step, plugins, raw, findings)
        kind, args = str(step.get("type")), mapping_at(step, "args")
        check_command_line(kind, args, (*path, "args"), secret_env, findings)


def _typed_parts(raw: Any) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Every part which has a type and arguments: steps, then hooks."""
    for index, step in enumerate(items_at(raw, "pipeline", "steps")):
        yield ("pipeline", "steps", index), mapping_at(step)
    for event in HOOK_EVENTS:
        for index, hook in enumerate(items_at(raw, "hooks", event)):
            yield ("hooks", event, index), mapping_at(hook)


def _check_pipeline_name(raw: Any, findings: Findings) -> None:
    name = mapping_at(raw, "metadata").get("name")
    if isinstance(name, str) and dagster_name(name) in DAGSTER_RESERVED:
        findings.add(("metadata", "name"), f"{name!r} is a name which Dagster reserves")


def _check_variables(raw: Any, findings: Findings) -> None:
    for name in mapping_at(raw, "variables"):
        if name in RESERVED_NAMES:
            message = f"{name!r} has a meaning of its own in references; choose another name"
            findings.add(("variables", name), message, at_key=True)


def _check_connectors(raw: Any, findings: Findings) -> None:
    taken: dict[str, str] = {}
    for name, connector in mapping_at(raw, "connectors").items():
        safe = dagster_name(name)
        if safe in RESERVED_CONNECTORS or safe in DAGSTER_RESERVED:
            message = f"{name!r} is a name which Dagster reserves"
            findings.add(("connectors", name), message, at_key=True)
        if safe in taken:
            message = f"{name!r} and {taken[safe]!r} are both {safe!r} in Dagster; rename one"
            findings.add(("connectors", name), message, at_key=True)
        taken.setdefault(safe, name)
        kind = mapping_at(connector).get("type")
        known = kind in CONNECTOR_TYPES
        if isinstance(kind, str) and not known and not re.match(TYPE_NAME, kind):
            findings.add(
                ("connectors", name, "type"),
                "unknown connector type",
                found=repr(kind),
                expected="'sql', 'http', or 'Plugin/kind'",
                suggestion=findings.nearest(kind, CONNECTOR_TYPES),
            )
        if known and mapping_at(connector).get("url") is None:
            findings.add(("connectors", name), "the key 'url' is missing")


def _check_plugins(
    raw: Any, findings: Findings, known: Mapping[str, Sequence[str]] | None
) -> set[str]:
    listed: set[str] = set()
    for index, plugin in enumerate(items_at(raw, "plugins")):
        path: Path = ("plugins", index)
        name, wanted = mapping_at(plugin).get("name"), mapping_at(plugin).get("version")
        valid_range = not isinstance(wanted, str) or is_range(wanted)
        if not valid_range:
            findings.add(
                (*path, "version"),
                "this is no version range",
                found=repr(wanted),
                expected="an npm-style range such as '^1.4.0', '~1.4' or '>=1.2 <3'",
            )
        if not isinstance(name, str):
            continue
        if name in listed:
            findings.add((*path, "name"), f"the plugin {name!r} is listed twice")
        listed.add(name)
        if known is None:
            continue
        if name not in known:
            findings.add(
                (*path, "name"),
                f"the plugin {name!r} is not installed",
                expected="one of " + ", ".join(sorted(known)) if known else "an installed plugin",
                suggestion=findings.nearest(name, known),
            )
        elif isinstance(wanted, str) and valid_range and not satisfying(known[name], wanted):
            findings.add(
                (*path, "version"),
                f"no installed version of {name!r} fits",
                found=", ".join(known[name]),
                expected=repr(wanted),
            )
    return listed


def _check_step_names(raw: Any, findings: Findings) -> None:
    first: dict[str, int] = {}
    safe_names: dict[str, str] = {}
    for index, step in enumerate(items_at(raw, "pipeline", "steps")):
        name = mapping_at(step).get("id")
        if not isinstance(name, str):
            continue
        path: Path = ("pipeline", "steps", index, "id")
        if name in first:
            place = findings.line(("pipeline", "steps", first[name], "id"))
            where = f"; first in line {place}" if place else ""
            findings.add(path, f"the id {name!r} stands twice{where}")
            continue
        first[name] = index
        safe = dagster_name(name)
        if safe in DAGSTER_RESERVED:
            findings.add(path, f"{name!r} is a name which Dagster reserves; choose another id")
        if safe in safe_names:
            message = f"{name!r} and {safe_names[safe]!r} are both {safe!r} in Dagster; rename one"
            findings.add(path, message)
        safe_names.setdefault(safe, name)


def _check_type(
    path: Path, part: Mapping[str, Any], plugins: set[str], raw: Any, findings: Findings
) -> None:
    kind, args = part.get("type"), part.get("args")
    if not isinstance(kind, str):
        return
    arguments = STEP_ARGUMENTS.get(kind)
    if arguments is not None:
        if args is None or isinstance(args, Mapping):
            check_shape(arguments, args or {}, (*path, "args"), findings)
        _check_connector_of_step(path, kind, mapping_at(args), raw, findings)
        return
    owner, slash, action = kind.partition("/")
    if owner in plugins and re.match(TYPE_NAME, kind):
        return
    known = [*STEP_ARGUMENTS, *(f"{plugin}/{action}" for plugin in sorted(plugins) if action)]
    expected = "one of " + ", ".join(STEP_ARGUMENTS)
    if slash and not any(name.startswith(f"{owner}/") for name in STEP_ARGUMENTS):
        expected += f", or that plugins: lists {owner!r}"
    findings.add(
        (*path, "type"),
        "unknown step type",
        found=repr(kind),
        expected=expected,
        suggestion=findings.nearest(kind, known),
    )


def _check_connector_of_step(
    path: Path, kind: str, args: Mapping[str, Any], raw: Any, findings: Findings
) -> None:
    name, needed = args.get("connector"), _CONNECTOR_OF_STEP.get(kind)
    if not isinstance(name, str) or needed is None:
        return
    where = (*path, "args", "connector")
    connectors = mapping_at(raw, "connectors")
    if "${" in name:
        message = "a connector is named as it is, without a reference"
        findings.add(where, message, found=repr(name))
    elif name not in connectors:
        findings.add(
            where,
            f"there is no connector {name!r}",
            expected="one of " + ", ".join(connectors) if connectors else "a key of connectors:",
            suggestion=findings.nearest(name, connectors),
        )
    elif mapping_at(connectors[name]).get("type") in _WRONG_CONNECTOR[needed]:
        findings.add(
            where,
            f"the connector {name!r} has the wrong type for {kind}",
            found=repr(mapping_at(connectors[name])["type"]),
            expected=repr(needed),
        )
