import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from aether_dagster.cli.main import main
from aether_dagster.script.loader import MAX_BYTES
from tests.cli.conftest import PACKAGES, Completed
from tests.cli.documents import BROKEN, DIAMOND, write

Command = Callable[..., Completed]


def test_a_valid_document_is_told_with_its_size(aetherscript: Command, folder: Path) -> None:
    write(folder, "diamond.aether.yaml", DIAMOND)
    completed = aetherscript("validate", "diamond.aether.yaml")
    assert (completed.returncode, completed.stderr) == (0, "")
    assert completed.stdout == "diamond.aether.yaml: valid, 4 steps\n"


def test_every_error_of_every_document_is_told_with_its_place(
    aetherscript: Command, folder: Path
) -> None:
    write(folder, "a.aether.yaml", BROKEN)
    write(folder, "b.aether.yaml", DIAMOND)
    completed = aetherscript("validate")
    assert completed.returncode == 2
    assert completed.stdout == "b.aether.yaml: valid, 4 steps\n"
    type_error, reference_error = completed.stderr.splitlines()
    assert type_error.startswith("a.aether.yaml:6:")
    assert "core/echo" in type_error
    assert reference_error.startswith("a.aether.yaml:10:")
    assert "did you mean extract?" in reference_error


def test_json_tells_the_same_to_a_program(aetherscript: Command, folder: Path) -> None:
    write(folder, "a.aether.yaml", BROKEN)
    write(folder, "b.aether.yaml", DIAMOND)
    completed = aetherscript("validate", "--json", "a.aether.yaml", "b.aether.yaml")
    assert completed.returncode == 2
    told = json.loads(completed.stdout)
    assert told["valid"] is False
    broken, valid = told["documents"]
    assert [(p["line"], p["suggestion"]) for p in broken["problems"]] == [
        (6, "core/echo"),
        (10, "extract"),
    ]
    assert (valid["name"], valid["version"], valid["steps"]) == ("diamond", "1.2.3", 4)
    assert len(valid["config_hash"]) == 15


def test_a_variable_of_the_command_line_is_checked_too(aetherscript: Command, folder: Path) -> None:
    write(folder, "diamond.aether.yaml", DIAMOND)
    assert aetherscript("validate", "--var", "GREETING=x=y").returncode == 0
    wrong = aetherscript("validate", "--var", "GREETNG=x")
    assert wrong.returncode == 2
    assert "GREETING" in wrong.stderr


WATCHING = """\
print("pydantic is watched")

def new_schema_validator(*_):
    return None, None, None
"""


def test_no_plugin_of_pydantic_is_looked_for_on_behalf_of_a_document(
    aetherscript: Command, folder: Path
) -> None:
    installed = folder / "installed"
    (installed / "watching-1.0.dist-info").mkdir(parents=True)
    write(folder, "installed/watching.py", WATCHING)
    metadata = "Metadata-Version: 2.1\nName: watching\nVersion: 1.0\n"
    write(folder, "installed/watching-1.0.dist-info/METADATA", metadata)
    points = "[pydantic]\nwatching = watching\n"
    write(folder, "installed/watching-1.0.dist-info/entry_points.txt", points)
    write(folder, "p.aether.yaml", DIAMOND)
    environ = {"PYTHONPATH": os.pathsep.join((PACKAGES, str(installed)))}
    assert "watched" not in aetherscript("validate", **environ).stdout


DOCUMENTS = Path(__file__).parents[1] / "documents" / "broken"
# It is right where the variable is set; only a run needs it here.
BROKEN_HERE = sorted(
    path for path in DOCUMENTS.glob("*.aether.yaml") if "missing-environment" not in path.name
)
BOMBS = {
    "nested": "a: " + "[" * 50_000 + "]" * 50_000,
    "repeated": "\n".join(
        [
            "a0: &a0 [x, x]",
            *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)),
        ]
    ),
}


@pytest.mark.parametrize("document", BROKEN_HERE, ids=lambda path: path.name.partition(".")[0])
def test_a_broken_document_is_a_line_for_each_error_and_exit_2(
    document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", str(document)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()
    for line in told.err.splitlines():
        assert re.match(rf"{re.escape(str(document))}:[1-9]\d*:[1-9]\d*: \S", line), line


@pytest.mark.parametrize("name", ["large", *BOMBS])
def test_a_document_which_would_fill_the_memory_is_one_line_and_exit_2(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(folder, f"{name}.aether.yaml", BOMBS.get(name, "# "))
    if name == "large":
        os.truncate(file, 2 * MAX_BYTES)
    assert main(["run", file.name]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(rf"{name}\.aether\.yaml:\d+:\d+: The document .*\n", told.err)
