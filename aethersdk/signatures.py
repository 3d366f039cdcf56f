"""Checks the methods and options of a state hook, so that a misspelt one never does nothing."""

import inspect
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from aethersdk.hooks import EVENTS, StateHook

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "on_error": ("continue", "fail_run"),
    "on_timeout": ("allow", "refuse"),
    "delivery": ("outbox", "inline"),
}
_OPTIONS = ("order", "timeout", "retry_delay", "job", *_CHOICES)
_OWN = frozenset(name for name in vars(StateHook) if not name.startswith("_"))


class HookDefinitionError(TypeError):
    """A hook class has a method, a parameter or an option which means nothing."""


def check_hook(hook: type[StateHook]) -> Mapping[str, tuple[str, ...]]:
    """Checks a hook class.

    Returns:
        The events which it takes, each with the parameters which it wants.

    Raises:
        HookDefinitionError: With everything that is wrong, and the nearest right names.
    """
    problems: list[str] = []
    events: dict[str, tuple[str, ...]] = {}
    for name, member in _members(hook).items():
        if name in EVENTS:
            events[name] = _parameters(name, member, problems)
        elif callable(member) and not isinstance(member, type):
            problems += _misspelt_event(name)
        elif name not in _OPTIONS:
            problems += _misspelt_option(name)
    problems += _wrong_options(hook)
    if not events and not problems:
        problems.append(f"it has none of the events {', '.join(EVENTS)}")
    if problems:
        raise HookDefinitionError(f"State hook {hook.__name__}: {'; '.join(problems)}.")
    return {event: events[event] for event in EVENTS if event in events}


def _members(hook: type[StateHook]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for ancestor in reversed(hook.__mro__):
        if issubclass(ancestor, StateHook) and ancestor is not StateHook:
            found |= vars(ancestor)
    return {name: member for name, member in found.items() if not name.startswith("_")}


def _parameters(event: str, member: Any, problems: list[str]) -> tuple[str, ...]:
    function = getattr(member, "__func__", member)
    if not callable(function):
        problems.append(f"{event} is no method")
        return ()
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        problems.append(f"{event} is asynchronous; make it a plain method")
    parameters = list(inspect.signature(function).parameters.values())
    if not isinstance(member, staticmethod):
        parameters = parameters[1:]
    wanted: list[str] = []
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            return EVENTS[event]
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            problems.append(f"{event} takes {parameter}, and its parameters are given by name")
        elif parameter.name in EVENTS[event]:
            wanted.append(parameter.name)
        else:
            known = ", ".join(EVENTS[event])
            nearest = _nearest(parameter.name, EVENTS[event])
            problems.append(
                f"{event} has no parameter {parameter.name!r}{nearest}; it may take {known}"
            )
    return tuple(wanted)


def _misspelt_event(name: str) -> list[str]:
    if name in _OWN:
        return [f"{name} is the base class's own; give your method another name"]
    near = get_close_matches(name, EVENTS, n=1, cutoff=0.75)
    if not near and not name.startswith(("pre_", "post_")):
        return []
    nearest = _nearest(name, EVENTS)
    return [
        f"there is no event {name!r}{nearest}; a method of your own needs a name which does not "
        "look like one, or begins with an underscore"
    ]


def _misspelt_option(name: str) -> list[str]:
    near = get_close_matches(name, _OPTIONS, n=1, cutoff=0.75)
    return [f"there is no option {name!r} (did you mean {near[0]!r}?)"] if near else []


def _wrong_options(hook: type[StateHook]) -> list[str]:
    problems: list[str] = []
    order: Any = hook.order
    job: Any = hook.job
    if not isinstance(order, int) or isinstance(order, bool):
        problems.append(f"order is {order!r}, and must be a whole number")
    for option in ("timeout", "retry_delay"):
        seconds: Any = getattr(hook, option)
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not seconds > 0:
            problems.append(f"{option} is {seconds!r}, and must be a number of seconds above 0")
    if job is not None and not isinstance(job, str):
        problems.append(f"job is {job!r}, and must be the name of a job")
    for option, choices in _CHOICES.items():
        value: Any = getattr(hook, option)
        if value not in choices:
            expected = " or ".join(map(repr, choices))
            problems.append(f"{option} is {value!r}, and must be {expected}")
    return problems


def _nearest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
