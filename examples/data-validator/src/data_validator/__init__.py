"""DataValidator: checks what steps of AetherScript pipelines return, and refuses what is wrong."""

from collections.abc import Iterator, Mapping
from typing import Any

from aethersdk import OutputCheck, Plugin, StepDefinition
from data_validator.hook import ARTIFACT, OutputRules, rules_of
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
    """A hook which refuses outputs, a step type which checks rows, and checks for Dagster."""

    hooks = (OutputRules,)
    step_types = {"check": check}

    def output_checks(self, step: StepDefinition) -> Iterator[OutputCheck]:
        place = step.artifacts.get(ARTIFACT)
        try:
            rules = None if place is None else rules_of(place, step.name)
        except FileNotFoundError:
            return  # definitions may be built where the rules are not
        for name, rule in rules.by_kind().items() if rules else ():
            yield OutputCheck(name, rule.problems, rule.description)
