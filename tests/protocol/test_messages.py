import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.protocol import Frames, encode
from aether_dagster.state import Authority, Delta, NodeDelta, Outcome, Replica, apply

MEMBERS = ["event_type", "update_mask", "timestamp", "payload"]


def initialized(*names: str) -> Replica:
    replica = Replica()
    replica.apply(
        Delta(
            "init",
            Authority.RUN,
            clock=1,
            pipeline={
                "id": "pipeline_01H3XYZ9",
                "version": "1.0.0",
                "start_timestamp": 1689876543.212,
                "config_hash": "e3b0c44298fc1cd",
            },
            context={"environment_vars": {}, "secret_store": None, "active_plugins": []},
            nodes={
                name: NodeDelta(node_id=f"{name}_01H3XZAB", index=i) for i, name in enumerate(names)
            },
        )
    )
    return replica


def report(name: str, clock: int, outcome: Outcome, **more: Any) -> Delta:
    node = NodeDelta(outcome=outcome, **more)
    return Delta(f"{name}-{clock}", Authority.STEP, clock=clock, nodes={name: node})


def test_a_frame_has_exactly_the_four_members_in_their_order() -> None:
    replica = initialized("extract")
    frames = Frames()
    first = frames.snapshot(replica.document(), committed_at=1689876543.215, started={})
    paths = replica.apply(report("extract", 2, Outcome(1, "executing")))
    second = frames.update(replica.document(), paths, committed_at=1689876543.3)

    assert second is not None
    assert list(first) == list(second) == MEMBERS
    assert list(json.loads(encode(second))) == MEMBERS
    assert first["update_mask"] == ["*"]
    assert first["timestamp"] == 1689876543.215
    assert encode(second) == (
        '{"event_type":"state_update","update_mask":["nodes.extract.status"],'
        '"timestamp":1689876543.3,"payload":{"nodes":{"extract":{"status":"executing"}}}}'
    )


def test_a_mask_names_only_what_changed_sorted_and_quoted_where_needed() -> None:
    replica = initialized("extract")
    paths = replica.apply(
        Delta("a", Authority.STEP, clock=2, artifacts={"raw.data": "/tmp/x", "b": "/b", "a": "/a"})
    )
    frame = Frames().update(replica.document(), paths, committed_at=1.0)

    assert frame is not None
    assert frame["update_mask"] == [
        "context.artifacts.`raw.data`",
        "context.artifacts.a",
        "context.artifacts.b",
    ]


def test_a_removed_artifact_is_in_the_mask_and_not_in_the_payload() -> None:
    replica = initialized("extract")
    replica.apply(Delta("a", Authority.STEP, clock=2, artifacts={"raw": "/tmp/x"}))
    paths = replica.apply(Delta("b", Authority.STEP, clock=3, artifacts={"raw": None}))
    frame = Frames().update(replica.document(), paths, committed_at=1.0)

    assert frame is not None
    assert (frame["update_mask"], frame["payload"]) == (["context.artifacts.raw"], {})


def test_there_is_no_frame_where_nothing_changed() -> None:
    assert Frames().update(initialized("a").document(), [], committed_at=1.0) is None


@given(st.lists(st.floats(min_value=1e9, max_value=2e9), min_size=2, max_size=30))
def test_timestamps_strictly_increase_by_whole_milliseconds_whatever_the_clock_does(
    times: list[float],
) -> None:
    frames = Frames()
    document = initialized("a").document()
    path = ("nodes", "a", "status")
    stamps = [frames.snapshot(document, committed_at=times[0], started={})["timestamp"]]
    for committed_at in times[1:]:
        frame = frames.update(document, [path], committed_at=committed_at)
        assert frame is not None
        stamps.append(frame["timestamp"])

    assert all(a < b for a, b in itertools.pairwise(stamps))
    assert stamps == [round(stamp, 3) for stamp in stamps]
    assert all(stamp >= round(time, 3) for stamp, time in zip(stamps, times, strict=True))


def test_a_snapshot_fills_in_what_has_elapsed_and_an_update_never_does() -> None:
    replica = initialized("slow", "done")
    replica.apply(report("done", 2, Outcome(1, "succeeded", execution_time=0.5)))
    paths = replica.apply(report("slow", 3, Outcome(1, "executing")))
    document = replica.document()
    frames = Frames()
    snapshot = frames.snapshot(document, committed_at=100.87, started={"slow": 100.0, "done": 99.0})
    update = frames.update(document, paths, committed_at=103.0)

    nodes = snapshot["payload"]["nodes"]
    assert nodes["slow"]["execution_time"] == 0.87
    assert nodes["done"]["execution_time"] == 0.5
    assert list(nodes["slow"]) == list(nodes["done"])
    assert update is not None
    assert "nodes.slow.execution_time" not in update["update_mask"]
    assert document["nodes"]["slow"]["execution_time"] == 0.0, "the state itself is not touched"


def test_a_client_which_only_replaces_at_path_ends_with_the_state() -> None:
    replica = initialized("a", "b")
    frames = Frames()
    client = apply(
        {}, ["*"], frames.snapshot(replica.document(), committed_at=1, started={})["payload"]
    )
    failure = {"type": "ValueError", "message": "no", "attempt": 1, "traceback": ""}
    for delta in (
        report("a", 2, Outcome(1, "executing"), input_payload={"x": 1}, has_input=True),
        report("a", 3, Outcome(1, "retrying", error=failure, execution_time=0.1)),
        report("a", 4, Outcome(2, "executing"), input_payload={"x": 1}, has_input=True),
        report("a", 5, Outcome(2, "succeeded", output_payload=[1], execution_time=0.2)),
        Delta("x", Authority.STEP, clock=6, artifacts={"raw": "/tmp"}),
        report("b", 7, Outcome(0, "pending", error={"type": "Cancelled"})),
    ):
        paths = replica.apply(delta)
        frame = frames.update(replica.document(), paths, committed_at=float(delta.clock or 0))
        assert frame is not None
        sent = json.loads(encode(frame))
        client = apply(client, sent["update_mask"], sent["payload"])

    assert client == replica.document()


def test_what_json_cannot_carry_is_refused_rather_than_sent() -> None:
    frame = Frames().snapshot({"nodes": {}, "x": float("nan")}, committed_at=1.0, started={})
    with pytest.raises(ValueError, match="JSON compliant"):
        encode(frame)
