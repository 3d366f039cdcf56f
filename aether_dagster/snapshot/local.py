"""Execution folders on a local disk: write beside, fsync, rename, fsync of the folder.

A temporary file lies in the history's own folder, never in an execution's, and is locked as long
as its writer lives. One which can be locked by somebody else belongs to a writer which was
killed; the next writer removes it.
"""

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Generator, Sequence
from pathlib import Path

from aether_dagster.errors import FolderExists, SnapshotError

_TEMPORARY_PREFIX = ".aether-"
_TEMPORARY_SUFFIX = ".tmp"

_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EROFS: "the file system is read-only: choose another --state-history",
    errno.EACCES: "permission is denied: make it accessible, or choose another --state-history",
    errno.EPERM: "permission is denied: make it accessible, or choose another --state-history",
    errno.ENOENT: "there is no such file or folder: look at the path",
    errno.ENOTDIR: "a part of the path is not a folder: choose another --state-history",
}


class LocalFolders:
    """Folders below one local path."""

    def __init__(self, root: Path):
        self._root = root
        self._swept = False

    def create(self, folder: str) -> None:
        """Creates a folder; raises FolderExists where it is there."""
        target = self._root / folder
        with _explained(f"The history folder {target} cannot be created"):
            self._root.mkdir(parents=True, exist_ok=True)
            self._sweep_once()
            try:
                target.mkdir()
            except FileExistsError as error:
                raise FolderExists(folder) from error
            _fsync_folder(self._root)

    def discard(self, folder: str) -> None:
        """Removes a folder which holds nothing, if it is there."""
        with contextlib.suppress(OSError):
            (self._root / folder).rmdir()

    def write(self, folder: str, files: Sequence[tuple[str, bytes]]) -> None:
        """Writes files whole, one after the other, and makes them durable together.

        Of files with the same content, as a node's last attempt and its end mostly are, the second
        is another name of the first: a hard link.
        """
        if not files:
            return
        self._sweep_once()
        root = os.fspath(self._root)
        with _temporary_files() as opened:
            for name, data in files:
                with _explained(f"The history file {root}/{folder}/{name} cannot be written"):
                    if data not in opened:
                        opened[data] = _temporary_file(root)
                        _write(opened[data][1], data)
            with _explained(f"The history folder {root}/{folder} cannot be written"):
                for _, descriptor in opened.values():
                    os.fsync(descriptor)
            # Only now, for a rename gives the next file's fsync more to write.
            there: dict[bytes, str] = {}
            for name, data in files:
                target = f"{root}/{folder}/{name}"
                with _explained(f"The history file {target} cannot be written"):
                    if data not in there:
                        os.rename(opened[data][0], target)  # noqa: PTH104 - for its speed
                    elif not _link(there[data], target):
                        _copy(root, data, target)
                there[data] = target
        with _explained(f"The history folder {root}/{folder} cannot be written"):
            _fsync_folder(self._root / folder)

    def read(self, folder: str, name: str) -> bytes:
        """Returns a file's content."""
        target = self._root / folder / name
        with _explained(f"The history file {target} cannot be read"):
            return target.read_bytes()

    def folders(self) -> list[str]:
        """Returns the names of all folders."""
        with _explained(f"The history {self._root} cannot be listed"):
            return [entry.name for entry in os.scandir(self._root) if entry.is_dir()]

    def names(self, folder: str) -> list[str]:
        """Returns the names of all files in a folder."""
        target = self._root / folder
        with _explained(f"The history folder {target} cannot be listed"):
            return [entry.name for entry in os.scandir(target)]

    def sizes(self, folder: str) -> dict[str, int]:
        """Returns the sizes of all files in a folder, in bytes, by name."""
        target = self._root / folder
        with _explained(f"The history folder {target} cannot be listed"):
            return {entry.name: entry.stat().st_size for entry in os.scandir(target)}

    def remove(self, folder: str, name: str) -> None:
        """Removes a file, if it is there."""
        target = self._root / folder / name
        with _explained(f"The history file {target} cannot be removed"):
            target.unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing writes for it."""

    def _sweep_once(self) -> None:
        if self._swept:
            return
        self._swept = True
        for path in self._root.glob(f"{_TEMPORARY_PREFIX}*{_TEMPORARY_SUFFIX}"):
            # What cannot be removed, perhaps another user's, is not worth failing a history for.
            with contextlib.suppress(OSError):
                _remove_if_abandoned(path)


@contextlib.contextmanager
def _temporary_files() -> Generator[dict[bytes, tuple[str, int]]]:
    """Takes temporary files by their content; closes and, if not all went well, removes them."""
    opened: dict[bytes, tuple[str, int]] = {}
    try:
        yield opened
    except BaseException:
        for path, _ in opened.values():
            Path(path).unlink(missing_ok=True)
        raise
    finally:
        for _, descriptor in opened.values():
            os.close(descriptor)


def _link(source: str, target: str) -> bool:
    # There may be a file of that name, or the file system knows no links.
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def _copy(root: str, data: bytes, target: str) -> None:
    with _temporary_files() as opened:
        path, descriptor = opened[data] = _temporary_file(root)
        _write(descriptor, data)
        os.fsync(descriptor)
        os.rename(path, target)  # noqa: PTH104 - for its speed


def _temporary_file(folder: str) -> tuple[str, int]:
    while True:
        path = f"{folder}/{_TEMPORARY_PREFIX}{secrets.token_hex(8)}{_TEMPORARY_SUFFIX}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        _lock(descriptor)
        # Another writer may have swept the file between its creation and its lock.
        if os.fstat(descriptor).st_nlink:
            return path, descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    # A file system without locks keeps what a killed writer left: nobody can prove it dead.
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _remove_if_abandoned(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    if hasattr(os, "posix_fadvise"):
        # Advice alone: the disk begins, and one fsync then covers most of what the others would.
        with contextlib.suppress(OSError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _explained(what: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, f"{error.strerror or error}")
        raise SnapshotError(f"{what}: {advice}.") from error
