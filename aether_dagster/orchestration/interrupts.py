"""A second Ctrl-C ends the process, whatever its steps do with the first one (spec 6)."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

INTERRUPTED = 130
"""The exit status of a process which was ended so."""

# A wrapper around the command line may pass on what the terminal has sent already, so that one
# press arrives twice; in seconds.
_SAME_PRESS = 0.2


@contextmanager
def second_interrupt_kills() -> Generator[None]:
    """Ends this process and its children at the second SIGINT while the body runs.

    Dagster exchanges the signal's handler all the time, and a step may catch what the handler
    raises; so this listens below the handlers. What is committed stays, and the reapers of child
    processes end those. It does nothing outside of the main thread, which alone gets signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    thread = threading.Thread(target=_count, args=(reading,), name="interrupts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)
        thread.join()
        os.close(reading)


def _count(reading: int) -> None:
    first: float | None = None
    while numbers := os.read(reading, 64):
        if signal.SIGINT not in numbers:
            continue
        now = time.monotonic()
        if first is None:
            first = now
        elif now - first > _SAME_PRESS:
            for child in multiprocessing.active_children():
                with suppress(OSError):
                    child.kill()
            os._exit(INTERRUPTED)
