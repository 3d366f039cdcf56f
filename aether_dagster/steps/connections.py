"""Connections of one execution: opened when first asked for, closed when it ends."""

import os
from collections.abc import Callable
from threading import Lock
from typing import Protocol, TypeVar, cast


class Closable(Protocol):
    """Something which holds a connection until it is closed."""

    def close(self) -> None:
        """Give back what it holds."""
        ...


_T = TypeVar("_T", bound=Closable)


class Connections:
    """Keeps what the steps of an execution opened, by the connector's name.

    Not shared with other processes: after a fork the child opens its own, and leaves its
    parent's alone.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._pid = os.getpid()
        self._open: dict[str, Closable] = {}

    def get(self, name: str, open_it: Callable[[], _T]) -> _T:
        """Give the open connection of a name; the first caller opens it.

        Args:
            name: The connector's name, and for what it is open.
            open_it: Opens it; always of the same kind for the same name.
        """
        with self._lock:
            if self._pid != os.getpid():
                # What a fork inherited is only let go of: to close it would speak to the
                # server in the parent's name.
                self._inherited, self._open, self._pid = self._open, {}, os.getpid()
            if name not in self._open:
                self._open[name] = open_it()
            return cast("_T", self._open[name])

    def close(self) -> list[str]:
        """Close all of them, and go on where one fails; to call it again does nothing.

        Returns:
            One sentence for each which failed.
        """
        with self._lock:
            open_now, self._open = self._open, {}
            if self._pid != os.getpid():
                return []
        failures: list[str] = []
        for name, connection in open_now.items():
            try:
                connection.close()
            except Exception as error:  # noqa: BLE001 - each driver has errors of its own
                failures.append(f"The connection {name!r} did not close: {type(error).__name__}.")
        return failures
