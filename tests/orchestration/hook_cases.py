"""Three state hooks of which one does what `case.json` beside this file says, and what it tells.

Copied into `plugins/` of each case of `test_state_hooks.py`.
"""

import dataclasses
import json
import os
import time
from pathlib import Path

from aethersdk import StateHook, StateVeto

HERE = Path(__file__).parent
CASE = json.loads((HERE / "case.json").read_text())


class _Base(StateHook):
    retry_delay = 0.01

    def __init_subclass__(cls):
        # Only who hangs is in a hurry: on a busy machine the others take what they take.
        hangs = CASE["behaviour"] == "hangs" and CASE["hook"] == cls.__name__
        cls.timeout = 0.4 if hangs else 20.0

    def _met(self, event, **given):
        with (HERE.parent / "met.txt").open("a") as file:
            file.write(f"{type(self).__name__} {event}\n")
        if CASE["event"] != event or CASE["hook"] != type(self).__name__:
            return None
        match CASE["behaviour"]:
            case "amends":
                return self._amended(event, **given)
            case "amends wrongly":
                return "nonsense"
            case "vetoes":
                raise StateVeto("because of the case")
            case "raises":
                raise ValueError("because of the case")
            case "hangs":
                time.sleep(30)
            case "exits":
                os._exit(9)
        return None

    def _amended(self, event, context=None, mutation=None):
        if event == "pre_state_initialize":
            artifacts = {**context.artifacts, "amended": "/by/a/hook"}
            return dataclasses.replace(context, artifacts=artifacts)
        if mutation is not None:
            return dataclasses.replace(mutation, value={"amended": True})
        return "an observer changes nothing"

    def pre_state_initialize(self, context):
        return self._met("pre_state_initialize", context=context)

    def pre_state_mutation(self, mutation):
        if mutation.after.get("nodes.one.status") == "succeeded":
            return self._met("pre_state_mutation", mutation=mutation)
        return None

    def post_node_execute(self, node_id):
        if node_id.startswith("one"):
            return self._met("post_node_execute")
        return None

    def post_state_finalize(self):
        return self._met("post_state_finalize")


class First(_Base):
    order = 1


class Middle(_Base):
    order = 2


class Last(_Base):
    order = 3
