"""An author tests hooks with the SDK alone."""

from dataclasses import replace

import pytest

from aethersdk import StateHook, StateVeto
from aethersdk.signatures import HookDefinitionError
from aethersdk.testing import HookTester


class Careful(StateHook):
    def pre_state_initialize(self, context):
        return replace(context, artifacts={**context.artifacts, "made": "/by/hook"})

    def pre_state_mutation(self, mutation, state):
        if mutation.value == ():
            raise StateVeto("no rows")
        payload = "nodes.load.input_payload"
        if payload in mutation.after:
            return replace(mutation, after={**mutation.after, payload: {"limit": 1}})
        return None

    def post_node_execute(self, node_id, previous_state, current_state):
        self.logger.info("%s: %s", node_id, current_state.status)
        with self.transaction() as tx:
            tx.set("context.artifacts.last", node_id)
            tx.private["count"] = tx.private.get("count", 0) + 1
        self.transact(lambda tx: tx.set("context.artifacts.id", self.delivery_id))

    def post_state_finalize(self, report):
        return report.status


def test_events_are_called_as_the_runtime_would():
    tester = HookTester(Careful(), nodes={"load": "executing"}, artifacts={"raw": "/r"})
    assert tester.initialize().artifacts == {"raw": "/r", "made": "/by/hook"}
    assert tester.start("load", {"limit": 9}) == {"limit": 1}
    assert tester.output("load", [1]) == (1,)
    with pytest.raises(StateVeto, match="no rows"):
        tester.output("load", [])
    tester.end("load")
    tester.end("load", "failed")
    assert tester.messages == ["load_01H3XZAB: succeeded", "load_01H3XZAB: failed"]
    assert tester.artifacts["last"] == "load_01H3XZAB"
    assert tester.artifacts["id"].startswith("pipeline_01H3XYZ9/2/load/")
    assert tester.private == {"count": 2}
    assert tester.finalize("failed") == "failed"


def test_a_wrong_hook_is_told_before_it_is_called():
    class Wrong(StateHook):
        def post_node_exekute(self): ...

    with pytest.raises(HookDefinitionError, match="post_node_execute"):
        HookTester(Wrong)


def test_a_plugin_cannot_write_elsewhere():
    class Writer(StateHook):
        def post_node_execute(self):
            with self.transaction() as tx:
                tx.set("nodes.load.status", "succeeded")

    with pytest.raises(PermissionError):
        HookTester(Writer).end("load")


def test_outside_of_a_call_there_is_no_execution():
    with pytest.raises(RuntimeError, match="Only inside a call"):
        Careful().transaction()

    class Early(StateHook):
        def pre_state_initialize(self):
            self.transaction()

    with pytest.raises(RuntimeError, match="no state to write to"):
        HookTester(Early).initialize()
