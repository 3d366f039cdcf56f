"""Whole-or-absent objects by key, in a local folder or behind any fsspec URL."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import urlsplit, urlunsplit

from aether_dagster.errors import ValueStoreError


class Objects(Protocol):
    """What the value store needs of a place which keeps bytes under keys with slashes."""

    root_uri: str

    def write(self, key: str, data: bytes, aside: str | None = None) -> None:
        """Store an object so that a reader sees all of it or nothing.

        Args:
            key: Its key.
            data: Its bytes.
            aside: The folder in which a part of it may lie meanwhile, and for ever where its writer
                is killed; its own folder if None.
        """
        ...

    def read(self, key: str) -> bytes:
        """Give an object's bytes, or raise FileNotFoundError."""
        ...

    def size(self, key: str) -> int | None:
        """Give an object's size in bytes, or None where it is absent."""
        ...

    def under(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Give key and size of every object under a folder."""
        ...

    def remove(self, key: str) -> None:
        """Remove an object, and the folders which become empty."""
        ...


def open_objects(url: str, durable: bool) -> Objects:
    """Open a place by path, `file:` URI or fsspec URL.

    Raises:
        ValueStoreError: No file system is installed for the URL.
    """
    if "://" not in url and not url.startswith("file:"):
        return _LocalObjects(Path(url), durable)
    parts = urlsplit(url)
    if parts.scheme in ("file", "local"):
        # Imported here: it brings a whole HTTP client.
        from urllib.request import url2pathname

        return _LocalObjects(Path(url2pathname(parts.path)), durable)
    try:
        return _RemoteObjects(url)
    except (ImportError, ValueError) as error:
        raise ValueStoreError(
            f"The artifact store {without_credentials(url)} cannot be opened: "
            f"no file system for {parts.scheme!r} is installed ({type(error).__name__})."
        ) from None


def without_credentials(url: str) -> str:
    """Drop user, password, query and fragment from a URL, for references and messages."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class _LocalObjects:
    """Objects as files of one folder.

    Args:
        root: The folder; made when the first object is written.
        durable: Also fsync each object and its folder. Not needed to survive a killed process,
            only a machine which loses power.
    """

    def __init__(self, root: Path, durable: bool):
        self._root = root.resolve()
        self._durable = durable
        self.root_uri = self._root.as_uri()

    def write(self, key: str, data: bytes, aside: str | None = None) -> None:
        path = self._root / key
        place = path.parent if aside is None else self._root / aside
        temporary = place / f".{secrets.token_hex(8)}.tmp"
        try:
            self._write_file(temporary, data)
        except FileNotFoundError:
            place.mkdir(parents=True, exist_ok=True)
            self._write_file(temporary, data)
        try:
            if place != path.parent:
                path.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        if self._durable:
            self._sync_folders(path.parent)

    def read(self, key: str) -> bytes:
        return (self._root / key).read_bytes()

    def size(self, key: str) -> int | None:
        try:
            return (self._root / key).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def under(self, prefix: str) -> Iterator[tuple[str, int]]:
        # Without `Path`: a large execution has thousands, and each would intern its parts.
        root = str(self._root)
        for folder, _, names in os.walk(os.path.join(root, prefix)):  # noqa: PTH118
            place = folder[len(root) + 1 :].replace(os.sep, "/")
            for name in names:
                yield f"{place}/{name}", os.stat(os.path.join(folder, name)).st_size  # noqa: PTH116, PTH118

    def remove(self, key: str) -> None:
        path = self._root / key
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self._root:
                return
            try:
                folder.rmdir()
            except OSError:
                return

    def _write_file(self, path: Path, data: bytes) -> None:
        with path.open("xb") as file:
            try:
                file.write(data)
                if self._durable:
                    file.flush()
                    os.fsync(file.fileno())
            except BaseException:
                path.unlink(missing_ok=True)
                raise

    def _sync_folders(self, folder: Path) -> None:
        # A new folder's own entry is in its parent, so the whole way up to the root counts.
        for step in (folder, *folder.parents):
            handle = os.open(step, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            if step == self._root:
                return


class _RemoteObjects:
    """Objects behind an fsspec URL, each written with one PUT.

    Args:
        url: For instance `s3://bucket/aether`; credentials in it never reach `root_uri`.
    """

    def __init__(self, url: str):
        # Imported here: it looks through all that is installed, and most stores are folders.
        import fsspec

        self._filesystem, root = cast(
            "tuple[Any, str]",
            fsspec.core.url_to_fs(url),  # pyright: ignore[reportUnknownMemberType]
        )
        self._root = root.rstrip("/")
        self.root_uri = without_credentials(url).rstrip("/")

    def write(self, key: str, data: bytes, aside: str | None = None) -> None:  # noqa: ARG002 - whole at once
        path = f"{self._root}/{key}"
        self._filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._filesystem.pipe_file(path, data)

    def read(self, key: str) -> bytes:
        return self._filesystem.cat_file(f"{self._root}/{key}")

    def size(self, key: str) -> int | None:
        self._filesystem.invalidate_cache()
        try:
            return int(self._filesystem.info(f"{self._root}/{key}")["size"])
        except FileNotFoundError:
            return None

    def under(self, prefix: str) -> Iterator[tuple[str, int]]:
        self._filesystem.invalidate_cache()
        try:
            found = self._filesystem.find(f"{self._root}/{prefix}", detail=True)
        except FileNotFoundError:
            return
        for path, info in found.items():
            yield str(path)[len(self._root) + 1 :], int(info["size"])

    def remove(self, key: str) -> None:
        self._filesystem.rm_file(f"{self._root}/{key}")
