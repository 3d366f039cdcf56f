"""The law of the protocol: what a client folds is the server's state, whatever happened to it."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aether_dagster.protocol import Subscription
from aether_dagster.state import apply
from aether_dagster.state.mask import changes, select
from tests.protocol.conversation import Peer, Server
from tests.state.strategies import DECLARED, deltas

MASKS: list[list[str]] = [
    ["*"],
    ["nodes.*.status"],
    ["nodes.a"],
    ["context.artifacts"],
    ["context.artifacts.x", "nodes.b.output_payload", "pipeline.*"],
    ["nodes.nobody.status"],
]
THINGS = st.one_of(
    st.tuples(st.just("commit"), deltas()),
    st.tuples(st.just("commit"), deltas()),
    st.tuples(st.just("pass"), st.sampled_from([0.001, 0.05, 0.3, 3.0, 20.0])),
    st.tuples(st.just("connect"), st.sampled_from(MASKS)),
    st.tuples(st.just("subscribe"), st.sampled_from(MASKS)),
    st.tuples(st.just("stop reading"), st.none()),
    st.tuples(st.just("read"), st.none()),
    st.tuples(st.just("die"), st.none()),
    st.tuples(st.just("die and return"), st.none()),
    st.tuples(st.just("restart"), st.sampled_from([0, 2, 100])),
)


class World:
    """A server, its clients and what they want; `pick` chooses whom something happens to."""

    def __init__(self, rate: float):
        self.server = Server(rate)
        self.server.commit(*DECLARED)
        self.masks: dict[Peer, list[str]] = {}
        self.connect(["*"])

    def connect(self, mask: list[str]) -> None:
        self.masks[self.server.connect(mask)] = mask

    def happen(self, what: str, value: Any, peer: Peer) -> None:
        if what == "commit":
            self.server.commit(value)
        elif what == "pass":
            self.server.pass_time(value)
        elif what == "connect":
            self.connect(value)
        elif what == "subscribe":
            text = '{"subscribe": {"mask": %s}}' % str(value).replace("'", '"')  # noqa: UP031
            assert peer.session.receive(text, self.server.now) is None
            self.masks[peer] = value
            peer.forget()
            self.server.send(peer)
        elif what == "stop reading":
            peer.reading = False
        elif what == "read":
            peer.reading = True
            peer.read()
            self.server.send(peer)
        elif what == "die":
            self.go(peer)
        elif what == "die and return":
            self.come_back(peer)
        else:
            self.server.restart(value)
            for each in list(self.masks):
                self.come_back(each)

    def go(self, peer: Peer) -> list[str]:
        if peer in self.server.peers:
            self.server.peers.remove(peer)
        return self.masks.pop(peer)

    def come_back(self, peer: Peer) -> None:
        """It has what it had read, and says the newest timestamp; else it begins anew."""
        mask = self.go(peer)
        state = None if peer.cursor is None else peer.state
        returned = self.server.connect(mask, peer.cursor, state)
        self.masks[returned] = mask

    def check(self) -> None:
        """Every client which reads has what the server has, at the paths which it wants."""
        document = without_elapsed(self.server.replica.document())
        for peer, mask in self.masks.items():
            if peer.reading:
                wanted = Subscription.parse(mask)
                state = without_elapsed(peer.state)
                if mask == ["*"]:
                    assert not changes(state, document)
                assert leaves(state, wanted) == leaves(document, wanted), mask


def leaves(document: dict[str, Any], wanted: Subscription) -> list[str]:
    """What stands at the leaves which a subscription covers, as JSON: 1 is not true."""
    found = select(document, [path for path in changes({}, document) if wanted.covers(path)])
    empty = {"pipeline", "nodes", "context.artifacts", "context.environment_vars"}
    mask = [path for path in found[0] if path not in empty]
    return [*mask, json.dumps(apply({}, mask, found[1]), sort_keys=True)]


def without_elapsed(document: dict[str, Any]) -> dict[str, Any]:
    """A snapshot fills in the time of a node which executes; the stored one is 0."""
    nodes = {
        name: {**node, "execution_time": 0.0} if node.get("status") == "executing" else node
        for name, node in document.get("nodes", {}).items()
    }
    return {**document, "nodes": nodes} if nodes else document


@given(st.data(), st.sampled_from([0.2, 4.0, 20.0]))
@settings(max_examples=150, deadline=None)
def test_clients_slow_dying_and_returning_fold_to_the_servers_state(
    data: st.DataObject, rate: float
) -> None:
    world = World(rate)
    for what, value in data.draw(st.lists(THINGS, max_size=30)):
        if not world.masks:
            world.connect(["*"])
        peer = data.draw(st.sampled_from(list(world.masks)), label="whom")
        world.happen(what, value, peer)
        if world.server.hub.due() is None:
            world.check()
    for peer in world.masks:
        peer.reading = True
        peer.read()
        world.server.send(peer)
    world.server.settle()
    world.check()
