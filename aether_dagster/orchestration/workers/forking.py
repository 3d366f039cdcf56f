"""Whether this process may fork (docs/decisions, "How warm workers start")."""

import sys
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

# Each is started by code which is known, and holds no lock which anything in a worker takes. The
# first two are in every run which Dagster's code server launched: one waits for the run's
# termination, the other feeds the queue by which the run tells of its events. The others are the
# command line's, whose terminal and pipes no worker uses.
_HARMLESS = frozenset(
    {
        "termination-handler",
        "QueueFeederThread",
        "interrupts",
        "live-view",
        "print-relay",
        "sidecar",
    }
)
# Their own documentation says so, whether their threads run yet or not.
_NEVER_AFTER = frozenset({"polars", "duckdb"})


def may_fork() -> bool:
    """Tells whether a fork of this process is safe.

    A fork copies the thread which forks and no other, and every lock which another one holds in
    that moment stays locked in the child for ever. So there must be no thread but those which are
    known to hold none, neither of Python nor of a library.
    """
    if sys.platform != "linux" or not _NEVER_AFTER.isdisjoint(sys.modules):
        return False
    harmless = [thread for thread in threading.enumerate() if _is_harmless(thread)]
    # The system's count has the threads of libraries too.
    return len(list(Path("/proc/self/task").iterdir())) <= len(harmless)


def _is_harmless(thread: threading.Thread) -> bool:
    return thread is threading.current_thread() or thread.name in _HARMLESS


@contextmanager
def fork_quietly() -> Generator[None]:
    """Keeps Python from warning of the threads which `may_fork` knows to be harmless."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
        yield
