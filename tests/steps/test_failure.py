import pytest

from aether_dagster.errors import StepFailed, StepTimeout
from aether_dagster.steps.failure import as_step_failed, user_traceback


def test_the_original_exception_is_the_cause():
    original = ValueError("no rows")
    with pytest.raises(StepFailed) as caught, as_step_failed():
        raise original
    assert caught.value.__cause__ is original
    assert (caught.value.type, caught.value.message) == ("ValueError", "no rows")


@pytest.mark.parametrize("error", [StepTimeout(1), StepFailed("A", "b", ""), KeyboardInterrupt()])
def test_what_is_already_said_or_not_the_steps_doing_passes(error: BaseException):
    with pytest.raises(type(error)) as caught, as_step_failed():
        raise error
    assert caught.value is error


def test_a_chain_of_exceptions_is_told_whole():
    try:
        try:
            {}["first"]
        except KeyError as error:
            raise ValueError("second") from error
    except ValueError as error:
        text = user_traceback(error)
    assert text.index("KeyError: 'first'") < text.index("ValueError: second")
    assert "direct cause" in text
