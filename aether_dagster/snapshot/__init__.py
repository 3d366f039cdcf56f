"""The state history: the files which one execution leaves (spec 3).

Names, bytes and the projection from versions are pure; `store` alone touches disks and networks.
"""

from aether_dagster.snapshot.findings import Finding, Recorded, Verification
from aether_dagster.snapshot.format import render_final, render_node, render_state
from aether_dagster.snapshot.history import ExecutionHistory, read_execution, read_folder
from aether_dagster.snapshot.naming import (
    FINAL,
    INIT,
    SnapshotName,
    attempt_name,
    folder_name,
    node_final_name,
    parse_folder,
    parse_name,
)
from aether_dagster.snapshot.projection import Projection, SnapshotFile
from aether_dagster.snapshot.store import HistoryStore
from aether_dagster.snapshot.verify import verify_execution

__all__ = [
    "FINAL",
    "INIT",
    "ExecutionHistory",
    "Finding",
    "HistoryStore",
    "Projection",
    "Recorded",
    "SnapshotFile",
    "SnapshotName",
    "Verification",
    "attempt_name",
    "folder_name",
    "node_final_name",
    "parse_folder",
    "parse_name",
    "read_execution",
    "read_folder",
    "render_final",
    "render_node",
    "render_state",
    "verify_execution",
]
