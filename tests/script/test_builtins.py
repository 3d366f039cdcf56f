"""Arguments of the built-in step types, once they are resolved."""

import pytest
from pydantic import ValidationError

from aether_dagster.script import STEP_ARGUMENTS, parse_arguments
from aether_dagster.script.builtins import CallArguments, with_defaults


def test_the_types_of_the_specification_are_there():
    assert set(STEP_ARGUMENTS) == {
        *("core/echo", "core/sleep", "python/call", "python/script"),
        *("shell/run", "http/request", "sql/query"),
    }


def test_a_references_place_is_taken_before_and_its_text_read_after_resolution():
    model = STEP_ARGUMENTS["core/sleep"]
    assert model.model_validate({"seconds": "${DELAY}"}).seconds == "${DELAY}"
    with pytest.raises(ValidationError):
        model.model_validate({"seconds": "5"})
    assert parse_arguments("core/sleep", {"seconds": "5"}).seconds == 5.0
    with pytest.raises(ValidationError):
        parse_arguments("core/sleep", {"seconds": "soon"})


def test_flags_from_the_environment_are_read():
    run = parse_arguments("shell/run", {"command": ["ls", 1, "-l"], "check": "false"})
    assert run.check is False
    assert run.command == ["ls", 1, "-l"]


def test_keywords_of_a_call_are_given_on_as_they_are():
    found = parse_arguments("python/call", {"callable": "m.n:C.f", "n": "1", "none": None})
    assert isinstance(found, CallArguments)
    assert (found.callable, found.keywords) == ("m.n:C.f", {"n": "1", "none": None})


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("core/sleep", {"seconds": -1}),
        ("core/sleep", {"seconds": float("inf")}),
        ("python/call", {"callable": "module"}),
        ("python/script", {}),
        ("python/script", {"path": "a.py", "code": "1"}),
        ("shell/run", {}),
        ("shell/run", {"command": [], "output": "xml"}),
        ("http/request", {"url": "x", "json": {}, "content": "y"}),
        ("sql/query", {"query": "q", "file": "f"}),
        ("sql/query", {"query": "q", "connector": "c", "url": "u"}),
        ("sql/query", {"query": "q", "fetch": "some"}),
    ],
    ids=str,
)
def test_arguments_which_do_not_fit(kind, args):
    with pytest.raises(ValidationError):
        parse_arguments(kind, args)


def test_defaults_are_filled_in_for_absent_and_null_but_not_for_keywords():
    filled = with_defaults("http/request", {"url": "x", "method": None})
    assert filled["method"] == "GET"
    assert filled["timeout"] == 30.0
    assert "json" in filled
    assert with_defaults("python/call", {"callable": "m:f", "x": None}) == {
        "callable": "m:f",
        "x": None,
    }
    assert with_defaults("Plugin/x", {"a": None}) == {"a": None}


def test_defaults_belong_to_the_format_and_stay_as_they_were_published():
    process = {"cwd": None, "env": {}, "stdin": None, "check": True, "output": "result"}
    published = {
        "core/echo": {"message": None},
        "core/sleep": {},
        "python/call": {},
        "python/script": {**process, "path": None, "code": None, "args": [], "python": None},
        "shell/run": {**process, "shell": "sh"},
        "http/request": {
            "method": "GET",
            "connector": None,
            "params": {},
            "headers": {},
            "auth": None,
            "json": None,
            "data": None,
            "content": None,
            "timeout": 30.0,
            "follow_redirects": True,
            "verify": True,
            "raise_for_status": True,
            "output": "response",
        },
        "sql/query": {
            "connector": None,
            "url": None,
            "query": None,
            "file": None,
            "parameters": {},
            "tables": {},
            "fetch": "all",
            "format": "records",
        },
    }
    assert {kind: with_defaults(kind, {}) for kind in STEP_ARGUMENTS} == published
