"""Reading an execution's folder back (spec 3)."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aether_dagster.crypto import KeyRing, read_keys
from aether_dagster.snapshot.naming import SnapshotName, parse_name
from aether_dagster.snapshot.opening import check_chain, open_file
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
        sealed: Whether its files are sealed, and so proven to be as they were written.
    """

    folder: str
    init: Record | None
    attempts: Mapping[str, Sequence[Record]]
    finals: Mapping[str, Record]
    final: Record | None
    unexpected: Sequence[str] = field(default=())
    sealed: bool = False


def read_execution(folder: str, keys: Sequence[str] | KeyRing | None = None) -> ExecutionHistory:
    """Reads an execution's folder.

    Args:
        folder: Its path, or its fsspec URL.
        keys: Where the keys of a sealed history are: `env:NAME`, `file:PATH`, `fd:N`,
            `cmd:COMMAND`. A plain folder is not opened with keys.

    Raises:
        SnapshotError: The folder or a file in it cannot be read, or a file is damaged.
        SettingsError: A reference leads to no key.
        UnknownKey: The folder is sealed with another key, or no key is given.
        NotSealed: Keys are given and the folder, or a file in it, is plain.
        Tampered: A file was changed, was put elsewhere, or is missing between others.
    """
    store, name = HistoryStore.containing(folder)
    return read_folder(store, name, _ring(keys))


def read_folder(store: HistoryStore, name: str, keys: KeyRing | None) -> ExecutionHistory:
    """Reads an execution's folder in a history; see `read_execution`.

    Args:
        store: The history.
        name: The folder's name.
        keys: The keys of a sealed history.
    """
    names = store.names(name)
    parsed = {file: parse_name(file) for file in names}
    known = sorted(
        ((file, what) for file, what in parsed.items() if what is not None),
        key=lambda item: item[1].attempt or 0,
    )
    documents: dict[str, Record] = {}
    attempts: dict[str, list[Record]] = {}
    finals: dict[str, Record] = {}
    files = [open_file(store, name, file, keys) for file, _ in known]
    if keys is not None:
        check_chain(name, files)
    for file, (_, what) in zip(files, known, strict=True):
        record = file.document(name)
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
        sealed=keys is not None,
    )


def _ring(keys: Sequence[str] | KeyRing | None) -> KeyRing | None:
    return keys if keys is None or isinstance(keys, KeyRing) else read_keys(keys, os.environ)


def _step(name: SnapshotName) -> str:
    return (name.node_id or "").rpartition("_")[0]
