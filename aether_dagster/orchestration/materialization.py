"""What Dagster shows of a node's output: metadata of its materialization (spec 7)."""

import json
from collections.abc import Mapping
from typing import Any, cast

import dagster as dg

from aether_dagster.manager import Execution

# Longer previews make Dagster's event log heavy; the whole value is in the artifact store.
_PREVIEW = 2_000


def output_metadata(
    execution: Execution, step: str, value: Any, *, shown: bool = True
) -> dict[str, Any]:
    """Returns a materialization's metadata, under Dagster's own keys where it has them.

    Args:
        execution: The execution, after the output was committed.
        step: The step's name.
        value: What it returned.
        shown: Whether the output may be shown; state which is sealed is not stored elsewhere.
    """
    node = execution.replica.node(step)
    metadata: dict[str, Any] = {
        "aether/pipeline_id": execution.id,
        "aether/attempt": node["retry_count"] + 1,
        "aether/execution_time": float(node["execution_time"]),
        **({"aether/output": _preview(node["output_payload"])} if shown else {}),
        **_table_metadata(value),
    }
    history = execution.record.history
    if history is not None:
        metadata["aether/history"] = (
            dg.UrlMetadataValue(history) if "://" in history else dg.PathMetadataValue(history)
        )
    return metadata


def _preview(payload: Any) -> dg.MetadataValue[Any]:
    text = json.dumps(payload, ensure_ascii=False)
    if len(text) <= _PREVIEW:
        # Dagster's JSON metadata takes no number and no flag.
        scalar = isinstance(payload, bool | int | float)
        return dg.MetadataValue.text(text) if scalar else dg.MetadataValue.json(payload)
    return dg.MetadataValue.text(f"{text[:_PREVIEW]}… ({len(text)} characters)")


def _table_metadata(value: Any) -> dict[str, Any]:
    """Row count and column schema where the value is a table: pandas, polars or Arrow."""
    dtypes: Any = getattr(value, "dtypes", None)
    schema: Any = getattr(value, "schema", None)
    if hasattr(dtypes, "items"):
        columns = dict(dtypes.items())
    elif hasattr(schema, "names") and hasattr(schema, "types"):
        columns = dict(zip(schema.names, schema.types, strict=True))
    elif isinstance(schema, Mapping):
        columns = dict(cast("Mapping[str, Any]", schema))
    else:
        return {}
    if not hasattr(value, "shape"):
        return {}
    return {
        "dagster/row_count": int(value.shape[0]),
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn(str(name), str(kind)) for name, kind in columns.items()]
        ),
    }
