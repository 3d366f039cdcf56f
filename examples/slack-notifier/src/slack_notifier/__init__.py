"""SlackNotifier: tells a Slack channel how AetherScript executions go."""

import json
import os
import urllib.request
from typing import Any

from aethersdk import NodeState, Plugin, Report, State, StateHook

VARIABLE = "SLACK_WEBHOOK_URL"
_SECONDS = 10


class Notify(StateHook):
    """Posts failures of nodes and ends of executions."""

    timeout = 2 * _SECONDS

    def post_node_execute(self, node_id: str, current_state: NodeState) -> None:
        if current_state.status == "failed":
            error = current_state.error or {}
            self._post(f":x: `{node_id}` failed: {error.get('type')}: {error.get('message')}")

    def post_state_finalize(self, report: Report, state: State) -> None:
        mark = ":white_check_mark:" if report.status == "succeeded" else ":x:"
        text = f"{mark} `{state.pipeline.id}` {report.status} in {report.duration:.1f} s"
        self._post(f"{text}: {', '.join(report.failed)}" if report.failed else text)

    def _post(self, text: str) -> None:
        url = os.environ.get(VARIABLE)
        if not url:
            self.logger.warning("%s is not set, so nobody is told: %s", VARIABLE, text)
            return
        body: dict[str, Any] = {"text": text, "metadata": {"delivery_id": self.delivery_id}}
        request = urllib.request.Request(  # noqa: S310 - the operator's own URL
            url, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310
            self.logger.info("Told: %s", text)


class SlackNotifier(Plugin):
    """One hook."""

    hooks = (Notify,)
