"""The JSON Schema of a pipeline document (draft 2020-12), generated from the models.

It says what a schema can say: shapes, names, and the arguments of built-in step types. Rules
between parts (references, cycles, unique ids) are the loader's alone.
"""

import re
from collections.abc import Mapping
from typing import Any, cast

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from aether_dagster.script.builtins import STEP_ARGUMENTS
from aether_dagster.script.model import FORMAT_VERSION, TYPE_NAME, Part, Pipeline
from aether_dagster.script.rules import CONNECTOR_TYPES

SCHEMA_FILE = f"aetherscript-{FORMAT_VERSION}.schema.json"
"""Name of the file in this package which holds the schema."""

_OWN = "|".join(sorted({name.partition("/")[0] for name in STEP_ARGUMENTS}))
_STEP_TYPE = {
    "description": "A built-in step type, or `Plugin/action`.",
    "anyOf": [
        {"enum": list(STEP_ARGUMENTS)},
        {"type": "string", "pattern": f"^(?!({_OWN})/)" + TYPE_NAME.removeprefix("^")},
    ],
}
_CONNECTOR_TYPE = {
    "description": "`sql`, `http`, or `Plugin/kind`.",
    "anyOf": [{"enum": list(CONNECTOR_TYPES)}, {"type": "string", "pattern": TYPE_NAME}],
}
_SECTION = re.compile(r"\n *(?:Args|Attributes):\n(.*?)(?:\n\n|$)", re.DOTALL)
_MEMBER = re.compile(r"^ *(\w+): (.*?)(?=^ *\w+: |\Z)", re.DOTALL | re.MULTILINE)
_REMARKS = {"default", "description"}
_SNAKE = re.compile(r"(?<=[a-z])(?=[A-Z])")
_DEFINITIONS = "#/$defs/{model}"


def json_schema() -> dict[str, Any]:
    """Return the schema of format 2.1, as shipped in `SCHEMA_FILE`."""
    models: list[type[BaseModel]] = [Pipeline, *STEP_ARGUMENTS.values()]
    _, schema = models_json_schema(
        [(model, "validation") for model in models],
        by_alias=True,
        ref_template=_DEFINITIONS,
    )
    definitions = cast("dict[str, dict[str, Any]]", schema["$defs"])
    documented = _documented_members(Part)
    for name, definition in definitions.items():
        _describe(definition, documented[name])
        _allow_null_for_optional(definition)
        _close(definition)
    for name in ("Step", "Hook"):
        definitions[name]["allOf"] = [
            {
                "if": {"properties": {"type": {"const": step_type}}, "required": ["type"]},
                "then": {
                    "properties": {"args": _arguments(model, definitions[model.__name__])},
                    **({"required": ["args"]} if _needs(definitions[model.__name__]) else {}),
                },
            }
            for step_type, model in STEP_ARGUMENTS.items()
        ]
        definitions[name]["properties"]["type"] = _STEP_TYPE
    definitions["Connector"]["properties"]["type"] = _CONNECTOR_TYPE
    definitions["Connector"]["if"] = {"properties": {"type": {"enum": list(CONNECTOR_TYPES)}}}
    definitions["Connector"]["then"] = {"required": ["type", "url"]}
    pipeline = definitions.pop("Pipeline")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"AetherScript pipeline document {FORMAT_VERSION}",
        **{key: value for key, value in pipeline.items() if key != "title"},
        "$defs": dict(sorted(definitions.items())),
    }


def _needs(definition: Mapping[str, Any]) -> bool:
    return "required" in definition or "oneOf" in definition


def _arguments(model: type[BaseModel], definition: Mapping[str, Any]) -> dict[str, Any]:
    reference: dict[str, Any] = {"$ref": _DEFINITIONS.format(model=model.__name__)}
    # Where nothing is required, an explicit null means no arguments.
    return reference if _needs(definition) else {"anyOf": [reference, {"type": "null"}]}


def _describe(definition: dict[str, Any], members: Mapping[str, str]) -> None:
    """Editors show descriptions: the docstring's first sentence, and one for each member."""
    text = definition.get("description", "")
    definition["description"] = " ".join(text.split("\n\n")[0].split())
    for key, value in definition.get("properties", {}).items():
        name = _SNAKE.sub("_", key).lower()
        if name in members:
            value["description"] = members[name]


def _documented_members(model: type[Part]) -> dict[str, dict[str, str]]:
    """What docstrings say about members, by model and name; a model has its parents' too."""
    found = {
        name: " ".join(text.split())
        for part in reversed(model.__mro__)
        if issubclass(part, Part) and (section := _SECTION.search(f"{part.__doc__}\n\n"))
        for name, text in _MEMBER.findall(section[1])
    }
    documented = {model.__name__: found}
    for child in model.__subclasses__():
        documented.update(_documented_members(child))
    return documented


def _close(definition: dict[str, Any]) -> None:
    """Keys which match no pattern are errors, which pydantic's schema does not say."""
    for value in definition.get("properties", {}).values():
        for option in (value, *value.get("anyOf", ())):
            if "patternProperties" in option:
                option["additionalProperties"] = False


def _allow_null_for_optional(definition: dict[str, Any]) -> None:
    """An explicit null for an optional key means its default (spec 1.1)."""
    required = definition.get("required", ())
    for key, value in definition.get("properties", {}).items():
        value.pop("title", None)
        options = value.get("anyOf", [])
        if key in required or {"type": "null"} in options or not {*value} - _REMARKS:
            continue
        if options:
            options.append({"type": "null"})
            continue
        kept = {k: value.pop(k) for k in _REMARKS & {*value}}
        inner = dict(value)
        value.clear()
        value.update({"anyOf": [inner, {"type": "null"}], **dict(sorted(kept.items()))})
