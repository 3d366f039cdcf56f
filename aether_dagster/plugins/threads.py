"""Threads in which hooks are called: each kept for the next call, unless this one hangs in it."""

import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

# How long a thread waits for another call before it ends, in seconds.
_IDLE_SECONDS = 1.0

Work = Callable[[], bool]


def run_beside(work: Work, name: str, seconds: float) -> None:
    """Runs something in a thread which nobody else uses meanwhile; leaves it behind if it hangs.

    Starting a thread for each call costs more than most hooks do.

    Args:
        work: Raises nothing; returns whether it left the thread as it was, for others to use.
        name: The thread's name meanwhile.
        seconds: How long to wait for it at most.
    """
    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
    worker.run(work, name, seconds)


class _Worker:
    def __init__(self) -> None:
        self._given: SimpleQueue[Work | None] = SimpleQueue()
        self._done: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def run(self, work: Work, name: str, seconds: float) -> None:
        usable = False
        self._thread.name = name
        self._given.put(work)
        try:
            usable = self._done.get(timeout=max(0.0, seconds))
        except Empty:
            pass
        finally:
            if usable:
                _idle.append(self)
            else:
                self._given.put(None)

    def _serve(self) -> None:
        while True:
            work = self._next()
            if work is None:
                return
            usable = work()
            # Nothing that was given to it lives on while this thread waits.
            del work
            self._done.put(usable)

    def _next(self) -> Work | None:
        try:
            return self._given.get(timeout=_IDLE_SECONDS)
        except Empty:
            pass
        try:
            _idle.remove(self)
        except ValueError:
            # Somebody has taken it just now, or is about to let it end.
            return self._given.get()
        return None


_idle: list[_Worker] = []
# A forked child has none of its parent's threads.
os.register_at_fork(after_in_child=_idle.clear)
