"""AetherPipelineComponent in a project, as `dg` sees it."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from aether_dagster import AetherPipelineComponent, Step
from aether_dagster.journal import Journal
from aether_dagster.script import Document
from tests.orchestration.deployment import LIMIT, PATIENT, free_port, launches
from tests.orchestration.pipelines import specs, write
from tests.page.conftest import browsing, chromium


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A team's new project, as Dagster makes it, with one component."""
    parent = tmp_path_factory.mktemp("projects")
    (parent / "home").mkdir()
    # Not beside the project: it would make a workspace of the folder.
    (parent / "home" / "dg.toml").write_text("[cli.telemetry]\nenabled = false\n")
    (parent / "home" / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\nnux: {enabled: false}\n"
    )
    folder = parent / "shop"
    created = command(folder, "project", "--no-uv-sync", "shop", program="create-dagster")
    assert created.returncode == 0, created.stderr
    # Beside the product as it is installed here; `uv sync` would fetch all of Dagster anew.
    scaffolded = command(
        folder, "scaffold", "defs", "aether_dagster.AetherPipelineComponent", "nightly-load"
    )
    assert scaffolded.returncode == 0, scaffolded.stderr
    return folder


def environment(folder: Path) -> dict[str, str]:
    """Of a process in a project, without an instance of ours or the caller's."""
    others = ("AETHERSCRIPT_", "DAGSTER_")
    environ = {name: text for name, text in os.environ.items() if not name.startswith(others)}
    return environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", "")]),
        "PYTHONPATH": str(folder / "src"),
        "DAGSTER_HOME": str(folder.parent / "home"),
        "DG_CLI_CONFIG": str(folder.parent / "home" / "dg.toml"),
        "COLUMNS": "200",
        **PATIENT,
    }


def command(
    folder: Path, *arguments: str, program: str = "dg"
) -> "subprocess.CompletedProcess[str]":
    """Runs `dg`, or another program, in a project; or beside it, before it is there."""
    return subprocess.run(
        [Path(sys.executable).parent / program, *arguments],
        cwd=folder if folder.exists() else folder.parent,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )


def component(project: Path) -> Path:
    return project / "src" / "shop" / "defs" / "nightly-load"


def test_dg_lists_the_component(project: Path) -> None:
    listed = command(project, "list", "components", "--json")
    assert "aether_dagster.AetherPipelineComponent" in listed.stdout


def test_what_was_scaffolded_passes_its_checks(project: Path) -> None:
    names = sorted(path.name for path in component(project).iterdir())
    assert names == ["defs.yaml", "nightly-load.aether.yaml"]
    checked = command(project, "check", "defs")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.browser
@pytest.mark.timeout(900)
def test_dg_dev_shows_it_and_a_browser_runs_it(project: Path) -> None:
    pytest.importorskip("playwright", reason="needs the package playwright")
    if chromium() is None:
        pytest.skip("needs a Chromium: apt-get install chromium, or set CHROMIUM to its path")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (project.parent / "dev.log").open("wb") as log:
        server = subprocess.Popen(
            [Path(sys.executable).parent / "dg", "dev", "--host", "127.0.0.1", "--port", str(port)],
            cwd=project,
            env=environment(project),
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: answers(url), project.parent / "dev.log")
        with browsing() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            page.set_default_timeout(240_000)
            page.goto(f"{url}/locations/shop/asset-groups/nightly_load/lineage")
            with page.expect_response(launches):
                page.get_by_role("button", name="Materialize all").click()
            page.goto(f"{url}/runs")
            page.get_by_text("Success", exact=True).first.wait_for()
            page.goto(f"{url}/assets/nightly_load/report?view=events")
            page.get_by_text("The average is 3.8").first.wait_for()
            page.get_by_text("aether/execution_time").first.wait_for()
        # The project's own executor ran it, which is not ours: the sensor writes the end.
        wait_until(lambda: _ended_of(project)[1] is not None, project.parent / "dev.log")
    finally:
        # Its own processes end with it: the webserver, the daemon and the code location.
        server.send_signal(signal.SIGINT)
        server.wait(120)
    state, status = _ended_of(project)
    assert status == "succeeded"
    assert {name: node["status"] for name, node in state["nodes"].items()} == {
        "numbers": "succeeded",
        "average": "succeeded",
        "report": "succeeded",
    }


def _ended_of(project: Path) -> tuple[dict[str, Any], str | None]:
    """The state of the project's only execution, and its status once it was finalized."""
    with Journal.open(f"sqlite:///{project.parent}/home/aether_journal.db") as journal:
        (record,) = journal.executions()
        record = journal.record(record.pipeline_id)
        status = None if record.finalized is None else record.status
        return journal.state(record.pipeline_id), status


def answers(url: str) -> bool:
    """Whether a webserver is there."""
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=30) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def wait_until(met: Callable[[], bool], log: Path) -> None:
    """Waits for a server; tells what it printed if it never comes."""
    give_up = time.monotonic() + LIMIT
    while not met():
        assert time.monotonic() < give_up, log.read_text()
        time.sleep(0.3)


def test_dg_shows_a_documents_problems_with_file_line_and_column(project: Path) -> None:
    document = component(project) / "nightly-load.aether.yaml"
    good = document.read_text()
    document.write_text(
        good.replace("python/call", "python/cal").replace("steps.numb", "steps.nub")
    )
    try:
        checked = command(project, "check", "defs")
    finally:
        document.write_text(good)
    lines = good.splitlines()
    typed = next(n for n, line in enumerate(lines, 1) if "python/call" in line)
    referred = next(n for n, line in enumerate(lines, 1) if "steps.numbers" in line)
    said = checked.stdout + checked.stderr
    assert checked.returncode == 1
    assert f"nightly-load.aether.yaml:{typed}:11: " in said
    assert "did you mean python/call?" in said
    assert f"nightly-load.aether.yaml:{referred}:13: " in said
    assert "there is no step 'nubers'" in said


def test_a_setting_which_there_is_not_is_refused() -> None:
    attributes = {"pipeline": "x.aether.yaml", "settings": {"jornal": "x.db"}}
    with pytest.raises(ValidationError, match=r"settings\..*jornal"):
        AetherPipelineComponent.from_attributes_dict(attributes=attributes)


def built(tmp_path: Path, **attributes: object) -> dg.Definitions:
    """The definitions of a component, as its `defs.yaml` with these attributes gives them."""
    given = {"pipeline": str(write(tmp_path)), **attributes}
    component = AetherPipelineComponent.from_attributes_dict(attributes=given)
    return dg.build_defs_for_component(component)


def test_translation_changes_what_assets_are_by_templates(tmp_path: Path) -> None:
    translation = {
        "key": "finance/{{ pipeline }}/{{ step.id }}",
        "group_name": "{{ document.pipeline.metadata.labels.criticality }}",
        "tags": {"retries": "{{ step.retries }}"},
        "automation_condition": "{{ automation_condition.eager() }}",
        "deps": ["raw/orders"],
    }
    found = specs(built(tmp_path, translation=translation))
    assert sorted(found) == [
        "finance/tiny-one/first",
        "finance/tiny-one/second-step",
        "finance/tiny-one/third",
        "raw/orders",
    ]
    spec = found["finance/tiny-one/second-step"]
    assert (spec.group_name, spec.tags["retries"]) == ("high", "2")
    assert spec.automation_condition == dg.AutomationCondition.eager()
    assert {dep.asset_key.to_user_string() for dep in spec.deps} == {
        "finance/tiny-one/first",
        "raw/orders",
    }
    assert spec.metadata["aether/step"] == "second-step"
    assert "aetherscript" in spec.kinds


def test_partitions_are_declared_for_all_steps_or_by_translation(tmp_path: Path) -> None:
    daily = {"type": "daily", "start_date": "2024-05-01"}
    for attributes in ({"partitions_def": daily}, {"translation": {"partitions_def": daily}}):
        definitions = built(tmp_path, **attributes)
        job = definitions.resolve_job_def("tiny_one")
        assert job.partitions_def == dg.DailyPartitionsDefinition("2024-05-01")
    static = {"type": "static", "partition_keys": ["a", "b"]}
    ops = built(tmp_path, partitions_def=static, as_ops=True).resolve_job_def("tiny_one")
    assert ops.partitions_def == dg.StaticPartitionsDefinition(["a", "b"])


class Finance(AetherPipelineComponent):
    """A team's own."""

    region: str = "eu"

    def get_asset_spec(self, document: Document, step: Step) -> dg.AssetSpec:
        spec = super().get_asset_spec(document, step)
        return spec.replace_attributes(group_name=f"finance_{self.region}")


def test_a_subclass_overrides_specs_and_adds_attributes(tmp_path: Path) -> None:
    attributes = {
        "pipeline": str(write(tmp_path)),
        "region": "us",
        "translation": {"description": "{{ spec.description or step.id }}"},
    }
    component = Finance.from_attributes_dict(attributes=attributes)
    found = specs(dg.build_defs_for_component(component))
    assert {spec.group_name for spec in found.values()} == {"finance_us"}
    assert found["tiny_one/first"].description == "Say two numbers"
    assert found["tiny_one/third"].description == "third"
