"""Execution folders behind an fsspec URL: one PUT of the whole object."""

import contextlib
from collections.abc import Generator, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import fsspec  # pyright: ignore[reportMissingTypeStubs]

from aether_dagster.errors import FolderExists, SnapshotError


class RemoteFolders:
    """Folders below one fsspec URL.

    Args:
        url: The URL, perhaps with a password.
        shown: The same for messages.
    """

    def __init__(self, url: str, shown: str):
        self._shown, self._password = shown, urlsplit(url).password
        with self._explained("cannot be opened"):
            fs, root = cast(tuple[Any, str], fsspec.url_to_fs(url))  # pyright: ignore[reportUnknownMemberType]
            self._fs, self._root = fs, root.rstrip("/")

    def create(self, folder: str) -> None:
        """Creates a folder; raises FolderExists where it is there."""
        path = f"{self._root}/{folder}"
        with self._explained(f"does not let {folder} be created"):
            self._fs.invalidate_cache(self._root)
            try:
                if self._fs.exists(path):
                    raise FolderExists(folder)
                # Exclusive where there are folders; an object store has none to create.
                self._fs.makedirs(path, exist_ok=False)
            except FileExistsError as error:
                raise FolderExists(folder) from error

    def discard(self, folder: str) -> None:
        """Removes a folder which holds nothing, if it is there."""
        # An object store has no folders, and says so in its own way.
        with contextlib.suppress(Exception):
            self._fs.rmdir(f"{self._root}/{folder}")

    def write(self, folder: str, files: Sequence[tuple[str, bytes]]) -> None:
        """Writes files whole, one after the other."""
        for name, data in files:
            with self._explained(f"does not let {folder}/{name} be written"):
                self._fs.pipe_file(f"{self._root}/{folder}/{name}", data)

    def read(self, folder: str, name: str) -> bytes:
        """Returns a file's content."""
        with self._explained(f"does not let {folder}/{name} be read"):
            return self._fs.cat_file(f"{self._root}/{folder}/{name}")

    def folders(self) -> list[str]:
        """Returns the names of all folders."""
        with self._explained("cannot be listed"):
            return self._list(self._root, "directory")

    def names(self, folder: str) -> list[str]:
        """Returns the names of all files in a folder."""
        with self._explained(f"does not let {folder} be listed"):
            return self._list(f"{self._root}/{folder}", "file")

    def sizes(self, folder: str) -> dict[str, int]:
        """Returns the sizes of all files in a folder, in bytes, by name."""
        with self._explained(f"does not let {folder} be listed"):
            return self._entries(f"{self._root}/{folder}", "file")

    def remove(self, folder: str, name: str) -> None:
        """Removes a file, if it is there."""
        explained = self._explained(f"does not let {folder}/{name} be removed")
        with explained, contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{folder}/{name}")

    def close(self) -> None:
        """Nothing writes for it."""

    def _list(self, path: str, kind: str) -> list[str]:
        return list(self._entries(path, kind))

    def _entries(self, path: str, kind: str) -> dict[str, int]:
        self._fs.invalidate_cache(path)
        entries: list[dict[str, Any]] = self._fs.ls(path, detail=True)
        return {
            str(entry["name"]).rstrip("/").rsplit("/", 1)[-1]: int(entry.get("size") or 0)
            for entry in entries
            if entry["type"] == kind
        }

    @contextlib.contextmanager
    def _explained(self, what: str) -> Generator[None]:
        try:
            yield
        except SnapshotError:
            raise
        except ImportError as error:
            raise SnapshotError(
                f"The history {self._shown} needs a package which is not installed: {error}"
            ) from error
        except Exception as error:
            # Each store raises what its own client raises; all of it means the same here.
            reason = f"{type(error).__name__}: {error}"
            if self._password:
                reason = reason.replace(self._password, "***")
            raise SnapshotError(
                f"The history {self._shown} {what} ({reason}). Look at the URL, the network and "
                "the credentials, or choose another --state-history."
            ) from error
