"""What Dagster's own events say of steps, as Dagster makes them."""

from collections.abc import Iterator

import dagster as dg
import pytest

from aether_dagster.errors import StepFailed, StepTimeout, ValueStoreError
from aether_dagster.orchestration.listener import StepReport, step_report


@dg.op
def fine() -> int:
    return 1


@dg.op
def plain() -> None:
    raise ValueError("row 7: is bad")


@dg.op
def caused() -> None:
    try:
        int("seven")
    except ValueError as error:
        raise RuntimeError("cannot read it") from error


@dg.op
def refused() -> None:
    raise ValueStoreError("A value cannot be stored.") from ValueError("deep inside")


@dg.op
def requested() -> None:
    raise dg.RetryRequested(max_retries=1) from StepFailed("KeyError", "'x': gone", "")


@dg.op
def late() -> None:
    raise dg.RetryRequested(max_retries=1) from StepTimeout(2.5)


@dg.op
def declared() -> None:
    metadata = {"aether/error_type": "Timeout", "aether/attempt": 1}
    raise dg.Failure("Timeout: it took too long", metadata=metadata, allow_retries=False)


@dg.op(out={"a": dg.Out(), "b": dg.Out()})
def half() -> Iterator[dg.Output[int]]:
    yield dg.Output(1, "a")


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
def pressed() -> None:
    raise KeyboardInterrupt


@dg.job
def everything() -> None:
    for op in (fine, plain, caused, refused, requested, late, declared, half):
        op()


@dg.job
def interrupted() -> None:
    pressed()


@pytest.fixture(scope="module")
def reports() -> dict[str, list[StepReport]]:
    with dg.DagsterInstance.ephemeral() as instance:
        result = everything.execute_in_process(instance=instance, raise_on_error=False)
        found = [step_report(event) for event in result.all_events]
    by_step: dict[str, list[StepReport]] = {}
    for report in found:
        if report is not None:
            by_step.setdefault(report.step_key, []).append(report)
    return by_step


def kinds(reports: list[StepReport]) -> list[str]:
    return [report.kind for report in reports]


def error(reports: list[StepReport]) -> tuple[str, str]:
    last = [report.error for report in reports if report.error is not None][-1]
    return last["type"], last["message"]


def test_a_success_says_how_long_it_took(reports: dict[str, list[StepReport]]) -> None:
    assert kinds(reports["fine"]) == ["start", "success"]
    seconds = reports["fine"][1].seconds
    assert seconds is not None
    assert 0 < seconds < 60


def test_a_retry_is_up_for_retry_and_restarted(reports: dict[str, list[StepReport]]) -> None:
    assert kinds(reports["requested"]) == ["start", "retry", "restart", "failure"]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("plain", ("ValueError", "row 7: is bad")),
        ("refused", ("ValueStoreError", "A value cannot be stored.")),
        ("requested", ("KeyError", "'x': gone")),
        ("late", ("Timeout", str(StepTimeout(2.5)))),
        ("declared", ("Timeout", "it took too long")),
    ],
)
def test_an_error_is_what_the_step_failed_of(
    reports: dict[str, list[StepReport]], step: str, expected: tuple[str, str]
) -> None:
    assert error(reports[step]) == expected


def test_an_error_is_what_was_raised_and_not_what_it_was_raised_from(
    reports: dict[str, list[StepReport]],
) -> None:
    assert error(reports["caused"]) == ("RuntimeError", "cannot read it")


def test_a_complaint_of_dagsters_own_is_an_error_too(
    reports: dict[str, list[StepReport]],
) -> None:
    kind, message = error(reports["half"])
    assert kind == "DagsterStepOutputNotFoundError"
    assert "'b'" in message or '"b"' in message
    assert kinds(reports["half"])[-1] == "failure"


def test_an_interrupted_step_was_cancelled_also_where_it_would_be_tried_again() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = interrupted.execute_in_process(instance=instance, raise_on_error=False)
    found = [step_report(event) for event in result.all_events]
    told = [report for report in found if report is not None and report.error is not None]
    assert told[0].kind == "retry"
    assert {error([report])[0] for report in told} == {"Cancelled"}


def test_events_of_a_step_which_do_not_change_its_state_say_nothing(
    reports: dict[str, list[StepReport]],
) -> None:
    # Between them stand inputs, outputs and what an IO manager did.
    assert sum(map(len, reports.values())) == 20
