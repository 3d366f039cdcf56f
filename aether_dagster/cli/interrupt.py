"""A second Ctrl-C kills at once, whatever a step does with the first."""

import os
import signal
import threading
from types import TracebackType
from typing import IO, Self

import psutil

from aether_dagster.cli.status import ExitStatus

_COUNTED = frozenset({signal.SIGINT, signal.SIGTERM})
_SHOW_CURSOR = b"\x1b[?25h\n"


class SecondInterruptKills:
    """Ends this process and its children at the second interrupt; the first is Dagster's.

    Dagster puts in signal handlers of its own and takes them out again, and a step may swallow
    what they raise. So this counts at the wake-up descriptor, which every signal is written to,
    in a thread of its own.

    Args:
        stream: Where a live view is drawn, whose cursor is to be shown again.
    """

    def __init__(self, stream: IO[str]):
        self._stream = stream
        self._before = -1
        self._writing = -1
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._thread = threading.Thread(target=self._count, args=(reading,), daemon=True)
        self._thread.start()
        self._before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(self._before)
        os.close(self._writing)
        if self._thread is not None:
            self._thread.join()

    def _count(self, reading: int) -> None:
        interrupts = 0
        with os.fdopen(reading, "rb", buffering=0) as signals:
            while numbers := signals.read(64):
                interrupts += sum(number in _COUNTED for number in numbers)
                if interrupts >= 2:
                    self._kill()

    def _kill(self) -> None:
        for child in psutil.Process().children(recursive=True):
            try:
                child.kill()
            except psutil.NoSuchProcess:
                continue
        if self._stream.isatty():
            os.write(self._stream.fileno(), _SHOW_CURSOR)
        os._exit(ExitStatus.INTERRUPTED)
