import json
from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Completed
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
