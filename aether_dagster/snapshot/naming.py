"""Names of an execution's folder and of the files in it (spec 3)."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

INIT = "state_init.json"
FINAL = "state_final.json"

_CROCKFORD = "[0-9A-HJKMNP-TV-Z]{8}"
_FOLDER = re.compile(rf"\d{{4}}-\d\d-\d\d_\d{{6}}_(pipeline_{_CROCKFORD})")
_NODE_FILE = re.compile(rf"state_node_(.+_{_CROCKFORD})_(?:attempt([1-9]\d*)|final)\.json")


@dataclass(frozen=True)
class SnapshotName:
    """What the name of a snapshot file says.

    Args:
        kind: Which of the four kinds of file it is.
        node_id: The node, for `attempt` and `node_final`.
        attempt: From 1, for `attempt`.
    """

    kind: Literal["init", "attempt", "node_final", "final"]
    node_id: str | None = None
    attempt: int | None = None


def folder_name(start_timestamp: float, pipeline_id: str) -> str:
    """Returns the name of an execution's folder: its start in UTC, and its id.

    Args:
        start_timestamp: Unix seconds, as in the Pipeline State.
        pipeline_id: The execution's id.
    """
    return f"{datetime.fromtimestamp(start_timestamp, UTC):%Y-%m-%d_%H%M%S}_{pipeline_id}"


def parse_folder(name: str) -> str | None:
    """Returns the pipeline id in a folder's name, or None where it is no execution's folder."""
    match = _FOLDER.fullmatch(name)
    return None if match is None else match[1]


def attempt_name(node_id: str, attempt: int) -> str:
    """Returns the name of the file with a node's record when an attempt, from 1, had ended."""
    return f"state_node_{node_id}_attempt{attempt}.json"


def node_final_name(node_id: str) -> str:
    """Returns the name of the file with a node's record once it is succeeded or failed."""
    return f"state_node_{node_id}_final.json"


def parse_name(name: str) -> SnapshotName | None:
    """Returns what a file's name says, or None where it is no snapshot's name."""
    if name == INIT:
        return SnapshotName("init")
    if name == FINAL:
        return SnapshotName("final")
    match = _NODE_FILE.fullmatch(name)
    if match is None:
        return None
    node_id, attempt = match.groups()
    if attempt is None:
        return SnapshotName("node_final", node_id)
    return SnapshotName("attempt", node_id, int(attempt))
