"""Dispatch of `pre_` events: order, isolation, veto, amendment, ledger."""

import time
from dataclasses import replace

import pytest

from aether_dagster.errors import HookError, Vetoed
from aether_dagster.plugins.hooks import HookClass, activate_hooks
from aether_dagster.plugins.manager import HookManager, Question
from aethersdk import ExecutionContext, Mutation, PipelineState, StateHook, StateVeto

PIPELINE = PipelineState("pipeline_01H3XYZ9", "1.0.0", 1.0, "e3b0c44298fc1cd")
CONTEXT = ExecutionContext({"DEBUG": "1"}, None, ("A@1.0.0",), {"raw": "/raw"})


class Ledger:
    """Keeps calls in memory."""

    def __init__(self):
        self.calls = []

    def begin_call(self, pipeline_id, *, event, hook, plugin, node=None, delivery=None):
        self.calls.append([event, hook, plugin, node, None, None])
        return len(self.calls) - 1

    def end_call(self, call, outcome, milliseconds, detail=None):
        self.calls[call][4:] = [outcome, detail]

    @property
    def outcomes(self):
        return [call[4] for call in self.calls]


def make(*hooks):
    ledger = Ledger()
    classes = [
        HookClass(h, getattr(h, "plugin", "plug"), "1.2.0", f"file:{h.__name__}") for h in hooks
    ]
    return HookManager(activate_hooks(classes), ledger, lambda value: value), ledger


def hook(name, event="pre_state_initialize", order=0, plugin="plug", **members):
    def decorate(function):
        found = {event: function, "order": order, "plugin_name": plugin, **members}
        made = type(name, (StateHook,), found)
        made.plugin = plugin
        return made

    return decorate


def test_the_order_is_total_and_the_same_every_time():
    seen = []

    def note(name, **where):
        return hook(name, **where)(lambda self: seen.append(type(self).__name__))

    hooks = [
        note("Zed", order=-1, plugin="z"),
        note("Beta", plugin="b"),
        note("Alpha", plugin="b"),
        note("Last", order=9, plugin="a"),
        note("Other", plugin="a"),
    ]
    for shuffled in (hooks, hooks[::-1], hooks[2:] + hooks[:2]):
        seen.clear()
        make(*shuffled)[0].initialize(PIPELINE, CONTEXT)
        assert seen == ["Zed", "Other", "Alpha", "Beta", "Last"]


def test_changes_compose_in_order_and_each_is_checked():
    @hook("One", order=1)
    def one(self, context):
        return replace(context, artifacts={**context.artifacts, "one": "/1"})

    @hook("Two", order=2)
    def two(self, context):
        assert context.artifacts["one"] == "/1"
        return replace(context, active_plugins=())

    @hook("Three", order=3)
    def three(self, context):
        assert context.artifacts["one"] == "/1"
        return context.to_dict() | {"environment_vars": {"DEBUG": "2"}}

    manager, ledger = make(one, two, three)
    after = manager.initialize(PIPELINE, CONTEXT)
    assert after.artifacts == {"raw": "/raw", "one": "/1"}
    assert after.environment_vars == {"DEBUG": "2"}
    assert after.active_plugins == ("A@1.0.0",)
    assert ledger.outcomes == ["amended", "invalid", "amended"]
    assert ledger.calls[0][5] == {"changed": ["context.artifacts"]}
    assert "active_plugins" in ledger.calls[1][5]["problem"]


@pytest.mark.parametrize(
    "returned",
    [
        "a string",
        {"environment_vars": {}},
        replace(CONTEXT, environment_vars={"OTHER": "1"}),
        replace(CONTEXT, artifacts={"raw": 3}),
        replace(CONTEXT, secret_store="no url"),
    ],
)
def test_what_cannot_stand_in_for_the_context_is_left_out(returned):
    manager, ledger = make(hook("Wrong")(lambda self: returned))
    assert manager.initialize(PIPELINE, CONTEXT) == CONTEXT
    assert ledger.outcomes == ["invalid"]


def test_a_veto_ends_it_and_names_who_refused():
    asked = []
    refuse = hook("Gate", order=1)(lambda self: (_ for _ in ()).throw(StateVeto("closed")))
    after = hook("After", order=2)(lambda self: asked.append(1))
    manager, ledger = make(refuse, after)
    with pytest.raises(Vetoed) as caught:
        manager.initialize(PIPELINE, CONTEXT)
    assert (caught.value.plugin, caught.value.hook, caught.value.reason) == (
        "plug@1.2.0",
        "Gate",
        "closed",
    )
    assert ledger.outcomes == ["vetoed"]
    assert not asked


def test_a_fault_is_its_own_and_the_others_are_asked():
    asked = []
    broken = hook("Broken", order=1)(lambda self: 1 / 0)
    manager, ledger = make(broken, hook("After", order=2)(lambda self: asked.append(1)))
    assert manager.initialize(PIPELINE, CONTEXT) == CONTEXT
    assert asked == [1]
    assert ledger.outcomes == ["raised", "returned"]
    assert ledger.calls[0][5]["type"] == "ZeroDivisionError"
    assert "1 / 0" in ledger.calls[0][5]["traceback"]


def test_a_fault_may_count():
    asked = []
    broken = hook("Broken", order=1, on_error="fail_run")(lambda self: 1 / 0)
    manager, _ = make(broken, hook("After", order=2)(lambda self: asked.append(1)))
    with pytest.raises(HookError, match=r"plug@1.2.0: Broken failed: ZeroDivisionError"):
        manager.initialize(PIPELINE, CONTEXT)
    assert asked == [1]


@pytest.mark.parametrize(("says", "refuses"), [("allow", False), ("refuse", True)])
def test_one_which_hangs_lets_through_or_refuses_as_its_class_says(says, refuses):
    slow = hook("Slow", timeout=0.05, on_timeout=says)(lambda self: time.sleep(0.5))
    manager, ledger = make(slow)
    if refuses:
        with pytest.raises(Vetoed, match="did not return within"):
            manager.initialize(PIPELINE, CONTEXT)
    else:
        manager.initialize(PIPELINE, CONTEXT)
    assert ledger.outcomes == ["timed out"]


def question(mutation, **options):
    def check(returned, given):
        return returned

    return Question(
        mutation, lambda: pytest.fail("nobody wants it"), "load", check, lambda _: None, **options
    )


MUTATION = Mutation(("nodes.load.status",), {"nodes.load.status": None}, {"nodes.load.status": "x"})


def test_what_has_happened_can_neither_be_refused_nor_changed():
    def refuse(self, mutation):
        raise StateVeto("too late")

    veto = hook("Veto", "pre_state_mutation", order=1)(refuse)
    change = hook("Change", "pre_state_mutation", order=2)(
        lambda self, mutation: replace(mutation, value=1)
    )
    fail = hook("Fail", "pre_state_mutation", order=3, on_error="fail_run")(
        lambda self, mutation: 1 / 0
    )
    manager, ledger = make(veto, change, fail)
    assert manager.mutate("p", question(MUTATION, happened=True)) is MUTATION
    assert ledger.outcomes == ["veto ignored", "amendment ignored", "raised"]


def test_a_hook_which_writes_is_not_asked_of_its_own_write():
    asked = []

    class Writer(StateHook):
        def pre_state_mutation(self, mutation):
            asked.append("Writer")
            manager.mutate("p", question(MUTATION))

    class Watcher(StateHook):
        order = 1

        def pre_state_mutation(self, mutation):
            asked.append("Watcher")

    manager, _ = make(Writer, Watcher)
    manager.mutate("p", question(MUTATION))
    assert asked == ["Writer", "Watcher", "Watcher"]


def test_what_hooks_are_given_cannot_be_changed():
    def change(self, pipeline, context):
        for attempt in (
            lambda: context.artifacts.update(x="y"),
            lambda: setattr(pipeline, "id", "x"),
            lambda: setattr(context, "secret_store", "x://"),
        ):
            with pytest.raises((TypeError, AttributeError)):
                attempt()

    manager, ledger = make(hook("Change")(change))
    manager.initialize(PIPELINE, CONTEXT)
    assert ledger.outcomes == ["returned"]
