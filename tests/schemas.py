"""The hand-written JSON Schemas of the state, for tests of whatever writes state."""

import json
from pathlib import Path
from typing import Any, Literal

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

SCHEMAS = Path(__file__).parents[1] / "docs" / "spec"

_registry: Registry[Any] = Registry().with_resources(
    (path.name, Resource.from_contents(json.loads(path.read_text())))
    for path in SCHEMAS.glob("*.schema.json")
)

Kind = Literal["node", "state", "final", "pipeline", "context"]
_INSIDE_STATE = {"pipeline", "context"}
_INSIDE = {"report": "final", "error": "node", "pipeline": "state", "context": "state"}


def errors(kind: Kind, value: Any) -> list[str]:
    """Returns what is wrong with a value, one line each; nothing where it is valid."""
    place = f"state.schema.json#/$defs/{kind}" if kind in _INSIDE_STATE else f"{kind}.schema.json"
    validator = Draft202012Validator({"$ref": place}, registry=_registry)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def misplaced(kind: Literal["node", "state", "final"], value: Any) -> list[str]:
    """Returns which objects have their members in another order than the schema names them in."""
    objects = {kind: value}
    nodes = {"": value} if kind == "node" else value["nodes"]
    if kind != "node":
        objects |= {part: value[part] for part in ("pipeline", "context")}
        objects |= {f"node {name}": node for name, node in nodes.items()}
    if kind == "final":
        objects["report"] = value["report"]
    objects |= {f"error {name}": node["error"] for name, node in nodes.items() if node["error"]}
    return [
        f"{what}: {list(found)}"
        for what, found in objects.items()
        if [name for name in _members(what.partition(" ")[0]) if name in found]
        != [name for name in found if name in _members(what.partition(" ")[0])]
    ]


def _members(of: str) -> list[str]:
    """The members of an object in the order of the specification."""
    schema = json.loads((SCHEMAS / f"{_INSIDE.get(of, of)}.schema.json").read_text())
    return list((schema["$defs"][of] if of in _INSIDE else schema)["properties"])
