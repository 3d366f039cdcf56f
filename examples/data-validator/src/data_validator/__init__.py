"""DataValidator: checks what steps of AetherScript pipelines return, and refuses what is wrong."""

from collections.abc import Mapping
from typing import Any

from aethersdk import Plugin
from data_validator.hook import OutputRules
from data_validator.rules import Rules


def check(args: Mapping[str, Any], context: Any) -> dict[str, int]:
    """The step type `DataValidator/check`: `rows`, and the members of `Rules`."""
    members = dict(args)
    table = members.pop("rows")
    problems = Rules.from_json(members).problems(table)
    if problems:
        raise ValueError("; ".join(problems))
    context.logger.info("%d rows are as they should be", len(table))
    return {"rows": len(table)}


class DataValidator(Plugin):
    """A hook which checks outputs, and a step type which checks rows."""

    hooks = (OutputRules,)
    step_types = {"check": check}
