"""The hub of one document: what changed since when, and when it is due (spec 4, "Sidecar").

Conflation instead of queues: every path has the sequence number of its last change, every client
one number, and the values are those of the moment at which a frame is made. What a client has not
read costs nothing, however many changes it misses. Clients at the same point share one encoding.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from aether_dagster.protocol.messages import Message
from aether_dagster.protocol.pace import GATHER, Pace
from aether_dagster.protocol.subscription import Subscription
from aether_dagster.state.mask import Path

# A cursor is a timestamp, which is a little later or earlier than what it stands for.
_OVERLAP = 1.0

Encode = Callable[[Mapping[str, Any]], str]


class Hub:
    """The changes of one document, for any number of sessions.

    Moments (`now`) are seconds of a clock which only goes forward; `committed_at` are Unix seconds.

    Args:
        execution: The pipeline id which `+seq` messages name; None for the list.
        encode: Makes text of a message.
        pace: When frames are due.
        since: All changes committed after this are given to `commit`; a client which was away
            for longer gets a snapshot.

    Attributes:
        texts: What was made by `text` since the last change.
    """

    def __init__(self, execution: str | None, encode: Encode, pace: Pace, *, since: float):
        self.execution = execution
        self.sequence = 0
        self.version = 0
        self.committed_at = since
        self.final = False
        self.started: Mapping[str, float] = {}
        self._encode = encode
        self._pace = pace
        self._since = since
        self._read: Callable[[], Mapping[str, Any]] = dict
        self._document: Mapping[str, Any] | None = None
        self._changed: OrderedDict[Path, tuple[int, float]] = OrderedDict()
        self._held: dict[Path, float] = {}
        self._oldest: float | None = None
        self._oldest_held: float | None = None
        self._last_flush = self._last_release = float("-inf")
        self.texts: dict[Hashable, str] = {}
        self._pending: dict[tuple[int, Subscription], list[Path]] = {}

    @property
    def document(self) -> Mapping[str, Any]:
        """The document as it is now."""
        if self._document is None:
            self._document = self._read()
        return self._document

    def commit(
        self,
        read: Callable[[], Mapping[str, Any]],
        paths: Iterable[Path],
        *,
        version: int,
        committed_at: float,
        now: float,
        final: bool = False,
    ) -> None:
        """Takes in a change.

        Args:
            read: Gives the document after it, and until the next change.
            paths: The leaves which it changed.
            version: Its number in the journal.
            committed_at: When it was committed; not less than the one before.
            now: The moment at which it is taken in.
            final: Nothing comes after it.
        """
        self._read, self._document = read, None
        self.version, self.committed_at, self.final = version, committed_at, final
        self._advance()
        for path in paths:
            if self._pace.waiting and not final and can_wait(path):
                self._held[path] = committed_at
                self._oldest_held = now if self._oldest_held is None else self._oldest_held
            else:
                self._mark(path, committed_at)
                self._oldest = now if self._oldest is None else self._oldest
        if final:
            self._release()
            self._oldest = now if self._oldest is None else self._oldest

    def due(self) -> float | None:
        """Returns the moment at which `flush` is due; None while there is nothing to send."""
        moments: list[float] = []
        if self._oldest is not None:
            moments.append(max(self._oldest + GATHER, self._last_flush + self._pace.spacing))
        if self._oldest_held is not None:
            earliest = self._last_release + self._pace.waiting
            moments.append(max(self._oldest_held + GATHER, earliest))
        return min(moments) if moments else None

    def flush(self, now: float) -> None:
        """Says that every session which can take a frame is given one now."""
        if self._oldest_held is not None and now >= self._last_release + self._pace.waiting:
            self._release()
            self._last_release = now
        if self._oldest is not None:
            self._oldest, self._last_flush = None, now

    def pending(self, seen: int, subscription: Subscription) -> list[Path]:
        """Returns the paths which changed after a sequence number."""
        found = self._pending.get((seen, subscription))
        if found is not None:
            return found
        found = self._pending[seen, subscription] = []
        for path, (sequence, _) in reversed(self._changed.items()):
            if sequence <= seen:
                break
            if subscription.covers(path):
                found.append(path)
        return found

    def since(self, timestamp: float, subscription: Subscription) -> list[Path] | None:
        """Returns the paths which were committed at or after a cursor, less a second.

        None where that is not known: it is before all that this hub saw, or after all that there
        is, and so of another journal.
        """
        start = timestamp - _OVERLAP - self._pace.waiting
        if start <= self._since or timestamp > self.committed_at + _OVERLAP:
            return None
        found = {path for path, (_, at) in self._changed.items() if at >= start}
        found.update(self._held)
        return [path for path in found if subscription.covers(path)]

    def text(self, key: Hashable, message: Callable[[], Message | Mapping[str, Any]]) -> str:
        """Returns the text of a message; made once for all sessions which say the same key."""
        text = self.texts.get(key)
        if text is None:
            text = self.texts[key] = self._encode(message())
        return text

    def _advance(self) -> None:
        self.sequence += 1
        self.texts.clear()
        self._pending.clear()

    def _mark(self, path: Path, committed_at: float) -> None:
        self._held.pop(path, None)
        self._changed[path] = (self.sequence, committed_at)
        self._changed.move_to_end(path)

    def _release(self) -> None:
        held, self._held = self._held, {}
        if held:
            self._advance()
        for path, committed_at in held.items():
            self._mark(path, committed_at)
        self._oldest_held = None


def can_wait(path: Path) -> bool:
    """Tells whether a path may be slowed by a low rate: it is no part of an outcome."""
    return path[0] == "context" or (path[0] == "nodes" and path[-1] == "input_payload")
