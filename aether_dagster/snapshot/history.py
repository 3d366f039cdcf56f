"""Reading an execution's folder back (spec 3)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from aether_dagster.errors import NotSealed, SnapshotError
from aether_dagster.snapshot.naming import SnapshotName, parse_name
from aether_dagster.snapshot.store import HistoryStore

Record = Mapping[str, Any]


@dataclass(frozen=True)
class ExecutionHistory:
    """What an execution's folder holds.

    Args:
        folder: The folder's name.
        init: `state_init.json`, or None where it is not there yet.
        attempts: The records of a node's ended attempts, by step name, the first attempt first.
        finals: The records of nodes which succeeded or failed, by step name.
        final: `state_final.json` with its report, or None where the execution has not ended.
        unexpected: Names of what does not belong into such a folder.
    """

    folder: str
    init: Record | None
    attempts: Mapping[str, Sequence[Record]]
    finals: Mapping[str, Record]
    final: Record | None
    unexpected: Sequence[str] = field(default=())


def read_execution(folder: str, keys: Sequence[str] | None = None) -> ExecutionHistory:
    """Reads an execution's folder.

    Args:
        folder: Its path, or its fsspec URL.
        keys: Keys of a sealed history; a plain folder is not opened with keys.

    Raises:
        SnapshotError: The folder or a file in it cannot be read, or a file is damaged.
        NotSealed: Keys were given and the folder is plain.
    """
    store, name = HistoryStore.containing(folder)
    names = store.names(name)
    if keys is not None:
        raise NotSealed(f"The history {folder} is plain: read it without keys.")

    parsed = {file: parse_name(file) for file in names}
    known = sorted(
        ((file, what) for file, what in parsed.items() if what is not None),
        key=lambda item: item[1].attempt or 0,
    )
    documents: dict[str, Record] = {}
    attempts: dict[str, list[Record]] = {}
    finals: dict[str, Record] = {}
    for file, what in known:
        record = _load(store, name, file)
        if what.kind == "attempt":
            attempts.setdefault(_step(what), []).append(record)
        elif what.kind == "node_final":
            finals[_step(what)] = record
        else:
            documents[what.kind] = record
    return ExecutionHistory(
        folder=name,
        init=documents.get("init"),
        attempts=attempts,
        finals=finals,
        final=documents.get("final"),
        unexpected=tuple(file for file, what in parsed.items() if what is None),
    )


def _step(name: SnapshotName) -> str:
    return (name.node_id or "").rpartition("_")[0]


def _load(store: HistoryStore, folder: str, name: str) -> Record:
    try:
        return json.loads(store.read(folder, name))
    except ValueError as error:
        path = PurePosixPath(folder) / name
        raise SnapshotError(f"The history file {path} is damaged: {error}.") from error
