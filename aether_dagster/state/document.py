"""The state document: its members in order, and when two of them are equal (spec 1.1)."""

from collections.abc import Mapping
from typing import Any

import rfc8785

PIPELINE_FIELDS = ("id", "version", "start_timestamp", "config_hash")
NODE_FIELDS = (
    "node_id",
    "status",
    "input_payload",
    "output_payload",
    "error",
    "retry_count",
    "execution_time",
)
CONTEXT_FIELDS = ("environment_vars", "secret_store", "active_plugins", "artifacts")


def canonical_bytes(document: Mapping[str, Any]) -> bytes:
    """Returns the RFC 8785 bytes of a state document without its report.

    Two state documents are equal where these are.
    """
    return rfc8785.dumps({key: value for key, value in document.items() if key != "report"})
