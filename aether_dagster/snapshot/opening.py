"""Opening a folder's files, plain or sealed, with errors which name the file (spec 3)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from aether_dagster.crypto import ChainLink, KeyRing, no_key, open_sealed
from aether_dagster.errors import NotSealed, SealError, SnapshotError, Tampered, UnknownKey
from aether_dagster.snapshot.naming import parse_folder
from aether_dagster.snapshot.store import HistoryStore

_SEALED = b'{"protected":'


@dataclass(frozen=True)
class OpenedFile:
    """A file whose content is proven to be what was sealed, or was never sealed.

    Args:
        name: The file's name.
        content: The plain bytes.
        link: Its place in the chain, of a sealed file.
    """

    name: str
    content: bytes
    link: ChainLink | None

    def document(self, folder: str) -> Any:
        """Returns what the content says; raises SnapshotError where it is not JSON."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError) as error:
            path = PurePosixPath(folder) / self.name
            raise SnapshotError(f"The history file {path} is damaged: {error}.") from error


def is_sealed(data: bytes) -> bool:
    """Tells whether a file looks like something sealed; it may be damaged all the same."""
    return data.startswith(_SEALED)


def open_file(store: HistoryStore, folder: str, name: str, keys: KeyRing | None) -> OpenedFile:
    """Reads and opens one file of an execution's folder.

    Args:
        store: The history.
        folder: The execution's folder in it.
        name: The file.
        keys: The keys of a sealed history; a plain file is not opened with keys.

    Raises:
        SnapshotError: It cannot be read.
        UnknownKey: It is sealed, with another key or none is given.
        NotSealed: Keys are given and it is plain.
        Tampered: It was changed, or lies where it does not belong.
    """
    data = store.read(folder, name)
    path = PurePosixPath(folder) / name
    if keys is None:
        if is_sealed(data):
            raise UnknownKey(no_key(f"The history file {path}"))
        return OpenedFile(name, data, None)
    try:
        content, link = open_sealed(data, keys, parse_folder(folder) or folder, name)
    except NotSealed as error:
        raise NotSealed(
            f"The history file {path} is plain, and keys are given: a plain file is never taken "
            "for a sealed one. Read a plain history without keys."
        ) from error
    except SealError as error:
        error.args = (f"The history file {path} cannot be opened. {error}",)
        raise
    return OpenedFile(name, content, link)


def check_chain(folder: str, files: Sequence[OpenedFile]) -> None:
    """Proves that sealed files follow one another without a gap; the end may be missing.

    Raises:
        Tampered: A file is missing in between, or does not follow the one before it.
    """
    links = sorted((file.link for file in files if file.link), key=lambda link: link.seq)
    for seq, link in enumerate(links):
        before = links[seq - 1].link if seq else None
        if link.seq != seq:
            raise Tampered(f"In the history {folder} the file number {seq} is missing.")
        if link.prev != before:
            raise Tampered(
                f"In the history {folder} the file {link.name} does not follow the one before it."
            )
