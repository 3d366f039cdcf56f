"""However a run is started, it leaves the same state: a real deployment, shared by all cases."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from aether_dagster.journal import ExecutionRecord, Journal
from aether_dagster.state.document import canonical_bytes
from tests.orchestration.deployment import LIMIT, Deployment, launches
from tests.orchestration.pipelines import write
from tests.page.conftest import browsing, chromium

TINY = """
    version: "2.1"
    metadata: {name: tiny}
    context: {artifacts: {report: /tmp/report.txt}}
    pipeline:
      steps:
        - {id: numbers, type: core/echo, args: {message: [3, 1, 4, 1, 5, 9]}}
        - id: mean-of-them
          type: python/call
          args: {callable: "statistics:fmean", data: "${steps.numbers.output}"}
        - id: report
          type: core/echo
          args: {message: ["${steps.numbers.output[2]}", "${steps.mean-of-them.output}"]}
"""
FLAKY = """
    version: "2.1"
    metadata: {name: flaky}
    pipeline:
      steps:
        - {id: before, type: core/echo, args: {message: made once}}
        - {id: fixed, type: shell/run, args: {command: "test -e fixed"}, dependsOn: [before]}
        - id: after
          type: core/echo
          args: {message: ["${steps.before.output}"]}
          dependsOn: [fixed]
"""
DAILY = """
    version: "2.1"
    metadata: {name: daily}
    pipeline:
      steps:
        - {id: day, type: core/echo, args: {message: "it is ${PARTITION_KEY}"}}
        - {id: seen, type: core/echo, args: {message: ["${steps.day.output}"]}}
"""
WHEN_MISSING = """
    version: "2.1"
    metadata: {name: automatic}
    pipeline:
      steps:
        - {id: first, type: core/echo, args: {message: 1}}
        - {id: second, type: core/echo, args: {message: ["${steps.first.output}"]}}
"""
DEFINITIONS = Path(__file__).with_name("team_definitions.py")
PROJECT = """
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "team"
code_location_target_module = "team"
[tool.dg.cli.telemetry]
enabled = false
"""
DAYS = [f"day-{n}" for n in range(10)]
# For the busiest of machines; alone it takes about a minute.
pytestmark = pytest.mark.timeout(1500)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PIPELINE = re.compile(r"pipeline_[0-9A-Z]{8}")
ALL = ("numbers", "mean-of-them", "report")


@dataclass
class Team:
    """The deployment, and which run was started in which way."""

    deployment: Deployment
    instance: dg.DagsterInstance
    journal: Journal
    runs: dict[str, str]

    def record(self, run_id: str, pipeline: str = "tiny") -> ExecutionRecord:
        """The execution of a run, once it is finalized and its lease let go."""
        self.deployment.wait_until(lambda: self._ended(run_id, pipeline), f"{pipeline} {run_id}")
        found = self.journal.find(run_id, pipeline)
        assert found is not None
        return self.journal.record(found.pipeline_id)

    def has_failed(self, run_id: str) -> bool:
        """Whether Dagster has put a run down as failed, which is after we have."""
        run = self.instance.get_run_by_id(run_id)
        return run is not None and run.status == dg.DagsterRunStatus.FAILURE

    def _ended(self, run_id: str, pipeline: str) -> bool:
        found = self.journal.find(run_id, pipeline)
        return (
            found is not None
            and self.journal.record(found.pipeline_id).finalized is not None
            and self.journal.lease(found.pipeline_id) is None
        )

    def state(self, run_id: str, pipeline: str = "tiny") -> dict[str, Any]:
        """The state document of a run's execution; its files hold the same."""
        record = self.record(run_id, pipeline)
        state = self.journal.state(record.pipeline_id)
        assert record.history is not None
        final = json.loads((Path(record.history) / "state_final.json").read_bytes())
        assert canonical_bytes(final) == canonical_bytes(state)
        return state

    def init(self, run_id: str, pipeline: str = "tiny") -> dict[str, Any]:
        """The state document with which a run's execution began."""
        record = self.record(run_id, pipeline)
        assert record.history is not None
        return json.loads((Path(record.history) / "state_init.json").read_bytes())

    def tagged(self, key: str, value: str) -> list[str]:
        """The runs which have a tag, once there is one."""
        found: list[str] = []

        def look() -> bool:
            runs = self.instance.get_runs(dg.RunsFilter(tags={key: value}))
            found[:] = [run.run_id for run in runs]
            return bool(found)

        self.deployment.wait_until(look, f"a run with {key}={value}")
        return found


def alike(state: Mapping[str, Any], *steps: str) -> bytes:
    """The canonical form of a state without ids and times; of some of its nodes, if any."""
    nodes = {
        name: {**node, "node_id": "", "execution_time": 0}
        for name, node in state["nodes"].items()
        if not steps or name in steps
    }
    pipeline = {**state["pipeline"], "id": "", "start_timestamp": 0}
    return canonical_bytes({"pipeline": pipeline, "nodes": nodes, "context": state["context"]})


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    documents = {"tiny": TINY, "flaky": FLAKY, "daily": DAILY, "automatic": WHEN_MISSING}
    for name, text in documents.items():
        write(folder, text, f"{name}.aether.yaml")
    shutil.copy(DEFINITIONS, folder / "team.py")
    (folder / "pyproject.toml").write_text(PROJECT)
    environ = {"AETHERSCRIPT_STATE_HISTORY": str(folder / "executions")}
    with ExitStack() as stack:
        deployment = stack.enter_context(Deployment(folder, "team", environ))
        instance = stack.enter_context(dg.DagsterInstance.from_config(str(deployment.home)))
        ui, tiny = "__ASSET_JOB", [["tiny", step.replace("-", "_")] for step in ALL]
        runs = {
            "flaky": deployment.launch(ui, *(["flaky", s] for s in ("before", "fixed", "after"))),
            # Of an executor which is not ours: the sensor ends it, which looks every half a minute.
            "in-process executor": deployment.launch("in_process"),
            "one asset": deployment.launch(ui, tiny[0]),
            "a subset": deployment.launch(ui, *tiny[:2]),
            "all assets": deployment.launch(ui, *tiny),
            "launchpad": deployment.launch(
                "tiny", config={"execution": {"config": {"workers": 1}}}, tags={"by": "hand"}
            ),
        }
        runs["backfill"] = deployment.backfill(DAYS, ["daily", "day"], ["daily", "seen"])
        deployment.start_daemon()
        typed = {
            "dg launch": deployment.start("dg", "launch", "--job", "tiny"),
            "aetherscript run": deployment.start("aetherscript", "run", "tiny.aether.yaml"),
        }
        journal = stack.enter_context(
            Journal.open(f"sqlite:///{deployment.home / 'aether_journal.db'}")
        )
        team = Team(deployment, instance, journal, runs)
        for name, process in typed.items():
            assert process.wait(LIMIT) == 0, (folder / f"{name.split()[0]}.log").read_text()
        (told,) = set(_UUID.findall((folder / "dg.log").read_text()))
        (executed,) = set(_PIPELINE.findall((folder / "aetherscript.log").read_text()))
        runs["dg launch"] = told
        runs["aetherscript run"] = journal.record(executed).run_id
        # Its cause is mended, and what failed is run again.
        team.record(runs["flaky"], "flaky")
        deployment.wait_until(lambda: team.has_failed(runs["flaky"]), "Dagster's word of it")
        (folder / "fixed").touch()
        runs["from failure"] = deployment.reexecute(runs["flaky"])
        runs["schedule"], runs["sensor"] = (
            team.tagged("started", how)[0] for how in ("schedule", "sensor")
        )
        yield team


WAYS = [
    "all assets",
    "launchpad",
    "schedule",
    "sensor",
    "dg launch",
    "in-process executor",
]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_start_a_whole_run_leaves_the_state_of_the_command_line(
    team: Team, way: str
) -> None:
    expected = team.state(team.runs["aetherscript run"])
    assert [node["status"] for node in expected["nodes"].values()] == ["succeeded"] * 3
    assert alike(team.state(team.runs[way])) == alike(expected)
    assert team.record(team.runs[way]).status == "succeeded"


@pytest.mark.soak
@pytest.mark.parametrize("job", ["multiprocess", "wrapped"])
def test_an_executor_which_runs_each_step_in_a_process_of_its_own_does_too(
    team: Team, job: str
) -> None:
    run_id = team.deployment.launch(job, config={"execution": {"config": {"max_concurrent": 2}}})
    expected = team.state(team.runs["aetherscript run"])
    assert alike(team.state(run_id)) == alike(expected)


@pytest.mark.parametrize(("way", "steps"), [("one asset", ALL[:1]), ("a subset", ALL[:2])])
def test_a_run_of_some_assets_leaves_their_part_of_it(
    team: Team, way: str, steps: tuple[str, ...]
) -> None:
    expected = team.state(team.runs["aetherscript run"])
    assert alike(team.state(team.runs[way])) == alike(expected, *steps)


def test_a_backfill_of_ten_partitions_gives_ten_executions(team: Team) -> None:
    states: dict[str | None, dict[str, Any]] = {}
    runs = team.tagged("dagster/backfill", team.runs["backfill"])
    team.deployment.wait_until(
        lambda: len(team.tagged("dagster/backfill", team.runs["backfill"])) == len(DAYS), "10 runs"
    )
    runs = team.tagged("dagster/backfill", team.runs["backfill"])
    for run_id in runs:
        states[team.record(run_id, "daily").partition] = team.state(run_id, "daily")
    assert sorted(filter(None, states)) == DAYS
    assert len({state["pipeline"]["id"] for state in states.values()}) == len(DAYS)
    for day, state in states.items():
        assert state["nodes"]["seen"]["output_payload"] == [f"it is {day}"]
        changed = alike(state).replace(str(day).encode(), b"day-0")
        assert changed == alike(states["day-0"])


def test_a_run_again_from_its_failure_ends_as_if_it_had_not_failed(team: Team) -> None:
    failed = team.state(team.runs["flaky"], "flaky")
    assert [node["status"] for node in failed["nodes"].values()] == [
        "succeeded",
        "failed",
        "pending",
    ]
    again = team.state(team.runs["from failure"], "flaky")
    assert {name: again["nodes"][name]["status"] for name in ("fixed", "after")} == {
        "fixed": "succeeded",
        "after": "succeeded",
    }
    assert again["nodes"]["after"]["output_payload"] == ["made once"]
    assert again["pipeline"]["id"] != failed["pipeline"]["id"]


def test_an_automation_condition_materializes_what_is_missing(team: Team) -> None:
    (run_id,) = team.tagged("dagster/from_automation_condition", "true")[:1]
    state = team.state(run_id, "automatic")
    assert all(node["status"] == "succeeded" for node in state["nodes"].values())


def test_runs_are_tagged_with_their_execution(team: Team) -> None:
    for way in ("all assets", "launchpad", "dg launch", "aetherscript run"):
        record = team.record(team.runs[way])
        run = team.instance.get_run_by_id(team.runs[way])
        assert run is not None
        assert run.tags["aether/tiny.id"] == record.pipeline_id
        assert run.tags["aether/tiny.config_hash"] == record.config_hash
        assert run.tags["aether/tiny.history_head"]


@pytest.mark.browser
def test_a_click_on_from_failure_leaves_what_resume_leaves(team: Team) -> None:
    pytest.importorskip("playwright", reason="needs the package playwright")
    if chromium() is None:
        pytest.skip("needs a Chromium: apt-get install chromium, or set CHROMIUM to its path")
    failed = team.record(team.runs["flaky"], "flaky")
    words = ("run", "flaky.aether.yaml", "--quiet", "--resume", failed.pipeline_id)
    typed = team.deployment.start("aetherscript", *words)
    clicked = from_failure(team.deployment, failed.run_id)
    assert typed.wait(LIMIT) == 0, (team.deployment.folder / "aetherscript.log").read_text()
    (resumed,) = (
        record.run_id
        for record in team.journal.executions(pipeline="flaky")
        if record.resumed_from == failed.pipeline_id
        and record.run_id not in (clicked, team.runs["from failure"])
    )
    for run_id in (clicked, resumed):
        state, begun = team.state(run_id, "flaky"), team.init(run_id, "flaky")
        assert team.record(run_id, "flaky").resumed_from == failed.pipeline_id
        assert {name: node["status"] for name, node in begun["nodes"].items()} == {
            "before": "succeeded",
            "fixed": "pending",
            "after": "pending",
        }
        assert [node["status"] for node in state["nodes"].values()] == ["succeeded"] * 3
    assert alike(team.init(clicked, "flaky")) == alike(team.init(resumed, "flaky"))
    assert alike(team.state(clicked, "flaky")) == alike(team.state(resumed, "flaky"))


def from_failure(deployment: Deployment, run_id: str) -> str:
    """Re-executes a failed run from its page; returns the id of the new one."""
    with browsing() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        page.set_default_timeout(240_000)
        page.goto(f"{deployment.url}/runs/{run_id}")
        # The arrow at its right has no name.
        again = page.get_by_role("button", name="Re-execute all")
        again.locator("xpath=following::button[1]").click()
        with page.expect_response(launches) as launched:
            page.get_by_role("menuitem", name="From failure").click()
        (answer,) = launched.value.json()["data"].values()
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["id"])
