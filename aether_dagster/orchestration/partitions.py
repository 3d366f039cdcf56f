"""Partitions: a run of a partitioned pipeline covers one, and keeps a state of it (spec 7)."""

from collections.abc import Mapping

import dagster as dg

from aether_dagster.errors import StateError

_KEY = "dagster/partition"
_RANGE_START = "dagster/asset_partition_range_start"
_RANGE_END = "dagster/asset_partition_range_end"


def partitions_of(pipeline: str) -> dg.PartitionsDefinition:
    """Returns the partitions of a pipeline in a code location of ours: those which it was run for.

    A document does not say which there are, so Dagster's instance remembers them.

    Args:
        pipeline: Its name.
    """
    return dg.DynamicPartitionsDefinition(name=_dynamic(pipeline))


def begin_partition(instance: dg.DagsterInstance, pipeline: str, key: str) -> Mapping[str, str]:
    """Lets an instance know of a partition; returns the tags of a run of it.

    Args:
        instance: Dagster's instance.
        pipeline: The pipeline's name.
        key: The partition.
    """
    instance.add_dynamic_partitions(_dynamic(pipeline), [key])
    return {_KEY: key}


def dimension_tags(run: dg.DagsterRun) -> Mapping[str, str]:
    """Returns the tags by which Dagster knows the dimensions of a run's partition, if any."""
    return {name: text for name, text in run.tags.items() if name.startswith(f"{_KEY}/")}


def _dynamic(pipeline: str) -> str:
    return f"aether/{pipeline}"


def run_partition(run: dg.DagsterRun) -> str | None:
    """Returns the partition key of a run; None where it has none.

    Raises:
        StateError: It covers several partitions at once. There is one state for each, and each
            resolves `${PARTITION_KEY}` for itself.
    """
    start, end = run.tags.get(_RANGE_START), run.tags.get(_RANGE_END)
    if _KEY in run.tags or start is None:
        return run.tags.get(_KEY)
    if start == end:
        return start
    raise StateError(
        f"This run covers the partitions {start!r} to {end!r} at once, and a pipeline keeps a "
        "state of each partition: launch the backfill as multiple runs, one for each partition."
    )


def output_partition(context: dg.OutputContext) -> str | None:
    """Returns the partition under which an output is kept; None where its asset has none."""
    if context.has_asset_key:
        return context.asset_partition_key if context.has_asset_partitions else None
    return context.partition_key if context.has_partition_key else None


def input_partitions(context: dg.InputContext) -> list[str] | None:
    """Returns the upstream's partitions which an input is made of, by Dagster's mapping.

    None where the upstream has none.
    """
    if context.has_asset_key:
        return list(context.asset_partition_keys) if context.has_asset_partitions else None
    return [context.partition_key] if context.has_partition_key else None
