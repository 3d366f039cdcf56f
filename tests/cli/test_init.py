import json
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml

from aether_dagster.cli.main import main
from tests.cli.conftest import Completed

Command = Callable[..., Completed]


def test_the_starter_is_valid_and_runs_to_its_report(aetherscript: Command, folder: Path) -> None:
    made = aetherscript("init", "my project")
    assert made.returncode == 0
    assert "cd 'my project' && aetherscript run --state-history=./executions/" in made.stdout
    project = folder / "my project"

    document = (project / "starter.aether.yaml").read_text()
    first_line = document.splitlines()[0]
    assert first_line == "# yaml-language-server: $schema=./aetherscript-2.1.schema.json"
    schema = json.loads((project / "aetherscript-2.1.schema.json").read_text())
    jsonschema.validate(yaml.safe_load(document), schema)

    ran = aetherscript("run", str(project), "--state-history", "executions")
    assert ran.returncode == 0, ran.stdout
    assert (project / "report.txt").read_text().split() == [
        *("Edsger", "300.00"),
        *("Ada", "140.40"),
        *("Grace", "125.25"),
    ]
    (execution,) = (folder / "executions").iterdir()
    final = json.loads((execution / "state_final.json").read_text())
    assert final["context"]["artifacts"] == {"report": str(project / "report.txt")}


def test_nothing_is_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "README.md").write_text("mine")
    assert main(["init"]) == 2
    assert "README.md already" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["README.md"]
    assert (folder / "README.md").read_text() == "mine"


def test_the_schema_command_prints_the_shipped_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "new"]) == 0
    capsys.readouterr()
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    assert printed == (folder / "new" / "aetherscript-2.1.schema.json").read_text()
    assert json.loads(printed)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
