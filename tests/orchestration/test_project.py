"""This repository's own code location, as `dg` sees it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from resources import resources_for

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AETHERSCRIPT_")}
    return {**kept, "DAGSTER_HOME": str(tmp_path), "COLUMNS": "200"}


def dg(environ: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = Path(sys.executable).parent / "dg"
    return subprocess.run(
        [command, *arguments], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )


def test_its_definitions_pass_their_checks(environ: dict[str, str]) -> None:
    checked = dg(environ, "check", "defs")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_asset_says_what_it_is_whose_it_is_and_where_it_stands(
    environ: dict[str, str],
) -> None:
    listed = dg(environ, "list", "defs", "--json")
    assert listed.returncode == 0, listed.stderr
    assets = {asset["asset_key"]: asset for asset in json.loads(listed.stdout)["assets"]}
    first, second = assets["earthquakes/extract"], assets["earthquakes/transform_csv"]
    assert second["dependency_keys"] == [first["asset_key"]]
    assert set(second["kinds"]) == {"aetherscript", "python"}
    assert second["group_name"] == "earthquakes"
    for asset in assets.values():
        assert asset["description"]
        assert asset["owners"]
        assert "aetherscript" in asset["kinds"]
        assert ".aether.yaml:" in asset["source"]


def test_an_unknown_deployment_is_told_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"DEPLOYMENT='mars'; .* knows local"):
        resources_for("mars")


def test_the_workspace_file_names_the_code_location() -> None:
    (location,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert location["python_module"]["module_name"] == "definitions"
    assert (ROOT / "definitions" / "__init__.py").exists()


def test_the_state_logger_is_the_users_document_and_no_dagster_hook() -> None:
    text = (ROOT / "hooks" / "state_logger.py").read_text(encoding="utf-8")
    first, _, code = text.partition("\n")
    assert first.startswith("#")
    assert "**not** Dagster op hooks" in first
    assert (
        code
        == """from aethersdk import StateHook

class StateLogger(StateHook):
    def post_node_execute(self, node_id, previous_state, current_state):
        if previous_state.status != current_state.status:
            self.logger.info(
                f"Node {node_id} transitioned: "
                f"{previous_state.status} → {current_state.status}"
            )
"""
    )
