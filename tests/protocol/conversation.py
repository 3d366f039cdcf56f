"""A server and clients without a network: a hub, its sessions, and a clock which tests turn."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aether_dagster.protocol import Hub, Margin, Pace, Session, Subscription, Wanted, encode
from aether_dagster.state import Delta, Replica, apply
from aether_dagster.state.mask import Path

EPOCH = 1689876543.0
MEMBERS = ["event_type", "update_mask", "timestamp", "payload"]


class Peer:
    """A client: it folds what it is sent, and may be slow.

    A frame which it was sent and has not read is `unread`; nothing more is sent meanwhile.
    """

    def __init__(self, session: Session):
        self.session = session
        self.state: dict[str, Any] = {}
        self.frames: list[dict[str, Any]] = []
        self.cursor: float | None = None
        self.reading = True
        self.unread: str | None = None
        self._outdated = False

    def forget(self) -> None:
        """It subscribed anew: what it had, and what is on its way, answer another question."""
        self.state = {}
        self.cursor = None
        self._outdated = self.unread is not None

    def read(self) -> None:
        if self.unread is not None:
            frame = json.loads(self.unread)
            self.unread = None
            assert list(frame) == MEMBERS
            assert not self.frames or frame["timestamp"] > self.frames[-1]["timestamp"]
            self.frames.append(frame)
            if not self._outdated:
                self.cursor = frame["timestamp"]
            self._outdated = False
            self.state = apply(self.state, frame["update_mask"], frame["payload"])


class Server:
    """A hub with its clients, and the state of one execution, of which a journal keeps deltas."""

    def __init__(self, rate: float = 4.0):
        self.now = 0.0
        self.rate = rate
        self.peers: list[Peer] = []
        self.versions: list[tuple[float, Delta]] = []
        self.replica = Replica()
        self.hub = self._hub(float("-inf"))
        self.hub.commit(self.replica.document, (), version=0, committed_at=EPOCH, now=0)

    def restart(self, remembered: int) -> None:
        """A new process: it knows what changed in the newest versions only."""
        base = max(0, len(self.versions) - remembered)
        self.replica = Replica()
        for _, delta in self.versions[:base]:
            self.replica.apply(delta)
        self.hub = self._hub(self.versions[base - 1][0] if base else float("-inf"))
        self.hub.commit(
            self.replica.document,
            (),
            version=base,
            committed_at=max(EPOCH, self.hub.committed_at),
            now=0,
        )
        for number, (at, delta) in enumerate(self.versions[base:], start=base + 1):
            self._fold(number, at, delta)
        self.peers.clear()

    def commit(self, *deltas: Delta, final: bool = False) -> None:
        for delta in deltas:
            self.versions.append((EPOCH + self.now, delta))
            self._fold(len(self.versions), EPOCH + self.now, delta, final=final)

    def change(self, document: Mapping[str, Any], *paths: Path) -> None:
        """A change of a document which no replica stands behind."""
        self.hub.commit(
            lambda: document, paths, version=1, committed_at=EPOCH + self.now, now=self.now
        )

    def connect(
        self,
        mask: Sequence[str] = ("*",),
        since: float | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> Peer:
        peer = Peer(Session(Wanted(Subscription.parse(mask), since), now=self.now))
        peer.state = dict(state or {})
        peer.session.attach(self.hub)
        self.peers.append(peer)
        self.send(peer)
        return peer

    def send(self, peer: Peer) -> None:
        """What a connection does whenever its client can take a frame."""
        if peer.unread is None:
            peer.unread = peer.session.frame(self.now)
        if peer.reading:
            peer.read()
            again = peer.session.frame(self.now)
            assert again is None, "a frame leaves nothing pending"

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.hub.due()) is not None and due <= until:
            self.now = max(self.now, due)
            self.hub.flush(self.now)
            for peer in self.peers:
                self.send(peer)
        self.now = until

    def settle(self) -> None:
        while self.hub.due() is not None:
            self.pass_time(1.0)

    def _hub(self, since: float) -> Hub:
        return Hub("pipeline_01H3XYZ9", encode, Pace(self.rate, Margin()), since=since)

    def _fold(self, number: int, at: float, delta: Delta, *, final: bool = False) -> None:
        paths = self.replica.apply(delta)
        self.hub.commit(
            self.replica.document, paths, version=number, committed_at=at, now=self.now, final=final
        )
