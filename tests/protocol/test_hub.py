from typing import Any

import pytest

from aether_dagster.protocol import Hub, Pace, Subscription, encode
from aether_dagster.protocol.hub import can_wait
from aether_dagster.protocol.pace import BOUND, GATHER
from tests.protocol.conversation import EPOCH, Server

STATUS, OUTPUT = ("nodes", "a", "status"), ("nodes", "a", "output_payload")
INPUT, ARTIFACT = ("nodes", "a", "input_payload"), ("context", "artifacts", "x")
EVERYTHING = Subscription()


def document(**fields: Any) -> dict[str, Any]:
    return {"nodes": {"a": fields}, "context": {"artifacts": {}}}


def test_a_change_after_quiet_goes_out_after_the_gathering_pause() -> None:
    server = Server()
    peer = server.connect()
    server.pass_time(60)
    server.change(document(status="executing"), STATUS)
    server.pass_time(GATHER - 0.001)
    assert len(peer.frames) == 1
    server.pass_time(0.002)
    assert peer.frames[-1]["update_mask"] == ["nodes.a.status"]


def test_what_comes_within_the_gathering_pause_goes_out_together() -> None:
    server = Server()
    peer = server.connect()
    server.change(document(status="executing"), STATUS)
    server.pass_time(GATHER / 2)
    server.change(document(status="executing", output_payload=1), OUTPUT)
    server.pass_time(1)
    assert [frame["update_mask"] for frame in peer.frames[1:]] == [
        ["nodes.a.output_payload", "nodes.a.status"]
    ]


@pytest.mark.parametrize("rate", [0.1, 1.0, 4.0, 30.0])
@pytest.mark.parametrize("every", [0.0007, 0.013, 0.19, 0.21])
def test_no_outcome_is_later_than_the_bound_under_continuous_change(
    rate: float, every: float
) -> None:
    server = Server(rate)
    peer = server.connect()
    for number in range(int(3 / every)):
        server.change(document(output_payload=server.now), OUTPUT)
        server.pass_time(every)
        if number % 10 == 0:
            oldest_unseen = peer.frames[-1]["timestamp"] - EPOCH
            assert server.now - oldest_unseen < BOUND + every
    frames = len(peer.frames) - 1
    assert frames <= 3 / min(1 / rate, BOUND - 2 * GATHER) + 2


def test_in_silence_nothing_is_due() -> None:
    server = Server()
    server.change(document(status="executing"), STATUS)
    server.settle()
    assert server.hub.due() is None


def test_a_low_rate_slows_what_can_wait_and_never_an_outcome() -> None:
    server = Server(rate=0.5)
    peer = server.connect()
    server.change(document(input_payload={"n": 0}), INPUT)
    server.settle()
    server.change(document(input_payload={"n": 1}, status="failed"), INPUT, STATUS, ARTIFACT)
    server.pass_time(BOUND)
    assert peer.frames[-1]["update_mask"] == ["nodes.a.status"]
    server.pass_time(2.0)
    assert peer.frames[-1]["update_mask"] == ["context.artifacts.x", "nodes.a.input_payload"]
    assert peer.state["nodes"]["a"] == {"input_payload": {"n": 1}, "status": "failed"}


def test_at_the_default_rate_nothing_waits() -> None:
    server = Server()
    peer = server.connect()
    for _ in range(20):
        server.change(document(input_payload={}), INPUT, ARTIFACT)
        server.pass_time(0.01)
    server.pass_time(BOUND)
    assert len(peer.frames) > 1
    assert server.hub.due() is None


@pytest.mark.parametrize(
    ("path", "waits"),
    [
        (STATUS, False),
        (OUTPUT, False),
        (("nodes", "a", "error"), False),
        (("nodes", "a", "retry_count"), False),
        (("nodes", "a", "execution_time"), False),
        (("nodes", "context", "status"), False),
        (INPUT, True),
        (ARTIFACT, True),
        (("context", "secret_store"), True),
    ],
)
def test_only_inputs_and_context_can_wait(path: tuple[str, ...], waits: bool) -> None:
    assert can_wait(path) is waits


def test_the_end_lets_nothing_wait() -> None:
    server = Server(rate=0.1)
    peer = server.connect()
    server.hub.commit(document, [ARTIFACT], version=2, committed_at=EPOCH + 1, now=0.0, final=True)
    server.pass_time(BOUND)
    assert peer.frames[-1]["update_mask"] == ["context.artifacts.x"]
    assert peer.session.closing() is not None


def test_clients_at_the_same_point_share_one_encoding() -> None:
    made: list[Any] = []

    def counting(message: Any) -> str:
        made.append(message)
        return encode(message)

    server = Server()
    server.hub = Hub("p", counting, Pace(), since=float("-inf"))
    server.change(document(), STATUS)
    server.settle()
    peers = [server.connect() for _ in range(50)]
    made.clear()
    server.change(document(status="executing"), STATUS)
    server.pass_time(1)
    assert all(len(peer.frames) == 2 for peer in peers)
    assert len(made) == 1


def test_what_a_client_missed_costs_state_and_not_events() -> None:
    server = Server()
    peer = server.connect()
    peer.reading = False
    server.change(document(status="executing"), STATUS)
    server.pass_time(1)
    for number in range(5000):
        server.change(document(status="executing", output_payload=number), OUTPUT)
    peer.reading = True
    peer.read()
    server.send(peer)
    assert peer.frames[-1]["update_mask"] == ["nodes.a.output_payload"]
    assert len(peer.frames) == 3


def test_since_is_a_second_generous_and_a_snapshot_where_it_is_not_known() -> None:
    hub = Hub("p", encode, Pace(), since=EPOCH)
    hub.commit(document, [STATUS], version=1, committed_at=EPOCH + 10, now=0)
    hub.commit(document, [OUTPUT], version=2, committed_at=EPOCH + 20, now=0)
    assert hub.since(EPOCH + 20.9, EVERYTHING) == [OUTPUT]
    assert set(hub.since(EPOCH + 10.5, EVERYTHING) or ()) == {STATUS, OUTPUT}
    assert hub.since(EPOCH + 0.9, EVERYTHING) is None
    assert hub.since(EPOCH + 1.1, EVERYTHING) is not None
    assert hub.since(EPOCH + 22, EVERYTHING) is None, "a cursor of another journal"


def test_since_has_what_waits_and_what_waited() -> None:
    """A frame of outcomes may have a timestamp which is later than a change that still waits."""
    server = Server(rate=0.1)
    server.change(document(), INPUT)
    server.settle()
    server.pass_time(5)
    server.change(document(), ARTIFACT)
    server.pass_time(3)
    server.change(document(status="failed"), STATUS)
    server.pass_time(1)
    cursor = EPOCH + 8
    assert ARTIFACT in (server.hub.since(cursor, EVERYTHING) or ())
    server.pass_time(60)
    assert ARTIFACT in (server.hub.since(cursor, EVERYTHING) or ())
