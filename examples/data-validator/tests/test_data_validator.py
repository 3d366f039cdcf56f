"""DataValidator by itself: no Dagster, no pipeline."""

import json
import logging
from types import SimpleNamespace

import pytest
from data_validator import DataValidator, check
from data_validator.hook import OutputRules
from data_validator.rules import Rules

from aethersdk import StateVeto, StepDefinition
from aethersdk.testing import HookTester

GOOD = [{"id": 1, "amount": 2.5}, {"id": 2, "amount": 0}]


@pytest.fixture
def tester(tmp_path):
    file = tmp_path / "rules.json"
    file.write_text(
        json.dumps({"extract": {"min_rows": 1, "unique": ["id"], "ranges": {"amount": [0, 10]}}})
    )
    return HookTester(OutputRules, artifacts={"data_rules": str(file)})


def test_what_keeps_its_rules_passes_unchanged(tester):
    assert [dict(row) for row in tester.output("extract", GOOD)] == GOOD
    assert tester.messages == ["The output of extract keeps its rules"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], "it has 0 rows"),
        ([*GOOD, {"id": 1, "amount": 1}], "id has 1 values"),
        ([{"id": 1, "amount": -1}], "amount is -1"),
        ([{"id": 1}], "it has no column amount"),
        ("no table", "it is str"),
    ],
)
def test_what_breaks_them_is_refused(tester, rows, told):
    with pytest.raises(StateVeto, match=told):
        tester.output("extract", rows)


def test_steps_without_rules_and_starts_are_let_through(tester):
    assert tester.output("other", []) == ()
    tester.start("extract", {})


def test_tables_of_pandas_are_seen_as_they_are(tester):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": [1, 1], "amount": [1.0, 2.0]})
    with pytest.raises(StateVeto, match="id has 1 values"):
        tester.output("extract", frame)


def test_the_step_type_checks_rows():
    context = SimpleNamespace(logger=logging.getLogger("test"))
    assert check({"rows": GOOD, "min_rows": 2}, context) == {"rows": 2}
    with pytest.raises(ValueError, match="at least 3"):
        check({"rows": GOOD, "min_rows": 3}, context)


def test_a_rule_which_is_not_known_is_told():
    with pytest.raises(ValueError, match="no rule 'min_row'"):
        Rules.from_json({"min_row": 1})


def test_each_kind_of_rule_is_a_check(tmp_path):
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"extract": {"max_rows": 0, "unique": ["id"]}}))
    artifacts = {"data_rules": file.as_uri()}
    step = StepDefinition("sales", "extract", "core/echo", artifacts=artifacts)
    most, unique = DataValidator().output_checks(step)
    assert (most.name, most.description) == ("max_rows", "max_rows: 0")
    assert most.problems(GOOD) == ["it has 2 rows, and may have 0"]
    assert (unique.name, list(unique.problems(GOOD))) == ("unique", [])
    other = StepDefinition("sales", "load", "core/echo", artifacts=artifacts)
    assert list(DataValidator().output_checks(other)) == []


def test_without_its_rules_it_checks_nothing(tmp_path):
    gone = {"data_rules": str(tmp_path / "gone.json")}
    for artifacts in ({}, gone):
        step = StepDefinition("sales", "extract", "core/echo", artifacts=artifacts)
        assert list(DataValidator().output_checks(step)) == []
