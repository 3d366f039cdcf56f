"""The partitions which a component's `defs.yaml` declares for a document beside it."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import dagster as dg
from pydantic import TypeAdapter, ValidationError

from aether_dagster.errors import SettingsError
from aether_dagster.orchestration.compat import PartitionsModel, parse_defs, resolve_partitions
from aether_dagster.script import Document

_FILE = "defs.yaml"


def check_partition(document: Document, key: str) -> None:
    """Refuses a partition which a pipeline does not have, as `dg launch --partition` does.

    A document does not say which partitions there are. Where a `defs.yaml` beside it declares
    them, the key must be one of those; where Python or a template does, every key is taken.

    Args:
        document: The pipeline.
        key: The partition.

    Raises:
        SettingsError: The pipeline has no partitions, or not this one; or the file is wrong.
    """
    declared = [found for found in _declared(document) if found is not None]
    if not declared and not document.is_partitioned:
        raise SettingsError(
            f"{document.name!r} is not partitioned: no step of it names ${{PARTITION_KEY}}, and "
            f"no {_FILE} beside it declares partitions. Leave --partition out."
        )
    for partitions in declared:
        if isinstance(partitions, str):
            continue  # a template, of which only the project knows what it stands for
        if not partitions.has_partition_key(key):
            raise SettingsError(_unknown(document.name, partitions, key))


def _unknown(pipeline: str, partitions: dg.PartitionsDefinition, key: str) -> str:
    said = f"{pipeline!r} has no partition {key!r}"
    keys = partitions.get_partition_keys()
    if not keys:
        return f"{said}: it has none yet."
    if not isinstance(partitions, dg.StaticPartitionsDefinition):
        return f"{said}: they are {keys[0]} to {keys[-1]}."
    near = difflib.get_close_matches(key, keys, n=1)
    if near:
        return f"{said}; did you mean {near[0]}?"
    more = f" and {len(keys) - 10} more" if len(keys) > 10 else ""
    return f"{said}: they are {', '.join(keys[:10])}{more}."


def _declared(document: Document) -> Iterator[dg.PartitionsDefinition | str | None]:
    """What each component of this document in the `defs.yaml` beside it says; a template as it is.

    A subclass has attributes of its own, so that only those are read which ours has.
    """
    file = Path(document.file).absolute().with_name(_FILE)
    if not file.is_file():
        return
    try:
        for attributes in parse_defs(file):
            if _is_of(attributes.get("pipeline"), file.parent, Path(document.file).absolute()):
                translation = attributes.get("translation")
                translated = cast("Mapping[str, Any]", translation or {}).get("partitions_def")
                yield _partitions(attributes.get("partitions_def") or translated)
    except (OSError, ValueError, ValidationError) as error:
        raise SettingsError(f"{file} cannot be read: {error}") from error


def _is_of(pipeline: Any, folder: Path, document: Path) -> bool:
    if not isinstance(pipeline, str):
        return False
    place = (folder / pipeline).resolve()
    return document.resolve() == place or place in document.resolve().parents


def _partitions(declared: Any) -> dg.PartitionsDefinition | str | None:
    if declared is None or isinstance(declared, str):
        return declared
    model = TypeAdapter[PartitionsModel](PartitionsModel).validate_python(declared)
    return resolve_partitions(dg.ResolutionContext.default(), model)
