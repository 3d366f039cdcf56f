"""The journal's numbers for `/metrics`, read at most every few seconds, whoever asks how often."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from aether_dagster.errors import JournalError
from aether_dagster.journal import Figures
from aether_dagster.sidecar.source import Source

# Who counts a hundred thousand executions has the answer for so long, in seconds.
_FRESH_SECONDS = 5.0
# A scrape is answered without them rather than late.
_PATIENCE_SECONDS = 2.0


class FiguresReader:
    """Reads a source's numbers outside the event loop.

    Args:
        source: What is counted.
        read: Calls a function outside the event loop.
    """

    def __init__(self, source: Source, read: Callable[[Callable[[], Figures]], Awaitable[Figures]]):
        self._source = source
        self._read = read
        self._known: Figures | None = None
        self._known_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def recent(self) -> Figures | None:
        """Returns the numbers of just now, else those which were read last; None without any."""
        if time.monotonic() - self._known_at >= _FRESH_SECONDS:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.ensure_future(self._refresh())
            await asyncio.wait({self._reading}, timeout=_PATIENCE_SECONDS)
        return self._known

    async def _refresh(self) -> None:
        try:
            self._known = await self._read(self._source.figures)
            self._known_at = time.monotonic()
        except JournalError:
            self._known = None
