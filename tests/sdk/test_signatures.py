"""A misspelt method, parameter or option of a hook is told when it is checked."""

import pytest

from aethersdk import StateHook
from aethersdk.signatures import HookDefinitionError, check_hook


def told(hook: type[StateHook]) -> str:
    with pytest.raises(HookDefinitionError) as caught:
        check_hook(hook)
    return str(caught.value)


def test_events_may_take_any_subset_of_their_parameters_by_name():
    class Some(StateHook):
        def post_node_execute(self, current_state, node_id): ...
        def pre_state_mutation(self, mutation): ...
        def post_state_finalize(self): ...
        def pre_state_initialize(self, **everything): ...

    assert check_hook(Some) == {
        "pre_state_initialize": ("pipeline", "context"),
        "pre_state_mutation": ("mutation",),
        "post_node_execute": ("current_state", "node_id"),
        "post_state_finalize": (),
    }


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("post_node_executed", "post_node_execute"),
        ("post_node_exec", "post_node_execute"),
        ("pre_state_initialise", "pre_state_initialize"),
        ("pre_mutation", "pre_state_mutation"),
        ("PostStateFinalize", None),
        ("post_state_finalise", "post_state_finalize"),
        ("node_execute", "post_node_execute"),
    ],
)
def test_a_misspelt_event_is_an_error_with_the_nearest_name(name, nearest):
    hook = type("Hook", (StateHook,), {name: lambda self: None})
    assert nearest is None or f"did you mean {nearest!r}?" in told(hook)


def test_a_misspelt_parameter_is_an_error_with_the_nearest_name():
    class Hook(StateHook):
        def post_node_execute(self, node_id, previous_sate): ...

    assert "post_node_execute has no parameter 'previous_sate'" in told(Hook)
    assert "did you mean 'previous_state'?" in told(Hook)


def test_also_where_it_has_a_default_or_is_positional():
    class Hook(StateHook):
        def post_state_finalize(self, rapport=None): ...
        def post_node_execute(self, *parts): ...

    assert "'rapport' (did you mean 'report'?)" in told(Hook)
    assert "*parts" in told(Hook)


def test_methods_of_their_own_have_names_which_look_like_no_event():
    class Hook(StateHook):
        def post_state_finalize(self): ...
        def render(self, text): ...
        def _post(self): ...

    check_hook(Hook)

    class Wrong(Hook):
        def post_message(self): ...

    assert "there is no event 'post_message'" in told(Wrong)


def test_events_are_inherited_and_checked_there_too():
    class Base(StateHook):
        def post_state_finalize(self, report): ...

    class Child(Base):
        order = 3

    assert check_hook(Child) == {"post_state_finalize": ("report",)}


def test_a_class_without_events_does_nothing_and_is_told():
    assert "none of the events" in told(type("Hook", (StateHook,), {}))


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"delivry": "inline"}, "no option 'delivry' (did you mean 'delivery'?)"),
        ({"on_eror": "fail_run"}, "did you mean 'on_error'?"),
        ({"on_error": "fail"}, "on_error is 'fail', and must be 'continue' or 'fail_run'"),
        ({"on_timeout": True}, "on_timeout is True"),
        ({"timeout": 0}, "timeout is 0, and must be a number of seconds above 0"),
        ({"order": "first"}, "order is 'first', and must be a whole number"),
        ({"job": 7}, "job is 7"),
        ({"logger": None, "transaction": lambda self: 1}, "transaction is the base class's own"),
    ],
)
def test_options_are_checked(members, expected):
    members = {"post_state_finalize": lambda self: None, **members}
    assert expected in told(type("Hook", (StateHook,), members))


def test_an_asynchronous_event_is_refused():
    class Hook(StateHook):
        async def post_state_finalize(self): ...

    assert "asynchronous" in told(Hook)


def test_all_that_is_wrong_is_told_at_once():
    class Hook(StateHook):
        on_error = "nothing"

        def pre_state_mutaton(self): ...
        def post_state_finalize(self, reprot): ...

    text = told(Hook)
    assert text.startswith("State hook Hook: ")
    assert all(part in text for part in ("on_error", "pre_state_mutaton", "reprot"))
