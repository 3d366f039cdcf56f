"""Whose values a step loads, and that no secret is written with them (spec 7)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runs import Driver, check_clean, place

MEET = """
    - {id: made, type: core/echo, args: {message: "${OWN}"}}
    - id: met
      type: python/call
      args: {callable: "jobs:meet", value: "${steps.made.output}", own: "${OWN}", other: "${OTHER}"}
    - id: loaded
      type: core/echo
      args: {message: ["${steps.made.output}", "${steps.met.output}"]}
"""
CHAIN = """
    - {id: made, type: core/echo, args: {message: "${WHAT}"}}
    - {id: middle, type: core/echo, args: {message: "${steps.made.output} seen"}}
    - id: end
      type: core/echo
      args: {message: ["${steps.middle.output}", "${steps.made.output}"]}
"""
OPS = """
    - {id: made, type: python/call, args: {callable: "jobs:big"}}
    - {id: part, type: core/echo, args: {message: "${steps.made.output.few}"}}
    - {id: fails, type: python/call, args: {callable: "jobs:boom"}, dependsOn: [part]}
    - {id: below, type: core/echo, args: {message: x}, dependsOn: [fails]}
"""
SECRETS = """
context:
  secret_store: "env://"
  secret_env: [CANARY_HIDDEN]
connectors:
  db: {type: sql, url: "${CANARY_URL}"}
"""
CANARY = """
    - {id: echo, type: core/echo, args: {message: "it is ${secrets.CANARY}"}}
    - {id: passed, type: core/echo, args: {message: ["${steps.echo.output}"]}}
    - {id: odd, type: python/call, args: {callable: "jobs:odd", token: "${secrets.CANARY}"}}
    - id: raises
      type: python/call
      args: {callable: "jobs:tell_secret", token: "${secrets.CANARY}"}
      retries: 1
      retry: {delay: 0}
    - id: child
      type: python/call
      args: {callable: "jobs:tell_secret", token: "${CANARY_HIDDEN}"}
      timeout: 60
    - {id: shell, type: shell/run, args: {command: 'test -z "$C"', env: {C: "${secrets.CANARY}"}}}
    - {id: query, type: sql/query, args: {connector: db, query: select 1}}
"""
# What passes from process to process; a process which has not resolved a secret masks it too.
PASSED = """
    - {id: echo, type: core/echo, args: {message: "it is ${secrets.CANARY}"}}
    - id: passed
      type: python/call
      args: {callable: "jobs:tell", text: "${steps.echo.output}"}
"""


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Driver]]:
    base = tmp_path_factory.mktemp("io_manager")
    meet = place(base / "meet", before="variables: {OWN: '', OTHER: ''}", meet=MEET)
    values = place(base / "values", before="variables: {WHAT: nothing}", chain=CHAIN, ops=OPS)
    chain = {"pipeline": "chain.aether.yaml"}
    started = {
        name: Driver(
            meet,
            [{"pipeline": "meet.aether.yaml", "variables": {"OWN": name, "OTHER": other}}],
        )
        for name, other in (("ada", "bob"), ("bob", "ada"))
    }
    started["values"] = Driver(
        values,
        [
            chain | {"variables": {"WHAT": "old"}},
            chain | {"variables": {"WHAT": "new"}},
            chain | {"select": ["middle"]},
            chain | {"action": "foreign", "select": [["chain", "middle"], ["chain", "end"]]},
            chain | {"action": "foreign"},
            {"pipeline": "ops.aether.yaml", "action": "as_ops"},
        ],
    )
    for workers, steps in ((1, CANARY), (2, PASSED)):
        directory = place(base / f"secrets-{workers}", before=SECRETS, canary=steps)
        environ = {
            "CANARY": f"canary-{workers}-in-the-store",
            "CANARY_HIDDEN": f"canary-{workers}-hidden",
            "CANARY_URL": f"postgresql+psycopg://bob:canary-{workers}-url@localhost:1/x",
        }
        orders = [{"pipeline": "canary.aether.yaml", "workers": workers}]
        started[f"secrets-{workers}"] = Driver(directory, orders, environ)
    yield started
    for driver in started.values():
        driver.kill()


def test_overlapping_runs_never_load_each_others_values(drivers: dict[str, Driver]) -> None:
    lefts = {name: drivers[name].left("meet") for name in ("ada", "bob")}
    for name, left in lefts.items():
        left.check()
        assert left.report["status"] == "succeeded"
        assert left.nodes["loaded"]["output_payload"] == [name, name]
        ids = {left.record.pipeline_id for left in lefts.values()}
        assert len(ids) == 2
    starts = [left.state["pipeline"]["start_timestamp"] for left in lefts.values()]
    ends = [left.report["end_timestamp"] for left in lefts.values()]
    assert max(starts) < min(ends)


def test_a_run_of_a_part_loads_what_the_latest_run_left(drivers: dict[str, Driver]) -> None:
    left = drivers["values"].left("chain", order=2)
    left.check()
    assert list(left.nodes) == ["middle"]
    assert left.nodes["middle"]["output_payload"] == "new seen"
    whole = drivers["values"].left("chain", order=1)
    assert left.nodes["middle"]["node_id"][-8:] > left.record.pipeline_id[-8:]
    assert whole.nodes["end"]["output_payload"] == ["new seen", "new"]


def test_an_executor_which_is_not_ours_leaves_states_of_what_it_ran(
    drivers: dict[str, Driver],
) -> None:
    left = drivers["values"].left("chain", order=3)
    nodes = left.unfinished["nodes"]
    assert list(nodes) == ["middle", "end"]
    assert [node["status"] for node in nodes.values()] == ["succeeded", "succeeded"]
    assert nodes["end"]["output_payload"] == ["new seen", "new"]
    every = drivers["values"].left("chain", order=4).unfinished["nodes"]
    assert [node["status"] for node in every.values()] == ["succeeded"] * 3
    assert every["end"]["output_payload"] == ["nothing seen", "nothing"]


def test_ops_leave_the_same_as_assets(drivers: dict[str, Driver]) -> None:
    left = drivers["values"].left("ops", order=5)
    left.check(ops=True)
    assert left.report["status"] == "failed"
    assert left.nodes["part"]["output_payload"] == 3
    assert left.nodes["below"]["error"]["upstream"] == ["fails"]
    check_clean(drivers["values"])


def test_no_secret_is_written_anywhere(drivers: dict[str, Driver]) -> None:
    nodes = _without_secrets(drivers["secrets-1"])
    assert nodes["echo"]["output_payload"] == "it is ***"
    assert nodes["passed"]["input_payload"] == {"message": ["it is ***"]}
    assert nodes["odd"]["output_payload"]["token"] == "***"
    for step in ("raises", "child"):
        assert nodes[step]["error"]["message"] == "cannot log in with ***"
        assert nodes[step]["error"]["type"] == "RuntimeError"
    assert nodes["shell"]["error"]["type"] == "ExitStatus"
    assert nodes["query"]["status"] == "failed"


def test_no_secret_is_written_by_a_process_which_was_given_it_as_a_value(
    drivers: dict[str, Driver],
) -> None:
    nodes = _without_secrets(drivers["secrets-2"])
    assert nodes["passed"]["input_payload"]["text"] == "it is ***"
    assert nodes["passed"]["error"]["message"] == "cannot log in with it is ***"


def _without_secrets(driver: Driver) -> dict[str, Any]:
    """Asserts that none is in any file of a run, and returns its nodes."""
    left = driver.left("canary")
    left.check()
    told = [path for path in driver.directory.rglob("*") if path.is_file() and _holds(path)]
    assert [path for path in told if not _is_value(path, driver.directory)] == []
    # It looked where secrets do stand: what a step returned is kept as it was.
    assert told
    return left.nodes


def _holds(path: Path) -> bool:
    return b"canary-" in path.read_bytes()


def _is_value(path: Path, directory: Path) -> bool:
    return path.is_relative_to(directory / ".aether" / "aether_artifacts")


def test_dagster_is_told_where_a_value_is_shown(drivers: dict[str, Driver]) -> None:
    metadata = drivers["values"].left("chain", order=1).materialization("end")
    assert metadata["aether/attempt"].value == 1
    assert json.loads(json.dumps(metadata["aether/output"].value)) == ["new seen", "new"]
