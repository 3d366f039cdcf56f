"""The JSON Schema: fresh, and of one mind with the loader where it can say the same."""

import json
from importlib import resources

import jsonschema
import pytest

from aether_dagster.errors import ScriptError
from aether_dagster.script import json_schema, parse_document
from aether_dagster.script.loader import Unreadable, load
from aether_dagster.script.schema import SCHEMA_FILE
from tests.script.test_document import BROKEN, VALID, name_of, steps

VALIDATOR = jsonschema.Draft202012Validator(json_schema())

BEYOND_A_SCHEMA = {
    # Rules between parts of a document.
    *("cycle", "dagster-collision", "dagster-reserved", "duplicate-id", "missing-environment"),
    *("reference-at-the-wrong-time", "references", "secret-in-a-command-line", "secret-store"),
    *("unknown-plugin", "unknown-step", "variables-which-explode", "version-not-first"),
    # What JSON has not: a schema sees the value which is left.
    *("duplicate-key", "keys-which-are-no-strings", "merge-key", "numbers", "tags"),
}


def test_the_file_in_the_package_is_what_the_models_say():
    file = resources.files("aether_dagster.script").joinpath(SCHEMA_FILE)
    assert json.loads(file.read_text("utf-8")) == json_schema()


def test_it_is_a_schema_of_draft_2020_12():
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", VALID, ids=name_of)
def test_valid_documents_validate(path):
    value = load(path.read_bytes(), path.name).value
    assert [error.message for error in VALIDATOR.iter_errors(value)] == []


@pytest.mark.parametrize("path", BROKEN, ids=name_of)
def test_broken_documents_fail_where_a_schema_can_say_it(path):
    try:
        value = load(path.read_bytes(), path.name).value
    except Unreadable:
        return
    assert VALIDATOR.is_valid(value) == (name_of(path) in BEYOND_A_SCHEMA)


@pytest.mark.parametrize(
    "step",
    [
        "{id: a, type: core/nothing}",
        "{id: a, type: echo}",
        "{id: a, type: core/sleep}",
        "{id: a, type: core/sleep, args: {seconds: soon}}",
        "{id: a, type: python/call, args: {limit: 1}}",
        "{id: a, type: python/script, args: {path: a.py, code: x}}",
        "{id: a, type: python/script}",
        "{id: a, type: shell/run, args: {command: {a: 1}}}",
        "{id: a, type: shell/run, args: {comand: ls}}",
        "{id: a, type: http/request, args: {url: x, json: 1, data: {}}}",
        "{id: a, type: sql/query, args: {query: x, file: y}}",
        "{id: a, type: sql/query, args: {query: x, format: csv}}",
        "{id: a, type: core/echo, retry: {backoff: never}}",
        "{id: a, type: core/echo, retries: 1.5}",
    ],
)
def test_arguments_of_step_types_are_refused_by_both(step):
    text = steps(step)
    assert not VALIDATOR.is_valid(load(text, "x").value)
    with pytest.raises(ScriptError):
        parse_document(text)


@pytest.mark.parametrize(
    "step",
    [
        "{id: a, type: core/sleep, args: {seconds: '${N}'}}",
        "{id: a, type: core/echo, retries: 2.0}",
        "{id: a, type: sql/query, args: {query: x, file: null}}",
        "{id: a, type: http/request, args: {url: x, json: null, data: {a: 1}}}",
        "{id: a, type: python/call, args: {callable: 'm:f', whatever: [1]}}",
        "{id: a, type: shell/run, args: {command: [ls, 1], check: '${CHECK}'}}",
    ],
)
def test_arguments_of_step_types_are_taken_by_both(step):
    text = steps(step)
    assert VALIDATOR.is_valid(load(text, "x").value)
    parse_document(text)


def test_editors_get_a_description_of_every_key():
    for name, definition in json_schema()["$defs"].items():
        assert definition["description"], name
        for key, value in definition["properties"].items():
            assert value.get("description"), f"{name}.{key}"
