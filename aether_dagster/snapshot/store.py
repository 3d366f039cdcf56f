"""Where execution folders lie: a local folder, or any fsspec URL. A file is whole or absent."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import urlsplit

from aether_dagster.snapshot.beside import FoldersBeside
from aether_dagster.snapshot.local import LocalFolders
from aether_dagster.snapshot.naming import FINAL, parse_folder

_URL = re.compile(r"(?:[a-z0-9]+::)*[A-Za-z][A-Za-z0-9+.-]+://")
_URL_AND_NAME = re.compile(rf"({_URL.pattern}.*?)/*([^/]+)/*")


class Folders(Protocol):
    """A place with one level of folders; errors are SnapshotError."""

    def create(self, folder: str) -> None:
        """Creates a folder; raises FolderExists where it is there."""
        ...

    def discard(self, folder: str) -> None:
        """Removes a folder which holds nothing, if it is there."""
        ...

    def write(self, folder: str, files: Sequence[tuple[str, bytes]]) -> None:
        """Writes files whole, one after the other, given their names and contents."""
        ...

    def read(self, folder: str, name: str) -> bytes:
        """Returns a file's content."""
        ...

    def folders(self) -> list[str]:
        """Returns the names of all folders."""
        ...

    def names(self, folder: str) -> list[str]:
        """Returns the names of all files in a folder."""
        ...

    def sizes(self, folder: str) -> dict[str, int]:
        """Returns the sizes of all files in a folder, in bytes, by name."""
        ...

    def remove(self, folder: str, name: str) -> None:
        """Removes a file, if it is there."""
        ...

    def close(self) -> None:
        """Ends what writes for it."""
        ...


class HistoryStore:
    """A state history: one folder for each execution (spec 3).

    Args:
        url: A path, or a URL which fsspec opens, such as `s3://bucket/executions`.
        beside: Whoever writes has other work to do meanwhile: where it is a path, and files are
            many, another process writes them. To be closed.

    Attributes:
        url: The same without a password, to be shown.
    """

    def __init__(self, url: str, *, beside: bool = False):
        self.url = _without_password(url)
        self._folders: Folders
        url = url.removeprefix("file://")
        if _URL.match(url):
            from aether_dagster.snapshot.remote import RemoteFolders

            self._folders = RemoteFolders(url, self.url)
        else:
            self._folders = (FoldersBeside if beside else LocalFolders)(Path(url))

    @classmethod
    def containing(cls, folder: str) -> tuple[Self, str]:
        """Returns the history in which an execution's folder lies, and the folder's name.

        Args:
            folder: The folder's path, or its fsspec URL.
        """
        url = _URL_AND_NAME.fullmatch(folder)
        if url is not None:
            return cls(url[1]), url[2]
        path = Path(folder).absolute()
        return cls(str(path.parent)), path.name

    def create(self, folder: str) -> None:
        """Creates an execution's folder, and what is above it, exclusively.

        Raises:
            FolderExists: There is one of that name; take the next pipeline id.
            SnapshotError: It cannot be created.
        """
        self._folders.create(folder)

    def discard(self, folder: str) -> None:
        """Removes the folder of an execution which never began; one which holds a file stays."""
        self._folders.discard(folder)

    def write(self, folder: str, name: str, data: bytes) -> None:
        """Writes a file whole, in place of one of that name; returns once it is durable.

        Whoever reads meanwhile, and whenever the writer is killed, finds the whole file or none.

        Raises:
            SnapshotError: It cannot be written; nothing of it is left behind.
        """
        self.write_all(folder, [(name, data)])

    def write_all(self, folder: str, files: Sequence[tuple[str, bytes]]) -> None:
        """Writes files as `write` does, in their order; returns once all are durable.

        Whenever the writer is killed, those which are there are the first of them.

        Args:
            folder: The folder's name.
            files: Names, each once, and contents; open at the same time, so not thousands.

        Raises:
            SnapshotError: One cannot be written; those before it may be there.
        """
        self._folders.write(folder, files)

    def read(self, folder: str, name: str) -> bytes:
        """Returns a file's content; raises SnapshotError where it cannot be read."""
        return self._folders.read(folder, name)

    def folders(self) -> list[str]:
        """Returns the names of the execution folders, oldest first."""
        return sorted(name for name in self._folders.folders() if parse_folder(name) is not None)

    def names(self, folder: str) -> list[str]:
        """Returns the names of everything in an execution's folder, sorted."""
        return sorted(self._folders.names(folder))

    def sizes(self, folder: str) -> dict[str, int]:
        """Returns the sizes of everything in an execution's folder, in bytes, by name."""
        return self._folders.sizes(folder)

    def remove(self, folder: str) -> None:
        """Removes an execution's folder and all that is in it.

        `state_final.json` goes last, so that what is left of a removal which was cut off is told
        from an execution which never ended.

        Raises:
            SnapshotError: Something in it cannot be removed.
        """
        for name in sorted(self._folders.names(folder), key=lambda name: (name == FINAL, name)):
            self._folders.remove(folder, name)
        self._folders.discard(folder)

    def close(self) -> None:
        """Ends what writes for it."""
        self._folders.close()


def _without_password(url: str) -> str:
    password = urlsplit(url).password
    return url if password is None else url.replace(f":{password}@", ":***@", 1)
