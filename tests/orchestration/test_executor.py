"""Our executor around Dagster's own multiprocess executor: processes which die, and values."""

from collections.abc import Iterator

import pytest

from tests.runs import Driver, Left, check_clean, place

STEPS = """
    - {id: killed, type: python/call, args: {callable: "jobs:die"}}
    - {id: left, type: python/call, args: {callable: "jobs:leave"}}
    - {id: again, type: python/call, args: {callable: "jobs:die_once", marker: m}, retries: 1}
    - {id: below, type: core/echo, args: {message: "${steps.killed.output}"}}
    - {id: after, type: python/call, args: {callable: "jobs:note", name: "${steps.again.output}"}}
"""
CANCELLED = """
    - {id: runs, type: shell/run, args: {command: "sleep 300 & sleep 300"}, retries: 1}
    - {id: next, type: core/echo, args: {message: x}, dependsOn: [runs]}
"""


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Driver]]:
    base = tmp_path_factory.mktemp("executor")
    wrapped = place(base / "wrapped", steps=STEPS)
    orders = {"pipeline": "steps.aether.yaml", "action": "wrapped"}
    cancelled = place(base / "cancelled", cancelled=CANCELLED)
    started = {
        "wrapped": Driver(wrapped, [orders | {"history": str(wrapped / "executions")}]),
        "cancelled": Driver(cancelled, [{"pipeline": "cancelled.aether.yaml", "workers": 2}]),
    }
    yield started
    for driver in started.values():
        driver.kill()


@pytest.fixture(scope="module")
def left(drivers: dict[str, Driver]) -> Left:
    return drivers["wrapped"].left("steps")


def test_an_interrupt_ends_the_steps_of_other_processes(drivers: dict[str, Driver]) -> None:
    driver = drivers["cancelled"]
    driver.wait_for("runs executing 1")
    driver.interrupt()
    left = driver.left("cancelled")
    left.check()
    assert left.report["status"] == "cancelled"
    assert left.nodes["runs"]["error"]["type"] == "Cancelled"
    assert left.nodes["next"]["error"]["type"] == "Cancelled"
    check_clean(driver)


def test_a_run_whose_processes_die_leaves_what_was_documented(
    drivers: dict[str, Driver], left: Left
) -> None:
    left.check()
    assert left.report["status"] == "failed"
    assert left.report["failed"] == ["killed", "left"]
    check_clean(drivers["wrapped"])


@pytest.mark.parametrize("step", ["killed", "left"])
def test_a_process_which_dies_is_a_lost_worker(left: Left, step: str) -> None:
    node = left.nodes[step]
    assert (node["status"], node["retry_count"]) == ("failed", 0)
    assert (node["error"]["type"], node["error"]["attempt"]) == ("WorkerLost", 1)
    # What the attempt had begun with is not lost.
    assert node["input_payload"]["callable"].startswith("jobs:")
    assert node["execution_time"] > 0


def test_a_step_whose_process_died_once_is_tried_again(left: Left) -> None:
    assert left.attempt("again", 1)["status"] == "retrying"
    assert left.attempt("again", 1)["error"]["type"] == "WorkerLost"
    assert (left.nodes["again"]["status"], left.nodes["again"]["retry_count"]) == ("succeeded", 1)


def test_nodes_below_a_lost_worker_say_whose_failure_keeps_them(left: Left) -> None:
    assert left.nodes["below"]["status"] == "pending"
    assert left.nodes["below"]["error"]["upstream"] == ["killed"]


def test_values_and_artifacts_pass_between_processes(left: Left) -> None:
    assert left.nodes["again"]["output_payload"] == "one"
    assert left.nodes["after"]["output_payload"] == ["one"]
    assert left.state["context"]["artifacts"] == {"one": "/data/one"}
