"""The sidecar: a process of its own which shows executions live, over WebSocket and HTTP.

The only place of the product which imports `websockets`. It reads the journal and never writes
state. Spec 4.
"""

from aether_dagster.sidecar.server import Sidecar, SidecarSettings

__all__ = ["Sidecar", "SidecarSettings"]
