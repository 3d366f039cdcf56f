"""The models as Python authors meet them."""

import pytest
from pydantic import ValidationError

from aether_dagster.script import Metadata, Pipeline, Retry, Step, parse_document


def test_the_short_form_and_the_documents_form_are_one():
    step = Step(id="a", type="core/echo")
    short = Pipeline(name="x", steps=[step])
    assert short == Pipeline(metadata=Metadata(name="x"), steps=[step])
    assert (short.name, short.version, list(short.steps)) == ("x", "2.1", [step])


def test_python_names_and_document_names_of_a_key_are_both_taken_in_python():
    by_name = Step(id="b", type="core/echo", depends_on=["a"])
    assert by_name == Step.model_validate({"id": "b", "type": "core/echo", "dependsOn": ["a"]})


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "1a"},
        {"id": "x" * 129},
        {"retries": -1},
        {"retries": 1.5},
        {"retries": True},
        {"timeout": 0},
        {"timeout": float("inf")},
        {"depends_on": "a"},
        {"parallel": 1},
        {"colour": "red"},
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_at_once(wrong):
    with pytest.raises(ValidationError):
        Step(**{"id": "a", "type": "core/echo", **wrong})


def test_models_cannot_be_changed():
    step = Step(id="a", type="core/echo")
    with pytest.raises(ValidationError):
        step.id = "b"


def test_none_means_the_default():
    step = Step.model_validate({"id": "a", "type": "core/echo", "retries": None, "retry": None})
    assert (step.retries, step.retry) == (0, Retry())
    assert step.retry.delay == 1.0


def test_yaml_leaves_out_defaults_and_is_safe_from_yaml_1_1():
    text = Pipeline(
        name="x",
        steps=[Step(id="a", type="core/echo", args={"message": ["on", "1e3", "0o7", "no", 5.0]})],
    ).to_yaml()
    assert text.startswith("version: '2.1'\nmetadata:\n  name: x\n")
    assert "retries" not in text
    message = parse_document(text).step("a").args["message"]
    assert message == ["on", "1e3", "0o7", "no", 5.0]


def test_yaml_repeats_what_python_shares():
    shared = {"rows": [1]}
    text = Pipeline(
        name="x",
        steps=[Step(id=name, type="core/echo", args={"message": shared}) for name in "ab"],
    ).to_yaml()
    assert "&" not in text
    assert parse_document(text).step("b").args == {"message": shared}
