"""Execution folders on a local disk whose files another process writes, once there are many.

A thread which writes a file gives Python's one lock away with each of a dozen system calls, and
whoever runs steps meanwhile waits each time until it has the lock back. A process has its own.
"""

import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from aether_dagster.errors import SnapshotError
from aether_dagster.snapshot.local import LocalFolders

# After so many files, as a short run is over before a process has begun.
_MANY = 100
# How long a process which has nothing left to do may take to end, in seconds.
_PATIENCE = 5.0
# What an interpreter needs to find itself and its libraries; the rest is none of its business.
_KEPT = ("PATH", "PYTHON", "LD_", "DYLD_", "TMPDIR", "LANG", "LC_")
_SERVE = f"""
import sys, pathlib
from {__name__} import serve
serve(pathlib.Path(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
"""

Files = Sequence[tuple[str, bytes]]


class FoldersBeside(LocalFolders):
    """Folders below one local path, for one thread which writes while others have work to do.

    Where the process cannot be started, or is killed, the files are written here.

    Args:
        root: The path.
    """

    def __init__(self, root: Path):
        super().__init__(root)
        self._count = 0
        self._process: _Process | None = None

    def write(self, folder: str, files: Files) -> None:
        """See `LocalFolders.write`."""
        before, self._count = self._count, self._count + len(files)
        if before < _MANY <= self._count:
            self._process = _started(self._root)
        if self._process is not None:
            try:
                self._process.write(folder, files)
            except (OSError, EOFError, pickle.UnpicklingError):
                self.close()
            else:
                return
        super().write(folder, files)

    def close(self) -> None:
        """See `LocalFolders.close`."""
        process, self._process = self._process, None
        if process is not None:
            process.close()


def _started(root: Path) -> "_Process | None":
    try:
        return _Process(root)
    except OSError:
        return None


class _Process:
    """A process which writes files, one batch after the other."""

    def __init__(self, root: Path):
        process = subprocess.Popen(
            # Nothing in the working directory passes for a module; nobody's Ctrl-C is meant for it.
            [sys.executable, "-P", "-c", _SERVE, os.fspath(root.absolute())],
            env={name: value for name, value in os.environ.items() if name.startswith(_KEPT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        self._owner = os.getpid()
        self._orders, self._answers = process.stdin, process.stdout
        self.close = weakref.finalize(self, _end, process, self._owner)

    def write(self, folder: str, files: Files) -> None:
        if os.getpid() != self._owner:
            raise ChildProcessError("it is the parent's")
        self._orders.write(pickle.dumps((folder, files)))
        self._orders.flush()
        problem = pickle.load(self._answers)  # noqa: S301 - from a process which this one started
        if problem is not None:
            raise SnapshotError(problem)


def _end(process: "subprocess.Popen[bytes]", owner: int) -> None:
    if os.getpid() != owner:
        return
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):  # it was killed
        process.stdin.close()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
    process.stdout.close()


def serve(root: Path, orders: IO[bytes], answers: IO[bytes]) -> None:
    """Writes what it is given until there is no more.

    Args:
        root: The history.
        orders: Pickles of a folder's name and its files.
        answers: Takes a pickle for each: None, or why they cannot be written.
    """
    folders = LocalFolders(root)
    while True:
        try:
            folder, files = pickle.load(orders)  # noqa: S301 - from the process which started this one
        except (EOFError, pickle.UnpicklingError):
            return
        problem = None
        try:
            folders.write(folder, files)
        except SnapshotError as error:
            problem = str(error)
        pickle.dump(problem, answers)
        answers.flush()
