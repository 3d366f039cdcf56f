"""Fits nodes' records under their size limit: what is too large is stored, and referred to."""

from typing import Any

from aether_dagster.manager.ending import EXECUTING, SUCCEEDED
from aether_dagster.state import Replica
from aether_dagster.values import ValueRef, ValueStore, fit_node_record

# What an input leaves free in a node's record, in bytes: an error's message and traceback come
# later, maybe from another process which does not see the input (spec 1.4).
_RESERVE = 8_192


class Fitting:
    """What of one execution's payloads is stored already, and what has to be.

    Args:
        values: The artifact store.
        pipeline_id: The execution.
    """

    def __init__(self, values: ValueStore, pipeline_id: str):
        self._values, self._pipeline_id = values, pipeline_id
        self._stored: dict[int, tuple[Any, ValueRef]] = {}

    def remember(self, value: Any, ref: ValueRef) -> None:
        """Takes where a value is stored, to refer to it wherever it stands in a payload."""
        # The value is kept alive with its id, or another object could get the same one.
        self._stored[id(value)] = (value, ref)

    def forget(self) -> None:
        """Lets go of the values which were remembered."""
        self._stored.clear()

    def fit(
        self, replica: Replica, step: str, attempt: int, status: str, **members: Any
    ) -> dict[str, Any]:
        """Returns a node's record with other members, fitted under its size limit.

        Args:
            replica: The state before.
            step: The step's name.
            attempt: From 1.
            status: What the node's becomes.
            members: Of the record.
        """
        record = dict(replica.node(step)) | {
            "status": status,
            "output_payload": None,
            "error": None,
            "retry_count": attempt - 1,
        }
        if attempt != replica.outcome(step).attempt:
            record["input_payload"] = None

        def spill(value: Any) -> dict[str, Any]:
            known = self._stored.get(id(value))
            if known is not None:
                return known[1].to_json()
            part = "output" if status == SUCCEEDED else "input"
            put = self._values.put(
                value, execution=self._pipeline_id, step=step, attempt=attempt, part=part
            )
            return put.to_json()

        reserve = _RESERVE if status == EXECUTING else 0
        return fit_node_record(record | members, spill, reserve=reserve)
