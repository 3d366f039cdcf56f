"""The ledger of the hooks which an execution asks, written with what it commits (spec 5)."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from aether_dagster.journal.outbox import CallEnd, Outbox


class CallLedger:
    """Notes calls of hooks in the journal.

    That one begins is noted at once, for a hook may end the process. How it ended is noted with
    whatever is written next: the next call, or the change which the hook was asked about.

    Args:
        outbox: The journal's.
    """

    def __init__(self, outbox: Outbox):
        self._outbox = outbox
        self._lock = threading.Lock()
        self._pending: list[CallEnd] = []

    def begin_call(
        self,
        pipeline_id: str,
        *,
        event: str,
        hook: str,
        plugin: str,
        node: str | None = None,
        delivery: str | None = None,
    ) -> int:
        """Notes that a hook is being called; returns the call's number."""
        ended = self.pending()
        call = self._outbox.begin_call(
            pipeline_id,
            event=event,
            hook=hook,
            plugin=plugin,
            node=node,
            delivery=delivery,
            ended=ended,
        )
        self.written(ended)
        return call

    def end_call(
        self,
        call: int,
        outcome: str,
        milliseconds: float,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Takes what a call came to."""
        with self._lock:
            self._pending.append(CallEnd(call, outcome, milliseconds, detail))

    def pending(self) -> list[CallEnd]:
        """Returns what is to be noted; to note it twice does no harm."""
        with self._lock:
            return list(self._pending)

    def written(self, ended: Sequence[CallEnd]) -> None:
        """Takes that these are noted."""
        if ended:
            done = {each.call for each in ended}
            with self._lock:
                self._pending = [each for each in self._pending if each.call not in done]

    def flush(self) -> None:
        """Notes what is to be noted."""
        ended = self.pending()
        if ended:
            self._outbox.end_calls(ended)
            self.written(ended)
