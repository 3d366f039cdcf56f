import logging

import pytest

from aethersdk import NodeState, StateHook, StateVeto


class StateLogger(StateHook):
    """The example of the AetherScript document."""

    def post_node_execute(self, node_id, previous_state, current_state):
        if previous_state.status != current_state.status:
            self.logger.info(
                f"Node {node_id} transitioned: {previous_state.status} → {current_state.status}"  # noqa: G004
            )


def _node(status: str) -> NodeState:
    return NodeState(node_id="transform_csv_01H3XZAB", status=status)


def test_the_documents_state_logger_works_as_it_stands(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        StateLogger().post_node_execute("transform_csv", _node("executing"), _node("succeeded"))
        StateLogger().post_node_execute("transform_csv", _node("succeeded"), _node("succeeded"))
    assert caplog.messages == ["Node transform_csv transitioned: executing → succeeded"]


def test_a_hook_logs_under_its_own_name(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        StateLogger().logger.info("hello")
    assert [record.name for record in caplog.records] == ["aethersdk.hooks.StateLogger"]


def test_a_veto_says_why() -> None:
    with pytest.raises(StateVeto, match=r"^rows are missing$"):
        raise StateVeto("rows are missing")
