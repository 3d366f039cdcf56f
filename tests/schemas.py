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


def errors(kind: Kind, value: Any) -> list[str]:
    """Returns what is wrong with a value, one line each; nothing where it is valid."""
    place = f"state.schema.json#/$defs/{kind}" if kind in _INSIDE_STATE else f"{kind}.schema.json"
    validator = Draft202012Validator({"$ref": place}, registry=_registry)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
