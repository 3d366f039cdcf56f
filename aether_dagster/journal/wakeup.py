"""How a commit wakes the tails of other processes on this host: a datagram to each (spec 1.6).

A tail binds a socket in a folder beside the journal; whoever commits sends a byte to every socket
there. Nothing depends on it: a tail looks again by itself after a while.
"""

import errno
import os
import socket
import sys
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Protocol

_LONGEST_ADDRESS = 103
_WITHOUT_WAKE_UP = 0.05
_SETTLED = 100_000_000


class Mailbox(Protocol):
    """What a tail waits at.

    Attributes:
        usable: False once it is broken; then another is needed.
    """

    usable: bool

    def clear(self) -> None:
        """Forgets the wake-ups which have come; to be called before looking for versions."""
        ...

    def wait(self, seconds: float) -> None:
        """Returns at a wake-up, or after so many seconds."""
        ...

    def rest(self) -> None:
        """Wants no wake-ups until it is cleared again."""
        ...

    def close(self) -> None:
        """Removes it."""
        ...

    def leave(self) -> None:
        """Lets go of it in a forked child; it stays the parent's."""
        ...


class NoMailbox:
    """For a reader which nobody can wake: it looks often instead.

    Args:
        interval: Seconds between looks.
    """

    usable = True

    def __init__(self, interval: float):
        self._interval = interval

    def clear(self) -> None:
        """See `Mailbox`."""

    def wait(self, seconds: float) -> None:
        """See `Mailbox`."""
        time.sleep(min(seconds, self._interval))

    def rest(self) -> None:
        """See `Mailbox`."""

    def close(self) -> None:
        """See `Mailbox`."""

    def leave(self) -> None:
        """See `Mailbox`."""


class SocketMailbox:
    """A bound Unix datagram socket."""

    _numbers = count()
    usable = True

    def __init__(self, folder: Path, directory: "Directory"):
        self._path = folder / f"{os.getpid()}-{next(self._numbers)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            # One of that name is of a dead process which had this process id.
            self._path.unlink(missing_ok=True)
            self._socket.bind(directory.address(self._path.name))
        except BaseException:
            self._socket.close()
            raise

    def clear(self) -> None:
        """See `Mailbox`."""
        self._socket.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self._socket.recv(1)

    def wait(self, seconds: float) -> None:
        """See `Mailbox`."""
        self._socket.settimeout(max(seconds, 0.0001))
        with suppress(TimeoutError):
            self._socket.recv(1)

    def rest(self) -> None:
        """See `Mailbox`. One which is full keeps nobody waiting."""

    def close(self) -> None:
        """See `Mailbox`."""
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def leave(self) -> None:
        """See `Mailbox`."""
        self._socket.close()


class Directory:
    """A folder's name for socket addresses, which have room for 107 bytes only."""

    def __init__(self, folder: Path):
        self._prefix = os.fspath(folder)
        self._descriptor: int | None = None
        if len(os.fsencode(self._prefix)) > _LONGEST_ADDRESS - 24 and sys.platform == "linux":
            self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._prefix = f"/proc/self/fd/{self._descriptor}"

    def address(self, name: str) -> str:
        """Returns the address of the socket of that name."""
        return f"{self._prefix}/{name}"

    def close(self) -> None:
        """Gives the folder back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Bell:
    """The folder of a journal's mailboxes.

    Args:
        folder: Made when the first mailbox is.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._path = os.fspath(folder)
        self._listed: list[str] = []
        self._listed_at = -1
        self._directory: Directory | None = None
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sender.setblocking(False)

    def mailbox(self) -> Mailbox:
        """Returns a new mailbox; one which only waits where none can be bound."""
        try:
            self._folder.mkdir(exist_ok=True)
            return SocketMailbox(self._folder, self._opened())
        except OSError:
            return NoMailbox(_WITHOUT_WAKE_UP)

    def ring(self) -> None:
        """Wakes every tail; never waits, never fails."""
        try:
            names = self._names()
            if not names:
                return
            directory = self._opened()
        except OSError:
            return
        for name in names:
            try:
                self._sender.sendto(b"\0", directory.address(name))
            except OSError as error:
                # A full mailbox will be looked into anyway; one without an owner is removed.
                if error.errno == errno.ECONNREFUSED:
                    with suppress(OSError):
                        (self._folder / name).unlink()

    def close(self) -> None:
        """Closes what it opened; mailboxes are closed by themselves."""
        self._sender.close()
        if self._directory is not None:
            self._directory.close()
            self._directory = None

    def _names(self) -> list[str]:
        # Looking whether the folder changed takes a tenth of reading it.
        changed = os.stat(self._path).st_mtime_ns  # noqa: PTH116 - for its speed
        if changed != self._listed_at:
            self._listed = os.listdir(self._path)  # noqa: PTH208 - half the time of iterdir()
            # A change soon after another may have the same time: such a list is for once.
            settled = time.time_ns() - changed > _SETTLED
            self._listed_at = changed if settled else -1
        return self._listed

    def _opened(self) -> Directory:
        if self._directory is None:
            self._directory = Directory(self._folder)
        return self._directory
