"""AetherPipelineComponent in a project, as `dg` sees it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from aether_dagster import AetherPipelineComponent

PROJECT = """
[project]
name = "team"
version = "0"
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "team"
code_location_target_module = "team.definitions"
[tool.dg.cli.telemetry]
enabled = false
"""
DEFINITIONS = """
from pathlib import Path
import dagster as dg

@dg.definitions
def defs():
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A team's project with one component, made by `dg scaffold defs`."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "team" / "defs").mkdir(parents=True)
    (folder / "team" / "__init__.py").touch()
    (folder / "team" / "definitions.py").write_text(DEFINITIONS)
    (folder / "team" / "defs" / "__init__.py").touch()
    (folder / "home").mkdir()
    (folder / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    component = "aether_dagster.AetherPipelineComponent"
    scaffolded = dg(folder, "scaffold", "defs", component, "nightly-load")
    assert scaffolded.returncode == 0, scaffolded.stderr
    return folder


def dg(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs `dg` in a project, without an instance of ours or the caller's."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("AETHERSCRIPT_")}
    environ["DAGSTER_HOME"] = str(folder / "home")
    environ["COLUMNS"] = "200"
    command = Path(sys.executable).parent / "dg"
    return subprocess.run(
        [command, *arguments], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )


def component(project: Path) -> Path:
    return project / "team" / "defs" / "nightly-load"


def test_dg_lists_the_component(project: Path) -> None:
    listed = dg(project, "list", "components", "--json")
    assert "aether_dagster.AetherPipelineComponent" in listed.stdout


def test_what_was_scaffolded_passes_its_checks_and_runs(project: Path) -> None:
    names = sorted(path.name for path in component(project).iterdir())
    assert names == ["defs.yaml", "nightly-load.aether.yaml"]
    checked = dg(project, "check", "defs")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    launched = dg(project, "launch", "--job", "nightly_load")
    assert launched.returncode == 0, launched.stderr
    assert "The average is 3.8" in launched.stdout + launched.stderr


def test_dg_shows_a_documents_problems_with_file_line_and_column(project: Path) -> None:
    document = component(project) / "nightly-load.aether.yaml"
    good = document.read_text()
    document.write_text(
        good.replace("python/call", "python/cal").replace("steps.numb", "steps.nub")
    )
    try:
        checked = dg(project, "check", "defs")
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
