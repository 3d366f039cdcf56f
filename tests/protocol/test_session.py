import json

import pytest

from aether_dagster.protocol import Hub, Pace, Session, Wanted, encode
from aether_dagster.protocol.session import HEARTBEAT_SECONDS
from tests.protocol.conversation import EPOCH, MEMBERS, Server

DOCUMENT = {
    "pipeline": {"id": "p"},
    "nodes": {"a": {"status": "executing", "execution_time": 0.0}},
    "context": {"artifacts": {"x": "/1"}},
}


def server() -> Server:
    made = Server()
    made.change(DOCUMENT, ("nodes", "a", "status"))
    made.settle()
    return made


def say(**subscribe: object) -> str:
    return json.dumps({"subscribe": subscribe})


def session(hub: Hub, **options: bool) -> Session:
    made = Session(Wanted(), now=0.0, **options)
    made.attach(hub)
    return made


def test_the_first_frame_is_a_snapshot_of_four_members() -> None:
    peer = server().connect()
    assert list(peer.frames[0]) == MEMBERS
    assert peer.frames[0]["update_mask"] == ["*"]
    assert peer.state == DOCUMENT


def test_a_mask_in_the_url_spares_the_whole_snapshot() -> None:
    peer = server().connect(["nodes.*.status", "context.artifacts"])
    assert peer.frames[0]["update_mask"] == ["context.artifacts", "nodes.a.status"]
    assert peer.state == {
        "context": {"artifacts": {"x": "/1"}},
        "nodes": {"a": {"status": "executing"}},
    }


def test_a_mask_which_matches_nothing_gives_nothing() -> None:
    assert server().connect(["nodes.b.status"]).frames == []


@pytest.mark.parametrize("message", ['{"subscribe": {}}', '{"subscribe": {"mask": ["*"]}}'])
def test_a_resync_is_answered_by_a_snapshot(message: str) -> None:
    made = server()
    peer = made.connect()
    assert peer.session.receive(message, made.now) is None
    made.send(peer)
    assert [frame["update_mask"] for frame in peer.frames] == [["*"], ["*"]]


def test_who_comes_back_gets_one_merged_update() -> None:
    made = server()
    first = made.connect()
    made.pass_time(10)
    changed = {**DOCUMENT, "context": {"artifacts": {}}}
    made.change(changed, ("context", "artifacts", "x"))
    made.change(changed, ("nodes", "a", "error"))
    again = made.connect(since=first.frames[-1]["timestamp"], state=first.state)
    assert len(again.frames) == 1
    assert set(again.frames[0]["update_mask"]) >= {"context.artifacts.x", "nodes.a.error"}
    assert again.state == changed


@pytest.mark.parametrize(
    "message",
    [
        "",
        "nonsense",
        "[]",
        "1",
        "null",
        "[" * 100_000,
        '{"subscribe": 1}',
        '{"subscribe": {"mask": "nodes"}}',
        '{"subscribe": {"mask": [1]}}',
        '{"subscribe": {"mask": ["a..b"]}}',
        '{"subscribe": {"since": "yesterday"}}',
        '{"subscribe": {"since": true}}',
        '{"subscribe": {"since": NaN}}',
        '{"subscribe": {"since": -1}}',
        '{"subscribe": {"since": 1e300}}',
        '{"subscribe": {"unknown": 1}}',
        '{"subscribe": {}, "more": 1}',
        '{"set": {"nodes.a.status": "succeeded"}}',
        b"\xff\xfe",
    ],
)
def test_anything_else_which_a_client_says_ends_the_connection(message: str | bytes) -> None:
    made = server()
    peer = made.connect()
    close = peer.session.receive(message, made.now)
    assert close is not None
    assert close.code == 4400
    assert len(close.reason.encode()) <= 123


def test_a_client_which_asks_without_end_is_sent_away() -> None:
    made = server()
    peer = made.connect()
    answers = [peer.session.receive(say(), made.now) for _ in range(30)]
    assert answers[0] is None
    assert answers[-1] is not None
    assert answers[-1].code == 4429


def test_elapsed_time_is_of_the_frame_and_only_in_what_is_whole() -> None:
    hub = Hub("p", encode, Pace(), since=float("-inf"))
    hub.started = {"a": EPOCH}
    hub.commit(lambda: DOCUMENT, [], version=1, committed_at=EPOCH + 0.87, now=0)
    frame = json.loads(session(hub).frame(0.0) or "")
    assert frame["payload"]["nodes"]["a"]["execution_time"] == 0.87
    assert DOCUMENT["nodes"]["a"]["execution_time"] == 0.0


def test_heartbeats_are_for_those_who_offered_the_subprotocol() -> None:
    hub = server().hub
    plain, speaking = session(hub), session(hub, heartbeats=True)
    for each in (plain, speaking):
        each.frame(0.0)
    assert plain.heartbeat(1000.0) is None
    assert speaking.heartbeat(HEARTBEAT_SECONDS - 0.1) is None
    beat = json.loads(speaking.heartbeat(HEARTBEAT_SECONDS) or "")
    assert list(beat) == MEMBERS
    assert (beat["event_type"], beat["update_mask"], beat["payload"]) == ("heartbeat", [], {})
    assert speaking.heartbeat(HEARTBEAT_SECONDS + 1) is None


def test_the_extension_has_version_and_execution_behind_the_four() -> None:
    frame = json.loads(session(server().hub, extended=True).frame(0.0) or "")
    assert list(frame) == [*MEMBERS, "version", "execution"]
    assert (frame["version"], frame["execution"]) == (1, "pipeline_01H3XYZ9")


def test_after_the_end_an_execution_closes_and_the_latest_does_not() -> None:
    made = server()
    one, latest = made.connect(), session(made.hub, follows=True)
    latest.frame(0.0)
    assert one.session.closing() is None
    made.hub.commit(lambda: DOCUMENT, [], version=2, committed_at=EPOCH, now=made.now, final=True)
    assert one.session.closing() is None, "it has not seen the end"
    made.settle()
    latest.frame(0.0)
    close = one.session.closing()
    assert close is not None
    assert (close.code, close.reason) == (1000, "finalized")
    assert latest.closing() is None


def test_a_newer_execution_replaces_all_that_a_masked_client_had() -> None:
    made = server()
    peer = made.connect(["nodes.*.status", "context.artifacts"])
    other = Hub("q", encode, Pace(), since=float("-inf"))
    newer = {"pipeline": {"id": "q"}, "nodes": {"b": {"status": "pending"}}, "context": {}}
    other.commit(lambda: newer, [], version=1, committed_at=EPOCH + 5, now=0)
    peer.session.attach(other)
    made.send(peer)
    assert peer.state == {"nodes": {"b": {"status": "pending"}}}


def test_timestamps_increase_where_the_clock_did_not() -> None:
    made = server()
    peer = made.connect()
    for _ in range(3):
        made.change(DOCUMENT, ("nodes", "a", "status"))
        made.hub.flush(made.now)
        made.send(peer)
    stamps = [frame["timestamp"] for frame in peer.frames]
    assert stamps == sorted(set(stamps))
    assert stamps[-1] - stamps[1] < 0.01


def test_a_key_which_went_while_a_frame_was_on_its_way_is_gone_in_the_answer() -> None:
    made = server()
    peer = made.connect(["context.artifacts"])
    peer.reading = False
    made.change(DOCUMENT, ("context", "artifacts", "x"))
    made.settle()
    made.change({**DOCUMENT, "context": {"artifacts": {}}}, ("context", "artifacts", "x"))
    peer.session.receive(say(mask=["context.artifacts.x", "nodes.a.status"]), made.now)
    peer.reading = True
    peer.read()
    made.send(peer)
    assert peer.state["context"]["artifacts"] == {}


def test_who_was_not_yet_sent_anything_gets_a_snapshot_whatever_it_says() -> None:
    made = server()
    peer = made.connect()
    waiting = Session(Wanted(), now=made.now)
    waiting.attach(made.hub)
    assert waiting.receive(say(since=peer.frames[-1]["timestamp"]), made.now) is None
    frame = json.loads(waiting.frame(made.now) or "")
    assert frame["update_mask"] == ["*"]
