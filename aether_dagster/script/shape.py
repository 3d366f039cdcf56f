"""Turns what pydantic says about a document's shape into problems with a place and a hint."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from aether_dagster.script.findings import Findings, describe
from aether_dagster.script.loader import Path
from aether_dagster.script.model import EXPECTED_BY_PATTERN, IDENTIFIER

_Model = TypeVar("_Model", bound=BaseModel)

_EXPECTED_BY_TYPE = {
    "string_type": "a string",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "list_type": "a list",
    "is_instance_of": "a list",
    "sequence_str": "a list",
    "finite_number": "a finite number",
}
_EXPECTED_BY_LIMIT = {
    "greater_than": ("gt", "more than {:g}"),
    "greater_than_equal": ("ge", "at least {:g}"),
    "string_too_long": ("max_length", "at most {} characters"),
    "string_too_short": ("min_length", "at least {} character"),
    "too_short": ("min_length", "at least {} item"),
}
_SYNONYMS = {
    "needs": "dependsOn",
    "after": "dependsOn",
    "upstream": "dependsOn",
    "with": "args",
    "params": "args",
    "arguments": "args",
    "uses": "type",
    "name": "id",
    "task_id": "id",
    "timeout-minutes": "timeout",
    "env": "environment_vars",
    "secrets": "secret_env",
}
_YAML_1_1_FLAGS = {
    **dict.fromkeys(("yes", "on", "y"), "true"),
    **dict.fromkeys(("no", "off", "n"), "false"),
}


def check_shape(
    model: type[_Model], value: Any, path: Path, findings: Findings, context: Any = None
) -> _Model | None:
    """Validate part of a document; its problems go to `findings`.

    Args:
        model: What it should be.
        value: The plain data.
        path: Where the data stands in the document.
        findings: Takes the problems.
        context: Validation context of the model.

    Returns:
        The model, or None if there were problems.
    """
    try:
        return model.model_validate(value, by_alias=True, by_name=False, context=context)
    except ValidationError as error:
        details = error.errors(include_url=False)
    located = [(_data_path(detail, value), detail) for detail in details]
    branches = {where for (where, in_union), _ in located if in_union}
    merged: dict[Path, list[ErrorDetails]] = {}
    for (where, in_union), detail in located:
        # A branch of a union which got further says more than those which failed at once.
        if in_union and any(b != where and b[: len(where)] == where for b in branches):
            continue
        merged.setdefault(where, []).append(detail)
    for where, group in merged.items():
        _explain(group, findings, model=model, value=value, path=path, where=where)
    return None


def _explain(
    details: list[ErrorDetails],
    findings: Findings,
    *,
    model: type[BaseModel],
    value: Any,
    path: Path,
    where: Path,
) -> None:
    detail = details[0]
    kind = detail["type"]
    if kind == "missing":
        findings.add((*path, *where[:-1]), f"the key {where[-1]!r} is missing")
    elif kind == "extra_forbidden":
        known = _keys_at(model, where[:-1])
        key = str(where[-1])
        synonym = _SYNONYMS.get(key)
        findings.add(
            (*path, *where),
            f"unknown key {key!r}",
            expected="one of " + ", ".join(known) if known else None,
            suggestion=synonym if synonym in known else findings.nearest(key, known),
            at_key=True,
        )
    elif detail["loc"][-1:] == ("[key]",):
        findings.add(
            (*path, *where),
            "this key cannot be used",
            found=repr(where[-1]),
            expected=_expected(detail),
            at_key=True,
        )
    elif kind == "value_error":
        findings.add((*path, *where), str(detail.get("ctx", {}).get("error", detail["msg"])))
    else:
        options = list(dict.fromkeys(_expected(each) for each in details))
        if "a number" in options and "a whole number" in options:
            options.remove("a whole number")
        expected = " or ".join(options)
        given = _at(value, where)
        whole = (*path, *where)
        findings.add(
            whole,
            "wrong value",
            found=describe(given, whole),
            expected=expected,
            suggestion=_better(given, details, findings, whole),
        )


def _expected(detail: ErrorDetails) -> str:
    kind, facts = detail["type"], detail.get("ctx", {})
    if kind == "literal_error":
        return str(facts["expected"])
    if kind == "string_pattern_mismatch":
        return EXPECTED_BY_PATTERN.get(str(facts["pattern"]), str(facts["pattern"]))
    if kind in _EXPECTED_BY_LIMIT:
        fact, text = _EXPECTED_BY_LIMIT[kind]
        return text.format(facts[fact])
    return _EXPECTED_BY_TYPE.get(kind, detail["msg"])


def _better(given: Any, details: list[ErrorDetails], findings: Findings, path: Path) -> str | None:
    kinds = {detail["type"] for detail in details}
    if isinstance(given, str):
        if "literal_error" in kinds:
            options = str(details[0].get("ctx", {}).get("expected", "")).split("'")[1::2]
            return findings.nearest(given, options)
        if "bool_type" in kinds:
            word = given.lower()
            return _YAML_1_1_FLAGS.get(word, word if word in ("true", "false") else None)
        if kinds & {"is_instance_of", "sequence_str"} and re.match(IDENTIFIER, given):
            return f"[{given}]"
        if kinds & {"int_type", "float_type"} and given.replace(".", "", 1).isdigit():
            return given
    elif isinstance(given, (int, float)) and kinds & {"string_type", "literal_error"}:
        return f'"{findings.written(path) or given}"'
    return None


def _at(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


def _data_path(detail: ErrorDetails, value: Any) -> tuple[Path, bool]:
    """Drop from pydantic's location what is no part of the data: names of union branches."""
    path: list[str | int] = []
    in_union = False
    loc = detail["loc"]
    for index, part in enumerate(loc):
        if isinstance(value, Mapping) and part in value:
            value = cast("Mapping[Any, Any]", value)[part]
        elif isinstance(value, (list, tuple)) and isinstance(part, int):
            value = cast("Sequence[Any]", value)[part]
        elif index < len(loc) - 1 or detail["type"] != "missing":
            in_union = in_union or part != "[key]"
            continue
        path.append(part)
    return tuple(path), in_union


def _keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """The keys which the model knows at a path, following fields, lists and mappings."""
    annotation: Any = model
    for part in path:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = _fields(annotation)[str(part)].annotation
        else:
            annotation = get_args(annotation)[-1]
    return list(_fields(annotation)) if isinstance(annotation, type) else []


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {str(f.validation_alias or n): f for n, f in model.model_fields.items()}
