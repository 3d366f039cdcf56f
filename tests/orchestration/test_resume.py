"""Resuming: by the command line and by Dagster, after failures and kills (spec 6, `--resume`)."""

import json
import re
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from aether_dagster.crypto import Key, KeyRing
from aether_dagster.journal import Journal
from aether_dagster.orchestration.instance import embedded_instance
from aether_dagster.snapshot import read_execution
from tests.journals import journal_url
from tests.runs import Driver, Left, check_clean, last_run, place

# All the runs are one after another in one process, and the first test waits for all of them.
pytestmark = pytest.mark.timeout(300)

KEY = Key.generate()


def flow(marker: str) -> str:
    """Steps of which one fails the first time."""
    return f"""
    - {{id: extract, type: python/call, args: {{callable: "jobs:note", name: raw}}}}
    - {{id: clean, type: core/echo, args: {{message: ["${{steps.extract.output}}", 2]}}}}
    - {{id: side, type: core/echo, args: {{message: s}}}}
    - id: load
      type: python/call
      args: {{callable: "jobs:once", marker: {marker}}}
      dependsOn: [clean]
    - id: report
      type: core/echo
      args: {{message: ["${{steps.load.output.ok}}", "${{steps.clean.output}}"]}}
    - id: names
      type: python/call
      args: {{callable: "jobs:note", name: end}}
      dependsOn: [load]
"""


CHAIN = """
    - {id: one, type: core/echo, args: {message: 1}}
    - {id: two, type: python/call, args: {callable: "jobs:once", marker: two}, dependsOn: [one]}
    - {id: three, type: python/call, args: {callable: "jobs:once", marker: three}, dependsOn: [two]}
    - {id: four, type: core/echo, args: {message: ["${steps.one.output}", "${steps.two.output}"]}}
    - {id: five, type: core/echo, args: {message: "${steps.three.output}"}}
"""
REGIONS = """
    - {id: region, type: core/echo, args: {message: "of ${PARTITION_KEY}"}}
    - id: load
      type: python/call
      args: {callable: "jobs:once", marker: "${PARTITION_KEY}"}
      dependsOn: [region]
    - id: report
      type: core/echo
      args: {message: ["${steps.region.output}", "${steps.load.output.ok}"]}
"""
DIES = """
    - {id: first, type: core/echo, args: {message: one}}
    - id: dies
      type: python/call
      args: {callable: "jobs:die_once", marker: m}
      dependsOn: [first]
    - id: last
      type: core/echo
      args: {message: ["${steps.first.output}", "${steps.dies.output}"]}
"""
RUNS = """
    - {id: runs, type: python/call, args: {callable: "jobs:nap"}}
"""
ORDERS = [
    ("cli", {}),
    ("cli", {"resume": "latest"}),
    ("cli", {"resume": "latest"}),
    ("dagster", {}),
    ("dagster", {"action": "reexecute"}),
    ("selected", {}),
    ("selected", {"action": "reexecute", "steps": ["selected__load"]}),
    ("ops", {"action": "as_ops"}),
    ("ops", {"action": "reexecute", "as_ops": True}),
    ("chain", {}),
    ("chain", {"resume": "latest"}),
    ("chain", {"action": "from_ui", "strategy": "FROM_FAILURE"}),
    ("assets", {}),
    ("assets", {"action": "from_ui", "strategy": "FROM_ASSET_FAILURE"}),
    ("regions", {"partition": "us"}),
    ("regions", {"partition": "eu"}),
    ("regions", {"action": "from_ui", "strategy": "FROM_FAILURE"}),
    ("regions", {"resume": "latest", "partition": "us"}),
    ("regions", {"partition": "us", "select": ["report"]}),
    ("regions", {"resume": "latest", "partition": "use"}),
    ("again", {"resume": "latest"}),
    ("again", {}),
    ("again", {"action": "reexecute", "steps": []}),
    ("sealed", {"keys": ["env:THE_KEY"]}),
    ("sealed", {"keys": ["env:THE_KEY"], "resume": "latest"}),
    ("sealed", {"keys": ["env:ANOTHER_KEY"], "resume": "latest"}),
    ("plain", {}),
    ("plain", {"keys": ["env:THE_KEY"], "resume": "latest"}),
]
FLOWS = ("cli", "dagster", "selected", "ops", "again", "sealed", "plain", "assets")


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Driver]]:
    """All runs of this module, started together."""
    base = tmp_path_factory.mktemp("resume")
    flows = place(
        base / "flows", chain=CHAIN, regions=REGIONS, **{name: flow(name) for name in FLOWS}
    )
    orders = [{"pipeline": f"{name}.aether.yaml", **order} for name, order in ORDERS]
    keys = {"THE_KEY": KEY.text(), "ANOTHER_KEY": Key.generate().text()}
    started = {
        "flows": Driver(flows, orders, keys, limit=240.0),
        "dies": Driver(place(base / "dies", dies=DIES), [{"pipeline": "dies.aether.yaml"}]),
        "runs": Driver(place(base / "runs", runs=RUNS), [{"pipeline": "runs.aether.yaml"}]),
    }
    yield started
    for driver in started.values():
        driver.kill()


def left(drivers: dict[str, Driver], pipeline: str, number: int) -> Left:
    """Returns what the order left which is this pipeline's, counted from 0."""
    places = [index for index, (name, _) in enumerate(ORDERS) if name == pipeline]
    return drivers["flows"].left(pipeline, order=places[number])


def outcome(drivers: dict[str, Driver], pipeline: str, number: int) -> dict[str, Any]:
    places = [index for index, (name, _) in enumerate(ORDERS) if name == pipeline]
    return drivers["flows"].end()[places[number]]


def without_ids_and_times(state: dict[str, Any]) -> Any:
    text = re.sub(r"_[0-9A-HJKMNP-TV-Z]{8}\b", "_ID", json.dumps(state))
    text = re.sub(r'"(execution_time|duration|\w+_timestamp)": [\d.e-]+', r'"\1": 0', text)
    return json.loads(re.sub(r'"config_hash": "\w+"', '"config_hash": ""', text))


def status(node: dict[str, Any]) -> str:
    return node["status"]


def test_resume_runs_what_did_not_succeed_and_reuses_what_did(drivers: dict[str, Driver]) -> None:
    old, new = left(drivers, "cli", 0), left(drivers, "cli", 1)
    old.check()
    new.check()
    assert old.report["status"] == "failed"
    assert new.report["status"] == "succeeded"
    assert new.report["resumed_from"] == old.record.pipeline_id
    assert new.record.resumed_from == old.record.pipeline_id
    assert new.reused == {"extract", "clean", "side"}
    init = new.file("state_init.json")
    for name in new.reused:
        node = init["nodes"][name]
        assert node == new.nodes[name]
        assert node["output_payload"] == old.nodes[name]["output_payload"]
        assert node["node_id"] != old.nodes[name]["node_id"]
        assert (node["execution_time"], node["retry_count"], node["error"]) == (0, 0, None)
    assert new.nodes["report"]["output_payload"] == [True, [["raw"], 2]]
    # What a reused step told the steps after it is still told.
    assert new.nodes["names"]["output_payload"] == ["end", "raw"]
    assert init["context"]["artifacts"] == {"raw": "/data/raw"}
    check_clean(drivers["flows"])


def test_the_new_run_names_the_old_one_in_dagster(drivers: dict[str, Driver]) -> None:
    old, new = left(drivers, "cli", 0), left(drivers, "cli", 1)
    with embedded_instance(new.directory) as instance:
        run = instance.get_run_by_id(new.run_id)
        group = instance.get_run_group(new.run_id)
    assert run is not None
    assert run.tags["aether/cli.resumed_from"] == old.record.pipeline_id
    assert run.parent_run_id == run.root_run_id == old.run_id
    assert group is not None
    assert {each.run_id for each in group[1]} >= {old.run_id, new.run_id}


def test_an_execution_which_succeeded_has_nothing_to_resume(drivers: dict[str, Driver]) -> None:
    new = left(drivers, "cli", 1)
    assert outcome(drivers, "cli", 2) == {
        "raised": "NothingToResume",
        "message": f"Nothing to resume: every step of {new.record.pipeline_id} succeeded, and "
        "none was changed since.",
    }


def test_reexecution_from_failure_in_dagster_leaves_the_same(drivers: dict[str, Driver]) -> None:
    old, new = left(drivers, "dagster", 0), left(drivers, "dagster", 1)
    new.check()
    assert new.report["resumed_from"] == old.record.pipeline_id
    ours = left(drivers, "cli", 1)
    expected = json.loads(json.dumps(ours.state).replace('"cli"', '"dagster"'))
    assert without_ids_and_times(new.state) == without_ids_and_times(expected)
    begun = without_ids_and_times(new.file("state_init.json"))
    assert begun == without_ids_and_times(ours.file("state_init.json"))
    assert [re.sub(r"_[0-9A-Z]{8}_", "_", name) for name in files(new)] == [
        re.sub(r"_[0-9A-Z]{8}_", "_", name) for name in files(ours)
    ]


def files(left: Left) -> list[str]:
    return sorted(file.name for file in left.folder.iterdir())


def test_ops_are_resumed_too(drivers: dict[str, Driver]) -> None:
    old, new = left(drivers, "ops", 0), left(drivers, "ops", 1)
    new.check(ops=True)
    assert new.report["resumed_from"] == old.record.pipeline_id
    assert new.reused == {"extract", "clean", "side"}
    assert new.report["status"] == "succeeded"


@pytest.mark.soak
def test_processes_of_their_own_load_what_is_reused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = place(tmp_path_factory.mktemp("workers") / "flows", workers=flow("workers"))
    order = {"pipeline": "workers.aether.yaml", "workers": 2}
    driver = Driver(directory, [order, {**order, "resume": "latest"}])
    new = driver.left("workers", order=1)
    new.check()
    assert new.reused == {"extract", "clean", "side"}
    assert new.report["status"] == "succeeded"


def test_one_step_which_is_reexecuted_alone_takes_the_values_of_its_parent(
    drivers: dict[str, Driver],
) -> None:
    new = left(drivers, "selected", 1)
    new.check()
    assert new.reused == {"extract", "clean", "side"}
    assert set(new.nodes) == {*new.reused, "load"}
    assert new.report["status"] == "succeeded"


def test_a_chain_of_resumes_carries_on_what_succeeded(drivers: dict[str, Driver]) -> None:
    first, second, third = (left(drivers, "chain", number) for number in range(3))
    for each in (first, second, third):
        each.check()
    assert second.reused == {"one"}
    assert third.reused == {"one", "two", "four"}
    assert second.report["resumed_from"] == first.record.pipeline_id
    assert third.report["resumed_from"] == second.record.pipeline_id
    assert third.report["status"] == "succeeded"
    assert third.nodes["one"]["output_payload"] == 1


def test_an_execution_of_a_partition_is_resumed_in_its_partition(
    drivers: dict[str, Driver],
) -> None:
    us, eu, clicked, resumed, alone = (left(drivers, "regions", number) for number in range(5))
    for each in (us, eu, clicked, resumed, alone):
        each.check()
    for old, new, key in ((us, resumed, "us"), (eu, clicked, "eu")):
        assert (old.record.partition, new.record.partition) == (key, key)
        assert (old.report["status"], new.report["status"]) == ("failed", "succeeded")
        assert new.report["resumed_from"] == old.record.pipeline_id
        assert new.reused == {"region"}
        # What it takes over is of its own partition, though another one ran in between.
        assert new.nodes["report"]["output_payload"] == [f"of {key}", True]
    # What it left is its partition's latest, for a step which runs alone and for Dagster.
    assert alone.record.partition == "us"
    assert set(alone.nodes) == {"report"}
    assert alone.nodes["report"]["output_payload"] == ["of us", True]
    with embedded_instance(resumed.directory) as instance:
        key = dg.AssetKey(["regions", "load"])
        assert instance.get_materialized_partitions(key) == {"us", "eu"}
        run = instance.get_run_by_id(resumed.run_id)
    assert run is not None
    assert run.tags["dagster/partition"] == "us"


def test_of_a_partition_which_has_none_no_execution_is_resumed(drivers: dict[str, Driver]) -> None:
    assert outcome(drivers, "regions", 5) == {
        "raised": "SettingsError",
        "message": "There is no execution of 'regions' and the partition 'use'; did you mean us?",
    }


def test_dagster_copies_tags_and_they_are_not_taken_for_the_new_runs_own(
    drivers: dict[str, Driver],
) -> None:
    second, third = left(drivers, "chain", 1), left(drivers, "chain", 2)
    with embedded_instance(third.directory) as instance:
        run = instance.get_run_by_id(third.run_id)
    assert run is not None
    assert run.tags["aether/chain.resumed_from"] == second.record.pipeline_id
    assert run.tags["aether/chain.id"] == third.record.pipeline_id


def test_reexecution_of_failed_assets_resumes_too(drivers: dict[str, Driver]) -> None:
    old, new = left(drivers, "assets", 0), left(drivers, "assets", 1)
    new.check()
    assert new.reused == {"extract", "clean", "side"}
    assert new.report["resumed_from"] == old.record.pipeline_id
    assert new.report["status"] == "succeeded"


def test_what_dagster_runs_again_as_a_whole_is_no_resumption(drivers: dict[str, Driver]) -> None:
    new = left(drivers, "again", 2)
    new.check()
    assert new.reused == set()
    assert "resumed_from" not in new.report


def test_nothing_to_resume_is_told(drivers: dict[str, Driver]) -> None:
    told = outcome(drivers, "again", 0)
    assert told["raised"] == "SettingsError"
    assert told["message"] == "There is no execution of 'again' to resume."


def test_a_sealed_execution_is_resumed_with_its_key(drivers: dict[str, Driver]) -> None:
    done = outcome(drivers, "sealed", 1)
    assert done["status"] == "succeeded"
    history = read_execution(done["history_folder"], KeyRing([KEY]))
    assert history.final is not None
    assert history.final["report"]["resumed_from"] == outcome(drivers, "sealed", 0)["pipeline_id"]
    assert history.init is not None
    assert history.init["nodes"]["clean"]["output_payload"] == [["raw"], 2]
    other = outcome(drivers, "sealed", 2)
    assert other["raised"] == "UnknownKey"
    assert "another key" in other["message"] or KEY.id in other["message"]


def test_a_plain_execution_is_not_mixed_with_sealed_values(drivers: dict[str, Driver]) -> None:
    told = outcome(drivers, "plain", 1)
    assert told["raised"] == "SettingsError"
    assert re.match(r"What pipeline_\w{8} left cannot be taken over with a key: ", told["message"])
    assert "If it ran without one, resume it without one" in told["message"]


def test_a_run_which_was_killed_is_brought_to_its_end_and_resumed(
    drivers: dict[str, Driver],
) -> None:
    dead = drivers["dies"]
    assert dead.end() == []
    old = Left(dead.directory, last_run(dead.directory), "dies")
    assert old.unfinished["nodes"]["dies"]["status"] == "executing"
    driver = Driver(dead.directory, [{"pipeline": "dies.aether.yaml", "resume": "latest"}])
    new = driver.left("dies")
    new.check()
    assert new.report["status"] == "succeeded"
    assert new.reused == {"first"}
    assert new.nodes["last"]["output_payload"] == ["one", "one"]
    old = Left(dead.directory, old.run_id, "dies")
    old.check()
    assert old.report["status"] == "failed"
    assert old.nodes["dies"]["error"]["type"] == "WorkerLost"
    check_clean(driver)


def test_an_execution_which_still_runs_is_left_alone(drivers: dict[str, Driver]) -> None:
    running = drivers["runs"]
    running.wait_for("runs executing 1")
    order = {"pipeline": "runs.aether.yaml", "resume": "latest"}
    (told,) = Driver(running.directory, [order]).end()
    assert told["raised"] == "StateError"
    assert re.search(r"pipeline_\w{8} still runs: Process \d+ on .* keeps it", told["message"])
    assert running.process.poll() is None
    with Journal.open(journal_url(running.directory), read_only=True) as journal:
        assert len(journal.executions()) == 1
    running.kill()
