"""One client's conversation: what it asked for, and what it is to be sent now (spec 4)."""

import json
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from aether_dagster.protocol.closing import (
    BAD_MESSAGE,
    FINALIZED,
    TOO_MANY_MESSAGES,
    Close,
)
from aether_dagster.protocol.hub import Hub
from aether_dagster.protocol.messages import Message, Timestamps, heartbeat, snapshot, update
from aether_dagster.protocol.subscription import EVERYTHING, Subscription
from aether_dagster.state.mask import Path

HEARTBEAT_SECONDS = 5.0
# Messages which a client may send at once, and a second.
_BURST = 20.0
_MESSAGES_A_SECOND = 2.0


@dataclass(frozen=True)
class Wanted:
    """What a client asks for.

    Args:
        subscription: Which paths.
        since: The cursor it comes back with, in Unix seconds; None asks for the present values.
    """

    subscription: Subscription = EVERYTHING
    since: float | None = None


class Session:
    """One client's conversation, without its connection.

    Whoever has the connection calls `frame` when the client can take one: when the hub is due, when
    the client's buffer became empty, and after `receive`.

    Args:
        wanted: What the URL asks for.
        heartbeats: The client offered a subprotocol of state.
        extended: It offered the extension `+seq`.
        follows: It stays when the document it follows is final: another may come.
        now: The present moment.
    """

    def __init__(
        self,
        wanted: Wanted,
        *,
        heartbeats: bool = False,
        extended: bool = False,
        follows: bool = False,
        now: float,
    ):
        self.wanted = wanted
        self._hub: Hub | None = None
        self._owes: Literal["nothing", "present", "since", "another"] = "nothing"
        self._seen = 0
        self._heartbeats = heartbeats
        self._extended = extended
        self._follows = follows
        self._timestamps = Timestamps()
        self._last_sent = now
        self._allowance, self._refilled = _BURST, now

    def attach(self, hub: Hub) -> None:
        """Begins with a document, or goes over to another one."""
        if self._hub is not None:
            self._owes = "another"
        else:
            self._owes = "present" if self.wanted.since is None else "since"
        self._hub, self._seen = hub, 0

    def receive(self, text: str | bytes, now: float) -> Close | None:
        """Takes a message of the client; returns how to close where it may not say that."""
        elapsed, self._refilled = now - self._refilled, now
        self._allowance = min(_BURST, self._allowance + elapsed * _MESSAGES_A_SECOND) - 1
        if self._allowance < 0:
            return TOO_MANY_MESSAGES
        try:
            wanted = read_subscribe(text)
        except (ValueError, RecursionError) as error:
            return Close(BAD_MESSAGE, str(error))
        self.wanted = wanted
        if self._owes in ("nothing", "since"):
            # Else it has no state yet which could be brought up to date.
            self._owes = "present" if wanted.since is None else "since"
        return None

    def frame(self, now: float) -> str | None:
        """Returns what the client is to be sent now, or None; it counts as sent."""
        hub = self._hub
        if hub is None:
            return None
        text = self._pending(hub) if self._owes == "nothing" else self._first(hub)
        self._seen = hub.sequence
        if text is not None:
            self._last_sent = now
        return text

    def heartbeat(self, now: float) -> str | None:
        """Returns a heartbeat where the client wants them and nothing was sent for long."""
        if not self._heartbeats or self._hub is None or self._owes != "nothing":
            return None
        if now - self._last_sent < HEARTBEAT_SECONDS:
            return None
        self._last_sent = now
        at = self._timestamps.next(self._hub.committed_at)
        return self._text(self._hub, ("heartbeat",), at, lambda: heartbeat(at))

    @property
    def complete(self) -> bool:
        """Whether nothing is pending."""
        hub = self._hub
        return hub is None or (self._owes == "nothing" and self._seen == hub.sequence)

    def closing(self) -> Close | None:
        """Returns how to close once the client's buffer is empty: it has the final state."""
        hub = self._hub
        done = hub is not None and hub.final and self.complete
        return FINALIZED if done and not self._follows else None

    def _pending(self, hub: Hub) -> str | None:
        """What changed; the one thing which is done for every client and frame."""
        subscription = self.wanted.subscription
        paths = hub.pending(self._seen, subscription)
        if not paths:
            return None
        at = self._timestamps.next(hub.committed_at)
        text = hub.texts.get((self._seen, subscription, at, self._extended))
        if text is None:
            key = (self._seen, subscription)
            text = self._text(hub, key, at, lambda: update(hub.document, paths, at))
        return text

    def _first(self, hub: Hub) -> str | None:
        wanted = self.wanted
        owes, self._owes = self._owes, "nothing"
        if owes == "since" and wanted.since is not None and not self._follows:
            paths = hub.since(wanted.since, wanted.subscription)
            if paths is not None:
                return self._filled(hub, paths, ("since", wanted.since)) if paths else None
        if wanted.subscription.patterns is None:
            at = self._timestamps.next(hub.committed_at)
            document, started = hub.document, hub.started
            return self._text(hub, ("snapshot",), at, lambda: snapshot(document, at, started))
        paths = wanted.subscription.concrete(hub.document)
        if owes == "another":
            return self._replace(hub, paths)
        if self._seen:
            # What it was sent before may have had keys which are gone.
            paths = list({*paths, *hub.pending(self._seen, wanted.subscription)})
        return self._filled(hub, paths, ("present", self._seen)) if paths else None

    def _replace(self, hub: Hub, paths: list[Path]) -> str:
        """Says all which the client wants of another document; nothing of the last one stays."""
        at = self._timestamps.next(hub.committed_at)

        def message() -> Message:
            whole = snapshot(hub.document, at, hub.started)["payload"]
            members = sorted(filter(self.wanted.subscription.touches, hub.document))
            return {**update(whole, paths, at), "update_mask": members}

        return self._text(hub, ("another", self.wanted.subscription), at, message)

    def _filled(self, hub: Hub, paths: list[Path], key: tuple[Hashable, ...]) -> str:
        """An update in which executing nodes have the time so far, as in a snapshot."""
        at = self._timestamps.next(hub.committed_at)

        def message() -> Message:
            return update(snapshot(hub.document, at, hub.started)["payload"], paths, at)

        return self._text(hub, (*key, self.wanted.subscription), at, message)

    def _text(
        self, hub: Hub, key: tuple[Hashable, ...], at: float, message: Callable[[], Message]
    ) -> str:
        def whole() -> Mapping[str, Any]:
            if not self._extended:
                return message()
            return {**message(), "version": hub.version, "execution": hub.execution}

        return hub.text((*key, at, self._extended), whole)


def read_subscribe(text: str | bytes) -> Wanted:
    """Reads `{"subscribe": {"mask": [...], "since": T}}`; raises ValueError for anything else."""
    message: Any = json.loads(text)
    if not isinstance(message, dict) or set(cast(dict[str, Any], message)) != {"subscribe"}:
        raise ValueError('A client may send {"subscribe": {...}} and nothing else.')
    body: Any = cast(dict[str, Any], message)["subscribe"]
    if not isinstance(body, dict) or not set(cast(dict[str, Any], body)) <= {"mask", "since"}:
        raise ValueError("subscribe is an object with the members mask and since.")
    members = cast(dict[str, Any], body)
    mask: Any = members.get("mask", ["*"])
    since: Any = members.get("since")
    if not isinstance(mask, list) or not all(
        isinstance(path, str) for path in cast(list[Any], mask)
    ):
        raise ValueError("mask is a list of paths.")
    subscription = Subscription.parse(cast(list[str], mask))
    return Wanted(subscription, None if since is None else read_since(since))


def read_since(value: Any) -> float:
    """Reads a cursor; raises ValueError where it is no timestamp."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise ValueError("since is a number: the timestamp of a frame.")
    return float(value)
