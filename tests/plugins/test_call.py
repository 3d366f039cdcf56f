"""One call of a hook: its time limit, its faults, its log."""

import gc
import os
import threading
import time
import weakref
from contextlib import contextmanager

import pytest

from aether_dagster.errors import HookError
from aether_dagster.plugins.call import call_hook, call_in_turn
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
    wake, refused = threading.Event(), []

    class Hook(StateHook):
        timeout = 0.1

        def post_state_finalize(self):
            wake.wait(30)
            try:
                self.transaction()
            except HookError as error:
                refused.append(str(error))

    began = time.monotonic()
    called = call(Hook, pipeline_id="p", begin=pytest.fail)
    assert time.monotonic() - began < 20
    assert called.outcome == "timed out"
    assert "within 0.1 s" in called.error["message"]
    wake.set()
    while not refused:
        time.sleep(0.01)
    assert refused == ["plugin@1.0.0: It was left behind, and can write no more."]


class Threads(StateHook):
    """Tells which thread it is called in, after whatever it is given to do first."""

    timeout = 20.0

    def post_state_finalize(self, report):
        report()
        return threading.get_ident()


def thread_of(before=lambda: None, **options):
    return call_hook(active(Threads), "post_state_finalize", {"report": before}, **options)


def test_calls_share_a_thread_which_is_not_the_callers():
    first, second = (thread_of(pipeline_id="p").value for _ in range(2))
    assert first == second != threading.get_ident()


def test_a_call_inside_of_a_call_has_another_thread():
    inner = []
    outer = thread_of(lambda: inner.append(thread_of(pipeline_id="p").value), pipeline_id="p")
    assert inner[0] != outer.value
    assert outer.outcome == "returned"


def test_after_one_which_hangs_the_next_is_called_at_once(monkeypatch):
    hang, ended = threading.Event(), []

    def hanging():
        hang.wait(30)
        ended.append(threading.current_thread())

    with monkeypatch.context() as patch:
        patch.setattr(Threads, "timeout", 0.2)
        assert thread_of(hanging, pipeline_id="p").outcome == "timed out"
    assert thread_of(pipeline_id="p").outcome == "returned"
    hang.set()
    while not ended:
        time.sleep(0.01)
    ended[0].join(10)
    assert not ended[0].is_alive(), "whoever was left behind makes no further call"


def test_a_transaction_which_is_never_ended_is_in_nobodys_way():
    @contextmanager
    def begin(_):
        yield

    class Careless(StateHook):
        def post_state_finalize(self):
            self.transaction().__enter__()
            here.open = True

    here, found = threading.local(), []
    assert call(Careless, pipeline_id="p", begin=begin).outcome == "returned"
    thread_of(lambda: found.append(hasattr(here, "open")), pipeline_id="p")
    assert found == [False]


def test_nothing_which_it_was_given_lives_on():
    class Table:
        def __call__(self):
            pass

    table = Table()
    known = weakref.ref(table)
    thread_of(table, pipeline_id="p")
    del table
    gc.collect()
    assert known() is None


def test_a_thread_without_calls_ends():
    found = []
    thread_of(lambda: found.append(threading.current_thread()), pipeline_id="p")
    found[0].join(30)
    assert not found[0].is_alive()
    assert thread_of(pipeline_id="p").outcome == "returned"


def test_a_forked_process_has_threads_of_its_own():
    thread_of(pipeline_id="p")
    child = os.fork()
    if child == 0:
        called = thread_of(pipeline_id="p")
        os._exit(0 if called.outcome == "returned" else 1)
    assert os.waitpid(child, 0)[1] == 0


def in_turn(act, count=3, begin=None, timeout=30.0):
    """Calls a hook with the numbers from 0 in turn; returns what came of them."""

    class Hook(StateHook):
        def post_state_finalize(self, report):
            return act(self, report)

    Hook.timeout = timeout
    given = [({"report": number, "state": None}, f"id {number}") for number in range(count)]
    return call_in_turn(active(Hook), "post_state_finalize", given, pipeline_id="p", begin=begin)


def test_calls_in_turn_are_made_one_after_the_other_in_one_thread():
    met = []

    def meet(hook, number):
        met.append((number, hook.delivery_id, threading.current_thread()))

    called = in_turn(meet)
    assert [each.outcome for each in called] == ["returned"] * 3
    assert [each[:2] for each in met] == [(0, "id 0"), (1, "id 1"), (2, "id 2")]
    assert len({each[2] for each in met}) == 1
    assert called[0].called_at <= called[1].called_at <= called[2].called_at <= time.time()


def test_a_turn_ends_with_one_which_does_not_just_return():
    met = []

    def act(answer):
        def met_and(hook, number):
            met.append(number)
            return answer(hook) if number == 1 else None

        return met_and

    def refuse(_):
        raise StateVeto("no")

    @contextmanager
    def begin(_):
        yield

    answers = {
        "raised": lambda _: 1 / 0,
        "vetoed": refuse,
        "returned": lambda _: "something",
    }
    for outcome, answer in answers.items():
        assert [each.outcome for each in in_turn(act(answer))] == ["returned", outcome]
    assert len(in_turn(act(lambda hook: hook.transaction().__enter__()), begin=begin)) == 2
    assert met == [0, 1] * 4


def test_a_turn_begins_no_more_calls_after_a_while():
    called = in_turn(lambda *_: time.sleep(0.03), count=9)
    assert 2 <= len(called) < 9


def test_one_which_hangs_in_a_turn_is_left_behind_and_those_after_it_are_never_called():
    hang, met = threading.Event(), []

    def act(_, number):
        met.append(number)
        if number == 1:
            hang.wait(30)
            met.append("woke")

    called = in_turn(act, timeout=0.1)
    assert [each.outcome for each in called] == ["returned", "timed out"]
    assert called[1].milliseconds >= 100
    hang.set()
    while "woke" not in met:
        time.sleep(0.01)
    time.sleep(0.05)
    assert met == [0, 1, "woke"]


def test_what_it_logs_is_on_standard_error_and_handed_on_without_secrets(capsys):
    class Hook(StateHook):
        def post_state_finalize(self):
            self.logger.info("the key is %s", "hunter22")
            self.logger.debug("unseen")

    called = call(Hook, pipeline_id="p", redact=lambda text: text.replace("hunter22", "***"))
    assert called.log == [(20, "Hook: the key is ***")]
    line = capsys.readouterr().err
    assert line.endswith("  INFO  Hook: the key is ***\n")
