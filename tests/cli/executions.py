"""Executions made of deltas, fed to displays without running anything."""

from collections.abc import Mapping
from typing import Any

from aether_dagster.journal import Version
from aether_dagster.manager import Change
from aether_dagster.state import Authority, Delta, NodeDelta, Outcome, Replica
from aether_dagster.state.ids import node_id

PIPELINE_ID = "pipeline_01H3XYZ9"
START = 1689876543.212


class Execution:
    """Commits deltas to a replica and makes a change of each."""

    def __init__(self, *steps: str):
        self.replica = Replica()
        self.version = 0
        self.steps = steps

    def commit(self, **members: Any) -> Change:
        self.version += 1
        delta = Delta(f"d{self.version}", Authority.STEP, clock=self.version, **members)
        paths = self.replica.apply(delta)
        version = Version(PIPELINE_ID, self.version, START + self.version / 10, (delta,))
        return Change(PIPELINE_ID, version, self.replica, paths)

    def initialize(self, reused: Mapping[str, Outcome] | None = None) -> Change:
        kept = reused or {}
        return self.commit(
            pipeline={
                "id": PIPELINE_ID,
                "version": "2.1.0",
                "start_timestamp": START,
                "config_hash": "e3b0c44298fc1cd",
            },
            context={"environment_vars": {}, "secret_store": None, "active_plugins": []},
            nodes={
                step: NodeDelta(
                    node_id=node_id(PIPELINE_ID, step, index), index=index, outcome=kept.get(step)
                )
                for index, step in enumerate(self.steps)
            },
        )

    def start(self, step: str, attempt: int = 1) -> Change:
        return self._outcome(step, Outcome(attempt, "executing"))

    def succeed(self, step: str, attempt: int = 1, seconds: float = 0.87) -> Change:
        return self._outcome(step, Outcome(attempt, "succeeded", execution_time=seconds))

    def fail(
        self,
        step: str,
        attempt: int = 1,
        *,
        status: str = "failed",
        message: str = "bad row 7",
        traceback: str = "",
        seconds: float = 0.1,
    ) -> Change:
        error = {
            "type": "ValueError",
            "message": message,
            "attempt": attempt,
            "traceback": traceback,
        }
        return self._outcome(step, Outcome(attempt, status, error=error, execution_time=seconds))

    def skip(self, step: str, upstream: str) -> Change:
        error = {
            "type": "UpstreamFailed",
            "message": f"{upstream} failed",
            "attempt": 0,
            "upstream": [upstream],
        }
        return self._outcome(step, Outcome(0, "pending", error=error))

    def _outcome(self, step: str, outcome: Outcome) -> Change:
        settled = outcome.attempt if outcome.status in ("succeeded", "failed", "retrying") else 0
        return self.commit(nodes={step: NodeDelta(outcome=outcome, settled=settled)})
