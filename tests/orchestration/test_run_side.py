"""What the run's own process does where a run cannot begin, or its history cannot be written."""

from collections.abc import Iterator

import pytest

from tests.runs import Driver, check_clean, place

RESOURCES = """
connectors:
  there: {type: sql, url: "sqlite:///there.db"}
  gone: {type: sql, url: "%s"}
"""
QUERIES = """
    - {id: echo, type: core/echo, args: {message: x}}
    - {id: query, type: sql/query, args: {connector: gone, query: select 1}, dependsOn: [echo]}
    - {id: last, type: core/echo, args: {message: x}, dependsOn: [query]}
"""
BREAKS = """
    - {id: first, type: core/echo, args: {message: x}}
    - id: breaks
      type: python/call
      args: {callable: "jobs:%s", history: "${HISTORY}"}
      dependsOn: [first]
    - {id: rests, type: core/sleep, args: {seconds: %s}, dependsOn: [breaks]}
    - {id: last, type: core/echo, args: {message: x}, dependsOn: [rests]}
"""
REQUIRED = """
    - {id: rests, type: python/call, args: {callable: "jobs:family"}, timeout: 300}
    - id: breaks
      type: python/call
      args: {callable: "jobs:move_history_while_another_rests", history: required}
    - {id: last, type: core/echo, args: {message: x}, dependsOn: [breaks, rests]}
"""


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Driver]]:
    base = tmp_path_factory.mktemp("run_side")
    started = {
        "variable": Driver(
            place(base / "variable", before=RESOURCES % "${NOT_THERE_URL}", query=QUERIES),
            [{"pipeline": "query.aether.yaml"}],
        ),
        "secret": Driver(
            place(base / "secret", before=RESOURCES % "${secrets.NOT_THERE}", query=QUERIES),
            [{"pipeline": "query.aether.yaml"}],
        ),
    }
    history = place(
        base / "history",
        before="variables: {HISTORY: none}",
        gone=BREAKS % ("move_history", 0),
        blocked=BREAKS % ("block_final", 0),
        required=REQUIRED,
        missing='\n    - {id: a, type: core/echo, args: {message: "${NOT_THERE}"}}\n',
    )
    started["history"] = Driver(
        history,
        [
            {
                "pipeline": f"{name}.aether.yaml",
                "history": name,
                "variables": {"HISTORY": name},
                "history_required": name == "required",
                "workers": 2 if name == "required" else 1,
            }
            for name in ("gone", "blocked", "missing", "required")
        ],
    )
    yield started
    for driver in started.values():
        driver.kill()


@pytest.mark.parametrize("what", ["variable", "secret"])
def test_a_resource_which_cannot_start_leaves_every_node_pending(
    drivers: dict[str, Driver], what: str
) -> None:
    left = drivers[what].left("query")
    left.check()
    assert left.report["status"] == "failed"
    assert left.report["failed"] == []
    for node in left.nodes.values():
        assert (node["status"], node["error"]["type"]) == ("pending", "ResourceFailed")
        assert "NOT_THERE" in node["error"]["message"]
        assert "query.aether.yaml" in node["error"]["message"]
    check_clean(drivers[what])


def test_a_name_which_is_missing_ends_a_run_before_anything_is_left_of_it(
    drivers: dict[str, Driver],
) -> None:
    driver = drivers["history"]
    outcome = driver.end()[2]
    assert outcome["raised"] == "ScriptError"
    assert "missing.aether.yaml:6:49" in outcome["message"]
    assert "NOT_THERE" in outcome["message"]
    assert not any((driver.directory / "missing").glob("*"))


def test_a_history_which_breaks_does_not_break_the_run(drivers: dict[str, Driver]) -> None:
    outcome = drivers["history"].end()[0]
    left = drivers["history"].left("gone")
    left.check(history=False)
    assert outcome["status"] == left.report["status"] == "succeeded"
    assert "cannot be written" in outcome["history_error"]
    assert left.report["history_error"] == outcome["history_error"]
    (moved,) = (drivers["history"].directory / "gone").glob("taken-away")
    # No file stands there after a gap, as if all before it were whole.
    assert not (moved / "state_final.json").exists()
    assert not any(left.folder.parent.glob("*_pipeline_*"))
    assert "state history" in drivers["history"].errors.read_text()


def test_a_history_whose_last_file_cannot_be_written_is_told(drivers: dict[str, Driver]) -> None:
    outcome = drivers["history"].end()[1]
    left = drivers["history"].left("blocked", order=1)
    assert outcome["status"] == left.report["status"] == "succeeded"
    assert "state_final.json" in outcome["history_error"]
    # What stood in its way was put there by the test, and is not what the run left.
    (left.folder / "state_final.json").rmdir()


def test_a_required_history_which_breaks_ends_the_run_and_its_steps(
    drivers: dict[str, Driver],
) -> None:
    outcome = drivers["history"].end()[3]
    left = drivers["history"].left("required", order=3)
    left.check(history=False)
    assert outcome["status"] == "failed"
    assert "cannot be written" in outcome["history_error"]
    assert left.nodes["rests"]["status"] == "failed"
    assert left.nodes["last"]["status"] == "pending"
    check_clean(drivers["history"])
