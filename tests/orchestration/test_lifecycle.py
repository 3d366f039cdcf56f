"""How pipelines end: each in a real process, and all of what it leaves behind (spec 1.3, 3, 7)."""

from collections.abc import Iterator

import pytest

from tests.runs import Driver, Left, check_clean, last_run, place, reconcile

WHOLE = """
    - id: once
      type: python/call
      args: {callable: "jobs:once", marker: once}
      retries: 2
      retry: {delay: 0.1}
    - {id: after-once, type: core/echo, args: {message: "${steps.once.output.ok}"}}
    - {id: boom, type: python/call, args: {callable: "jobs:boom"}, retries: 1, retry: {delay: 0}}
    - {id: below, type: core/echo, args: {message: "${steps.boom.output}"}}
    - {id: far-below, type: core/echo, args: {message: "${steps.below.output}"}}
    - {id: late, type: python/call, args: {callable: "jobs:family"}, timeout: 0.5}
    - {id: below-two, type: core/echo, args: {message: x}, dependsOn: [boom, late, once]}
    - id: unstorable
      type: python/call
      args: {callable: "jobs:unstorable"}
      retries: 1
      retry: {delay: 0}
    - {id: lost, type: core/echo, args: {message: lost}}
    - {id: lose, type: python/call, args: {callable: "jobs:lose", values: lost}, dependsOn: [lost]}
    - {id: unloadable, type: core/echo, args: {message: "${steps.lost.output}"}, dependsOn: [lose]}
    - {id: no-such-part, type: core/echo, args: {message: "${steps.big.output.rows[9999]}"}}
    - {id: big, type: python/call, args: {callable: "jobs:big"}}
    - {id: big-again, type: core/echo, args: {message: "${steps.big.output}"}}
    - {id: big-part, type: core/echo, args: {message: "${steps.big.output.rows[899].n}"}}
    - {id: frame, type: python/call, args: {callable: "jobs:frame"}}
    - {id: total, type: python/call, args: {callable: "jobs:total", table: "${steps.frame.output}"}}
    - {id: nothing, type: python/call, args: {callable: "jobs:same"}}
    - id: nested
      type: core/echo
      args:
        message:
          - ${steps.nothing.output}
          - {sum: "${steps.total.output.sum}"}
          - n=${steps.big-part.output}
    - {id: note, type: python/call, args: {callable: "jobs:note", name: one}}
    - id: note-in-child
      type: python/call
      args: {callable: "jobs:note", name: two}
      timeout: 60
      dependsOn: [note]
"""

FINE = """
    - {id: first, type: core/echo, args: {message: [1, 2.5, "drei", null, {four: true}]}}
    - {id: second, type: shell/run, args: {command: "echo out; echo err >&2"}, dependsOn: [first]}
    - id: third
      type: python/call
      args: {callable: "jobs:lengths", value: "${steps.first.output[2]}"}
"""

INTERRUPTED = {
    "shell": """
    - {id: done, type: core/echo, args: {message: x}}
    - id: runs
      type: shell/run
      args: {command: "sleep 300 & sleep 300"}
      retries: 2
      dependsOn: [done]
    - {id: next, type: core/echo, args: {message: x}, dependsOn: [runs]}
    - {id: last, type: core/echo, args: {message: x}, dependsOn: [next]}
""",
    "call": """
    - {id: runs, type: python/call, args: {callable: "jobs:nap"}}
    - {id: next, type: core/echo, args: {message: x}, dependsOn: [runs]}
""",
    "child": """
    - {id: runs, type: python/call, args: {callable: "jobs:family"}, timeout: 300, retries: 1}
    - {id: next, type: core/echo, args: {message: x}, dependsOn: [runs]}
""",
    "wait": """
    - {id: runs, type: python/call, args: {callable: "jobs:boom"}, retries: 2, retry: {delay: 300}}
    - {id: next, type: core/echo, args: {message: x}, dependsOn: [runs]}
""",
    "stubborn": """
    - {id: runs, type: python/call, args: {callable: "jobs:stubborn"}}
    - {id: next, type: core/echo, args: {message: x}, dependsOn: [runs]}
""",
}


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Driver]]:
    """All runs of this module, started together."""
    base = tmp_path_factory.mktemp("lifecycle")
    runs = place(base / "runs", whole=WHOLE, fine=FINE)
    orders = [{"pipeline": "whole.aether.yaml"}, {"pipeline": "fine.aether.yaml"}]
    started = {"runs": Driver(runs, orders)}
    for name, steps in INTERRUPTED.items():
        directory = place(base / name, **{name: steps})
        started[name] = Driver(directory, [{"pipeline": f"{name}.aether.yaml"}])
    yield started
    for driver in started.values():
        driver.kill()


@pytest.fixture(scope="module")
def whole(drivers: dict[str, Driver]) -> Left:
    return drivers["runs"].left("whole")


@pytest.fixture(scope="module")
def fine(drivers: dict[str, Driver]) -> Left:
    return drivers["runs"].left("fine", order=1)


def test_success(drivers: dict[str, Driver], fine: Left) -> None:
    fine.check()
    assert fine.report["status"] == "succeeded"
    assert fine.report["retries"] == 0
    assert [n["status"] for n in fine.nodes.values()] == ["succeeded"] * 3
    assert fine.nodes["first"]["output_payload"] == [1, 2.5, "drei", None, {"four": True}]
    assert fine.nodes["second"]["output_payload"]["stderr"] == "err\n"
    assert fine.nodes["third"]["input_payload"] == {"callable": "jobs:lengths", "value": "drei"}
    assert fine.nodes["third"]["output_payload"] == 4
    init = fine.file("state_init.json")
    assert {n["status"] for n in init["nodes"].values()} == {"pending"}
    assert init["pipeline"] == fine.state["pipeline"]
    assert "report" not in init


def test_failures_leave_all_which_was_documented_and_nothing_else(
    drivers: dict[str, Driver], whole: Left
) -> None:
    whole.check()
    assert whole.report["status"] == "failed"
    check_clean(drivers["runs"])


def test_a_retry_which_succeeds_leaves_the_failure_in_its_own_file(whole: Left) -> None:
    node = whole.nodes["once"]
    assert (node["status"], node["retry_count"], node["error"]) == ("succeeded", 1, None)
    first = whole.attempt("once", 1)
    assert (first["status"], first["retry_count"]) == ("retrying", 0)
    assert (first["error"]["type"], first["error"]["message"]) == ("RuntimeError", "not yet")
    assert whole.attempt("once", 2) == node
    assert whole.nodes["after-once"]["output_payload"] is True


def test_nodes_below_a_failed_one_stay_pending_and_say_why(whole: Left) -> None:
    boom = whole.nodes["boom"]
    assert (boom["status"], boom["retry_count"]) == ("failed", 1)
    assert boom["error"]["message"] == "row 7 is bad"
    assert "jobs.py" in boom["error"]["traceback"]
    assert "aether_dagster" not in boom["error"]["traceback"]
    for below in ("below", "far-below"):
        assert whole.nodes[below]["error"] == {
            "type": "UpstreamFailed",
            "message": "Did not start: 'boom' failed.",
            "attempt": 0,
            "traceback": None,
            "upstream": ["boom"],
        }
    assert whole.nodes["below-two"]["error"]["upstream"] == ["boom", "late"]


def test_a_timeout_ends_the_attempt_and_its_grandchildren(
    drivers: dict[str, Driver], whole: Left
) -> None:
    late = whole.nodes["late"]
    assert late["error"]["type"] == "Timeout"
    assert 0.5 <= late["execution_time"] < 30
    assert drivers["runs"].survivors() == []


def test_an_output_which_cannot_be_stored_fails_the_node(whole: Left) -> None:
    node = whole.nodes["unstorable"]
    assert (node["status"], node["retry_count"]) == ("failed", 1)
    assert node["error"]["type"] == whole.attempt("unstorable", 1)["error"]["type"]
    assert node["error"]["type"] == "ValueStoreError"
    assert "Return JSON, text, bytes, a table" in node["error"]["message"]


def test_an_input_which_cannot_be_loaded_fails_the_node_as_its_first_attempt(whole: Left) -> None:
    node = whole.nodes["unloadable"]
    assert (node["status"], node["retry_count"], node["input_payload"]) == ("failed", 0, None)
    assert node["error"]["type"] == "ValueStoreError"
    assert "is damaged" in node["error"]["message"]


def test_a_reference_to_a_part_which_is_not_there_fails_the_node(whole: Left) -> None:
    node = whole.nodes["no-such-part"]
    assert (node["status"], node["error"]["type"]) == ("failed", "UnresolvedReference")
    assert "9999" in node["error"]["message"]
    assert "whole.aether.yaml" in node["error"]["message"]


def test_a_large_value_is_stored_once_and_referred_to(whole: Left) -> None:
    payload = whole.nodes["big"]["output_payload"]
    assert payload["few"] == 3
    assert payload["rows"]["bytes"] > 16_384
    given = whole.nodes["big-again"]["input_payload"]["message"]
    # The argument refers to what `big` stored; it was not stored again as an input.
    assert f"/{whole.record.pipeline_id}/big/attempt1/output." in given["$artifact"]
    assert whole.nodes["big-part"]["output_payload"] == 899


def test_a_table_passes_from_step_to_step(whole: Left) -> None:
    frame = whole.nodes["frame"]["output_payload"]
    assert frame["media_type"] == "application/vnd.apache.parquet; frame=pandas"
    assert whole.nodes["total"]["input_payload"]["table"] == frame
    assert whole.nodes["total"]["output_payload"] == {"sum": 6, "type": "DataFrame"}


def test_references_to_parts_and_to_nothing_resolve(whole: Left) -> None:
    assert whole.nodes["nothing"]["status"] == "succeeded"
    assert whole.nodes["nothing"]["output_payload"] is None
    assert whole.nodes["nested"]["output_payload"] == [None, {"sum": 6}, "n=899"]


def test_artifacts_are_shared_also_from_the_process_of_an_attempt_with_a_timeout(
    whole: Left,
) -> None:
    assert whole.nodes["note-in-child"]["output_payload"] == ["one", "two"]
    assert whole.state["context"]["artifacts"] == {"one": "/data/one", "two": "/data/two"}


@pytest.mark.parametrize(
    ("name", "group", "told"),
    [
        ("shell", True, "runs executing 1"),
        ("call", False, "runs executing 1"),
        ("child", False, "runs executing 1"),
        ("wait", False, "runs retrying 1"),
    ],
)
def test_an_interrupt_cancels(
    drivers: dict[str, Driver], name: str, group: bool, told: str
) -> None:
    driver = drivers[name]
    driver.wait_for(told)
    driver.interrupt(group=group)
    left = driver.left(name)
    left.check()
    assert left.report["status"] == "cancelled"
    runs = left.nodes["runs"]
    assert (runs["status"], runs["retry_count"]) == ("failed", 0)
    assert runs["error"]["type"] == "Cancelled"
    for pending in left.nodes.keys() - {"runs", "done"}:
        assert left.nodes[pending]["status"] == "pending"
        assert left.nodes[pending]["error"]["type"] == "Cancelled"
    if name == "wait":
        assert left.attempt("runs", 1)["error"]["type"] == "ValueError"
    else:
        assert left.attempt("runs", 1)["error"]["type"] == "Cancelled"
    check_clean(driver)


def test_a_second_interrupt_ends_a_process_whose_step_caught_the_first(
    drivers: dict[str, Driver],
) -> None:
    driver = drivers["stubborn"]
    driver.wait_for("runs executing 1")
    driver.interrupt()
    driver.wait_for_file("caught")
    # Within a moment it would count as the same press.
    driver.pause(0.4)
    driver.interrupt()
    assert driver.end() == []
    assert driver.process.returncode == 130
    assert driver.survivors() == []
    run_id = last_run(driver.directory)
    with pytest.raises(AssertionError, match="never finalized"):
        _ = Left(driver.directory, run_id, "stubborn").state
    # What was killed is brought to its end as after any other death.
    reconcile(driver.directory)
    left = Left(driver.directory, run_id, "stubborn")
    left.check()
    assert left.nodes["runs"]["status"] == "failed"
    assert left.nodes["next"]["status"] == "pending"
    check_clean(driver)
