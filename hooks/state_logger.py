# AetherScript state hooks, told of changes of state. These are **not** Dagster op hooks.
from aethersdk import StateHook

class StateLogger(StateHook):
    def post_node_execute(self, node_id, previous_state, current_state):
        if previous_state.status != current_state.status:
            self.logger.info(
                f"Node {node_id} transitioned: "
                f"{previous_state.status} → {current_state.status}"
            )
