"""Names in Dagster."""

import ast
import importlib.util
import keyword
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.script.names import DAGSTER_RESERVED, dagster_name


@given(st.text(min_size=1))
def test_every_name_becomes_one_which_dagster_accepts(name):
    safe = dagster_name(name)
    assert len(safe) == len(name)
    assert safe.isascii()
    assert safe.replace("_", "a").isalnum()
    assert dagster_name(safe) == safe


@pytest.mark.parametrize("name", ["input", "output", "config", "context", "class", "type", "None"])
def test_names_which_dagster_keeps_for_itself(name):
    assert name in DAGSTER_RESERVED


def test_the_reserved_names_are_those_of_the_installed_dagster():
    package = Path(importlib.util.find_spec("dagster").submodule_search_locations[0])
    module = ast.parse((package / "_core/definitions/utils.py").read_text("utf-8"))
    for statement in module.body:
        if isinstance(statement, ast.Assign) and statement.targets[0].id == "DISALLOWED_NAMES":
            literal = statement.value.args[0].left
            assert {*ast.literal_eval(literal), *keyword.kwlist} == DAGSTER_RESERVED
            return
    raise AssertionError("Dagster keeps its reserved names elsewhere now")
