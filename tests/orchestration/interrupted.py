"""A process whose storage is interrupted at every line, and stores an event each time.

As a run which is terminated: its step's failure is stored while the interrupt is handled. It is a
process of its own because Python leaves a thread in an `except` for ever where a trace function
interrupts its end, and tells of generators which nobody holds any more.
"""

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from aether_dagster.journal import sqlite as journal_sqlite
from aether_dagster.orchestration.event_log import KeptSqliteEventLogStorage, engines
from tests.orchestration.event_logs import KEY, RUN, made, plain


def interrupt_at(step: int) -> Callable[..., Any]:
    """A trace function which interrupts at the n-th line or return where locks are held."""
    owned = (engines.__file__, journal_sqlite.__file__, contextlib.__file__)
    left = step

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal left
        if event in ("line", "return"):
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        return trace if frame.f_code.co_filename.startswith(owned) else None

    return trace


def interrupt_everywhere(kept: KeptSqliteEventLogStorage) -> int:
    """Stores an event until nothing is left to interrupt; returns how often it was."""
    interrupts = 0
    while True:
        sys.settrace(interrupt_at(interrupts))
        try:
            kept.store_event(made(interrupts))
        except KeyboardInterrupt:
            sys.settrace(None)
            kept.store_event(plain(1000 + interrupts))
            kept.store_event(made(2000 + interrupts))
            interrupts += 1
        else:
            return interrupts
        finally:
            sys.settrace(None)


def main(folder: str) -> None:
    """Prints how often it was interrupted, and what its run's log and its index have then."""
    kept = KeptSqliteEventLogStorage(folder)
    kept.store_event_batch([plain(0), made(0)])
    interrupts = interrupt_everywhere(kept)
    stored = kept.get_logs_for_run(RUN)
    found = kept.fetch_materializations(KEY, limit=5000).records
    in_index = [record.event_log_entry for record in found]
    counted = [Counter(event.user_message for event in events) for events in (stored, in_index)]
    json.dump([interrupts, *counted], sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
