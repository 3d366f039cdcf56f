"""One call of a hook: its time limit, its faults, its log."""

import time

import pytest

from aether_dagster.errors import HookError
from aether_dagster.plugins.call import call_hook
from aether_dagster.plugins.hooks import HookClass, activate_hooks
from aethersdk import StateHook, StateVeto


def active(hook):
    (found,) = activate_hooks([HookClass(hook, "plugin", "1.0.0", "file:x")])
    return found


def call(hook, **options):
    return call_hook(active(hook), "post_state_finalize", {"report": 1, "state": 2}, **options)


def test_it_is_given_what_it_wants_and_returns():
    class Hook(StateHook):
        def post_state_finalize(self, report):
            return report, self.delivery_id

    called = call(Hook, pipeline_id="p", delivery_id="p/1//x")
    assert (called.outcome, called.value) == ("returned", (1, "p/1//x"))


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_it_raises_stays_with_it(error):
    class Hook(StateHook):
        def post_state_finalize(self):
            raise error

    called = call(Hook, pipeline_id="p")
    assert called.outcome == "raised"
    assert called.error["type"] == type(error).__name__
    assert "post_state_finalize" in called.error["traceback"]
    assert "plugins/call.py" not in called.error["traceback"]


def test_a_veto_is_a_veto():
    class Hook(StateHook):
        def post_state_finalize(self):
            raise StateVeto("not today")

    called = call(Hook, pipeline_id="p")
    assert (called.outcome, called.reason) == ("vetoed", "not today")


def test_one_which_hangs_is_left_behind_and_can_write_no_more():
    refused = []

    class Hook(StateHook):
        timeout = 0.1

        def post_state_finalize(self):
            time.sleep(0.4)
            try:
                self.transaction()
            except HookError as error:
                refused.append(str(error))

    began = time.monotonic()
    called = call(Hook, pipeline_id="p", begin=pytest.fail)
    assert time.monotonic() - began < 0.35
    assert called.outcome == "timed out"
    assert "within 0.1 s" in called.error["message"]
    time.sleep(0.5)
    assert refused == ["plugin@1.0.0: It was left behind, and can write no more."]


def test_what_it_logs_is_on_standard_error_and_handed_on_without_secrets(capsys):
    class Hook(StateHook):
        def post_state_finalize(self):
            self.logger.info("the key is %s", "hunter22")
            self.logger.debug("unseen")

    called = call(Hook, pipeline_id="p", redact=lambda text: text.replace("hunter22", "***"))
    assert called.log == [(20, "Hook: the key is ***")]
    line = capsys.readouterr().err
    assert line.endswith("  INFO  Hook: the key is ***\n")
