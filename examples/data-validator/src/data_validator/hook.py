"""The hook which checks outputs before they are stored."""

import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

from aethersdk import Mutation, State, StateHook, StateVeto
from data_validator.rules import Rules

ARTIFACT = "data_rules"


class OutputRules(StateHook):
    """Refuses an output which breaks the rules of its step.

    The artifact `data_rules` names a JSON file: rules by step name. Without it nothing is checked.
    """

    on_timeout = "refuse"

    def pre_state_mutation(self, mutation: Mutation, state: State) -> None:
        place = state.context.artifacts.get(ARTIFACT)
        if place is None:
            return
        for path in mutation.paths:
            node, _, member = path.removeprefix("nodes.").rpartition(".")
            if member == "output_payload" and path.startswith("nodes."):
                self._check(node.strip("`"), mutation, place)

    def _check(self, step: str, mutation: Mutation, place: str) -> None:
        rules = rules_of(place, step)
        if rules is None:
            return
        problems = rules.problems(mutation.value)
        if problems:
            raise StateVeto(f"the output of {step!r} breaks its rules: {'; '.join(problems)}")
        self.logger.info("The output of %s keeps its rules", step)


def rules_of(place: str, step: str) -> Rules | None:
    """Returns the rules of a step in the file of all; None where it has none."""
    address = urlsplit(place)
    file = Path(unquote(address.path)) if address.scheme == "file" else Path(place)
    members = json.loads(file.read_text(encoding="utf-8")).get(step)
    return None if members is None else Rules.from_json(members)
