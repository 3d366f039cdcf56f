"""Checks of outputs which the plugins of a pipeline bring (spec 5)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from aether_dagster.errors import PluginError
from aethersdk import OutputCheck, Plugin, StepDefinition

_NAME = re.compile(r"[A-Za-z0-9_]+")
_NOT_SAFE = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True)
class ActiveCheck:
    """A check of one step's output.

    Args:
        name: Names it among the checks of the step: the plugin's name, and its own.
        plugin: `Name@version` of the plugin which brings it.
        check: The check.
    """

    name: str
    plugin: str
    check: OutputCheck


def find_checks(
    plugins: Iterable[tuple[str, Plugin]], step: StepDefinition
) -> tuple[ActiveCheck, ...]:
    """Asks plugins which checks they have for a step.

    Args:
        plugins: Their objects, by label.
        step: The step.

    Raises:
        PluginError: One of them fails, or gives something which is no check.
    """
    return tuple(check for label, plugin in plugins for check in _of_plugin(label, plugin, step))


def find_problems(active: ActiveCheck, value: Any) -> list[str]:
    """Evaluates a check; returns what is wrong. A check which raises does not pass."""
    try:
        return [str(problem) for problem in active.check.problems(value)]
    except Exception as error:  # noqa: BLE001 - the plugin's own fault, whatever it is
        return [f"The check itself failed: {type(error).__name__}: {error}"]


def _of_plugin(label: str, plugin: Plugin, step: StepDefinition) -> list[ActiveCheck]:
    where = f"{label}: output_checks of step {step.name!r} of {step.pipeline!r}"
    try:
        given = list(plugin.output_checks(step))
    except Exception as error:
        raise PluginError(f"{where} failed: {type(error).__name__}: {error}") from error
    found: dict[str, ActiveCheck] = {}
    for each in cast("list[Any]", given):
        if not isinstance(each, OutputCheck) or not _NAME.fullmatch(each.name):
            raise PluginError(
                f"{where} gave {each!r}; it must give instances of OutputCheck whose names are of "
                "letters, digits and '_'."
            )
        # Plugins do not know of each other, and Dagster keeps a check's past by its name.
        name = f"{_NOT_SAFE.sub('_', label.partition('@')[0])}_{each.name}"
        if name in found:
            raise PluginError(f"{where} gave two checks of the name {each.name!r}; rename one.")
        found[name] = ActiveCheck(name, label, each)
    return list(found.values())
