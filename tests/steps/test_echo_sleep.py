import time

import pytest

from aether_dagster.errors import StepFailed, StepTimeout
from aether_dagster.steps import StepContext, run_step


def test_echo_gives_and_logs_its_message(context: StepContext, caplog: pytest.LogCaptureFixture):
    message = {"rows": [1, None]}
    assert run_step("core/echo", {"message": message}, context) == message
    assert "{'rows': [1, None]}" in caplog.text


def test_sleep_waits(context: StepContext):
    start = time.monotonic()
    assert run_step("core/sleep", {"seconds": "0.2"}, context, timeout=5) is None
    assert time.monotonic() - start >= 0.2


def test_sleep_ends_at_its_timeout(context: StepContext):
    start = time.monotonic()
    with pytest.raises(StepTimeout, match=r"longer than its timeout of 0\.1 s"):
        run_step("core/sleep", {"seconds": 60}, context, timeout=0.1)
    assert time.monotonic() - start < 5


def test_wrong_arguments_are_named_and_their_values_are_not(context: StepContext):
    with pytest.raises(StepFailed) as caught:
        run_step("core/sleep", {"seconds": "hunter22", "second": 1}, context)
    assert caught.value.type == "InvalidArguments"
    assert "seconds: " in caught.value.message
    assert "second: " in caught.value.message
    assert "hunter22" not in caught.value.message
