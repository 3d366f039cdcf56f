"""What Dagster shows of a node's output: metadata of its materialization (spec 7)."""

import json
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote

import dagster as dg

from aether_dagster.manager import Execution
from aether_dagster.orchestration.settings import AetherSettings

# Longer previews make Dagster's event log heavy; the whole value is in the artifact store.
_PREVIEW = 2_000


def output_metadata(
    execution: Execution, step: str, value: Any, settings: AetherSettings
) -> dict[str, Any]:
    """Returns a materialization's metadata, under Dagster's own keys where it has them.

    Dagster's UI shows it in this order: what leads to more comes before the output, which may be
    long.

    Args:
        execution: The execution, after the output was committed.
        step: The step's name.
        value: What it returned.
        settings: The deployment's. With keys, nothing of the output is shown: state which is
            sealed is not stored elsewhere.
    """
    node = execution.replica.node(step)
    metadata: dict[str, Any] = {
        "aether/pipeline_id": execution.id,
        "aether/attempt": node["retry_count"] + 1,
        "aether/execution_time": float(node["execution_time"]),
    }
    if settings.live_url is not None:
        metadata["aether/live"] = dg.UrlMetadataValue(
            live_page(settings.live_url, execution.id, step)
        )
    history = execution.record.history
    if history is not None:
        metadata["aether/history"] = (
            dg.UrlMetadataValue(history) if "://" in history else dg.PathMetadataValue(history)
        )
    if not settings.keys:
        metadata["aether/output"] = _preview(node["output_payload"])
    return {**metadata, **_table_metadata(value)}


def live_page(url: str, pipeline_id: str, step: str | None = None) -> str:
    """Returns the address of an execution, or of one of its nodes, in the live page.

    Args:
        url: Where the page is (`AetherSettings.live_url`).
        pipeline_id: The execution.
        step: The node's name.
    """
    node = "" if step is None else f"&node={quote(step, safe='')}"
    return f"{url.rstrip('/')}/#execution={pipeline_id}{node}"


def _preview(payload: Any) -> dg.MetadataValue[Any]:
    text = json.dumps(payload, ensure_ascii=False)
    if len(text) <= _PREVIEW:
        # Dagster's JSON metadata takes no number and no flag.
        scalar = isinstance(payload, bool | int | float)
        return dg.MetadataValue.text(text) if scalar else dg.MetadataValue.json(payload)
    return dg.MetadataValue.text(f"{text[:_PREVIEW]}… ({len(text)} characters)")


def _table_metadata(value: Any) -> dict[str, Any]:
    """Row count and column schema where the value is a table: see `_columns`."""
    columns = _columns(value)
    if columns is None:
        return {}
    rows = len(cast("list[Any]", value)) if isinstance(value, list) else int(value.shape[0])
    return {
        "dagster/row_count": rows,
        "dagster/column_schema": dg.TableSchema(
            columns=[dg.TableColumn(str(name), str(kind)) for name, kind in columns.items()]
        ),
    }


def _columns(value: Any) -> Mapping[Any, Any] | None:
    """The types of a table's columns: of pandas, polars, Arrow, or of a list of records."""
    if isinstance(value, list):
        return _record_columns(cast("list[Any]", value))
    dtypes: Any = getattr(value, "dtypes", None)
    schema: Any = getattr(value, "schema", None)
    if not hasattr(value, "shape"):
        return None
    if hasattr(dtypes, "items"):
        return dict(dtypes.items())
    if hasattr(schema, "names") and hasattr(schema, "types"):
        return dict(zip(schema.names, schema.types, strict=True))
    return cast("Mapping[str, Any]", schema) if isinstance(schema, Mapping) else None


def _record_columns(rows: list[Any]) -> Mapping[Any, str] | None:
    """What a query of SQL returns: mappings of the same members, which tell their own types."""
    first = rows[0] if rows else None
    if not isinstance(first, Mapping) or not first:
        return None
    members = cast("Mapping[Any, Any]", first)
    if any(not isinstance(row, Mapping) or row.keys() != members.keys() for row in rows):
        return None
    kinds: dict[Any, str] = {}
    for name in members:
        found = {type(row[name]).__name__ for row in rows if row[name] is not None}
        kinds[name] = " | ".join(sorted(found)) or "null"
    return kinds
