import io
import json
import os

from aether_dagster.cli.display import JsonLines, PlainLines
from aether_dagster.manager.resumption import ResumePlan
from aether_dagster.state import Outcome, apply
from tests.cli.executions import PIPELINE_ID, Execution


def plain() -> list[str]:
    execution = Execution("extract", "load", "report")
    stream = io.StringIO()
    with PlainLines(stream, "nightly") as display:
        display.change(execution.initialize())
        display.change(execution.start("extract"))
        display.change(execution.fail("extract", status="retrying"))
        display.change(execution.start("extract", 2))
        display.change(execution.commit(artifacts={"raw": "/tmp/x"}))
        display.change(execution.succeed("extract", 2))
        display.change(execution.start("load"))
        display.change(execution.fail("load", message="no\nsecond line", seconds=75))
        display.change(execution.skip("report", "load"))
    return stream.getvalue().splitlines()


def test_plain_lines_tell_each_change_of_status_with_time_node_attempt_and_elapsed() -> None:
    assert plain() == [
        f"2023-07-20T18:09:03Z  started    nightly  {PIPELINE_ID}  3 steps",
        "2023-07-20T18:09:03Z  executing  extract  attempt 1",
        "2023-07-20T18:09:03Z  retrying   extract  attempt 1  0.10 s  ValueError: bad row 7",
        "2023-07-20T18:09:03Z  executing  extract  attempt 2",
        "2023-07-20T18:09:03Z  succeeded  extract  attempt 2  0.87 s",
        "2023-07-20T18:09:03Z  executing  load  attempt 1",
        "2023-07-20T18:09:04Z  failed     load  attempt 1  1 min 15 s  ValueError: no",
        "2023-07-20T18:09:04Z  pending    report  UpstreamFailed: load failed",
    ]


def test_what_a_resumed_run_reuses_is_told_once_and_without_an_attempt() -> None:
    execution = Execution("extract", "load")
    old = Outcome(1, "succeeded", output_payload=1)
    stream = io.StringIO()
    with PlainLines(stream, "nightly") as display:
        runs = {"extract": "succeeded, and was changed since", "load": "failed"}
        display.resuming(ResumePlan("pipeline_01H3XYZ8", runs, ("clean",), ("extract",)))
        display.change(execution.initialize(reused={"extract": old}))
        display.change(execution.start("load"))
    assert stream.getvalue().splitlines() == [
        "resuming  pipeline_01H3XYZ8  2 to run, 1 reused",
        "runs again  extract: succeeded, and was changed since",
        f"2023-07-20T18:09:03Z  started    nightly  {PIPELINE_ID}  2 steps",
        "2023-07-20T18:09:03Z  reused     extract",
        "2023-07-20T18:09:03Z  executing  load  attempt 1",
    ]


def test_a_message_cannot_drive_the_terminal() -> None:
    execution = Execution("extract")
    stream = io.StringIO()
    with PlainLines(stream, "nightly") as display:
        display.change(execution.initialize())
        display.change(execution.fail("extract", message="\x1b]0;owned\x07\x1b[2Jgone"))
    assert "\x1b" not in stream.getvalue()
    assert "owned" in stream.getvalue()


def test_json_lines_begin_with_a_snapshot_and_fold_to_the_state() -> None:
    execution = Execution("extract", "load")
    stream = io.StringIO()
    with JsonLines(stream) as display:
        display.change(execution.initialize())
        display.change(execution.start("extract"))
        display.change(execution.succeed("extract"))
        display.change(execution.commit(report={"status": "succeeded"}))
        display.change(execution.commit(artifacts={"raw": "/tmp/ü"}))
    frames = [json.loads(line) for line in stream.getvalue().splitlines()]

    assert len(frames) == 4, "a version which leaves the document alone has no frame"
    assert frames[0]["update_mask"] == ["*"]
    assert [list(frame) for frame in frames] == [
        ["event_type", "update_mask", "timestamp", "payload"]
    ] * 4
    state: dict[str, object] = {}
    for frame in frames:
        state = apply(state, frame["update_mask"], frame["payload"])
    assert state == execution.replica.document()


def test_a_reader_which_goes_away_does_not_end_the_run() -> None:
    for make in (JsonLines, lambda stream: PlainLines(stream, "nightly")):
        reading, writing = os.pipe()
        os.close(reading)
        execution = Execution("extract")
        with os.fdopen(writing, "w") as stream, make(stream) as display:
            display.change(execution.initialize())
            display.change(execution.start("extract"))
            display.change(execution.succeed("extract"))
