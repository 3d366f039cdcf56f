"""What steps print while a live view is drawn: it goes above the view, not through it."""

import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.text import Text

_STDOUT, _STDERR = 1, 2
# A child which outlives its step may hold the pipe open; nobody waits for what it may yet say.
_DRAIN_LIMIT = 1.0


class PrintRelay:
    """Takes over standard output and error of this process and of its children, line by line.

    Args:
        show: Given each line, in order, from one thread; it writes to a stream of its own.
    """

    def __init__(self, show: Callable[[Text], None]):
        self._show = show
        self._saved: list[int] = []
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        sys.stdout.flush()
        sys.stderr.flush()
        reading, writing = os.pipe()
        self._saved = [os.dup(_STDOUT), os.dup(_STDERR)]
        os.dup2(writing, _STDOUT)
        os.dup2(writing, _STDERR)
        os.close(writing)
        self._thread = threading.Thread(
            target=self._relay, args=(reading,), name="print-relay", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        for saved, descriptor in zip(self._saved, (_STDOUT, _STDERR), strict=True):
            os.dup2(saved, descriptor)
            os.close(saved)
        if self._thread is not None:
            self._thread.join(_DRAIN_LIMIT)

    def _relay(self, reading: int) -> None:
        with os.fdopen(reading, encoding="utf-8", errors="replace", newline="\n") as lines:
            for line in lines:
                # Colours stay; whatever else would drive the terminal is left out.
                self._show(Text.from_ansi(line.rstrip("\n")))
