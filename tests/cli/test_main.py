import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aether_dagster.cli.main import COMMANDS
from tests.cli.conftest import COMMAND, Completed, cpu_seconds_of_children, environment
from tests.cli.documents import DIAMOND, write

Command = Callable[..., Completed]

_LIST_MODULES = (
    "import json, sys\n"
    "from aether_dagster.cli.main import main\n"
    "status = main(json.loads(sys.argv[1]))\n"
    "print(json.dumps([int(status), *sorted(sys.modules)]), file=sys.stderr)\n"
)

LIGHT = [
    ["--help"],
    ["--version"],
    ["run", "--help"],
    ["run", "--dry-run"],
    ["validate", "diamond.aether.yaml"],
    ["schema"],
    ["plan"],
    ["init", "new"],
    ["history", "list", "."],
]


@pytest.mark.parametrize("arguments", LIGHT, ids=" ".join)
def test_what_needs_no_dagster_imports_none_and_answers_in_a_fraction_of_a_second(
    arguments: list[str], folder: Path
) -> None:
    write(folder, "diamond.aether.yaml", DIAMOND)
    completed = subprocess.run(
        [sys.executable, "-c", _LIST_MODULES, json.dumps(arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    status, *modules = json.loads(completed.stderr.splitlines()[-1])
    assert status == 0, completed.stderr
    heavy = {"dagster", "sqlalchemy", "polars", "pandas", "duckdb"}
    assert heavy.isdisjoint(name.partition(".")[0] for name in modules)


def test_help_validate_and_plan_answer_in_a_fraction_of_a_second(
    aetherscript: Command, folder: Path
) -> None:
    write(folder, "diamond.aether.yaml", DIAMOND)
    for arguments in (["--help"], ["validate"], ["plan"]):
        took: list[float] = []
        for _ in range(3):
            began = cpu_seconds_of_children()
            aetherscript(*arguments)
            took.append(cpu_seconds_of_children() - began)
        # Importing Dagster alone takes longer; the processor's time, for a machine which is busy.
        assert min(took) < 1.0


def test_help_lists_every_command_and_the_exit_statuses(aetherscript: Command) -> None:
    page = aetherscript("--help").stdout
    for command in COMMANDS:
        assert f"\n  {command} " in page
    assert "130 interrupted" in " ".join(page.split())


def test_the_version_is_told(aetherscript: Command) -> None:
    completed = aetherscript("--version")
    assert completed.stdout.startswith("aetherscript ")
    assert completed.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum"], "No such command 'rum'"),
        (["run", "--wrokers", "2"], "No such option '--wrokers'"),
        (["run", "--workers", "0"], "0 is not in the range"),
        (["run", "--var", "GREETING"], "'GREETING' is not NAME=VALUE"),
        (["run", "--var", "A=1", "--var", "A=2"], "'A' is given twice"),
        (["run", "missing.aether.yaml"], "There is no file missing.aether.yaml."),
        (["run", "diamnd.aether.yaml"], "did you mean diamond.aether.yaml?"),
        (["run", "--select", "lod"], "did you mean 'load'?"),
        (["run", "--state-history-required"], "say where, with --state-history"),
        (["run", "--state-history="], "It is empty; name a folder or a URL"),
        (["plan", "--format", "svg"], "'svg' is not one of"),
        (["history", "show", "pipeline_01H3XYZ9"], "There is no folder 'executions' here"),
        (["history", "show", "nowhere"], "nowhere"),
        (["ui", "missing.aether.yaml"], "There is no file missing.aether.yaml."),
    ],
)
def test_wrong_input_gets_a_message_on_standard_error_and_exit_2(
    arguments: list[str], message: str, aetherscript: Command, folder: Path
) -> None:
    write(folder, "diamond.aether.yaml", DIAMOND)
    completed = aetherscript(*arguments)
    assert completed.returncode == 2
    assert message in completed.stderr
    assert completed.stdout == ""


def test_the_pipeline_may_be_left_out_where_there_is_one(
    aetherscript: Command, folder: Path
) -> None:
    none = aetherscript("plan")
    assert none.returncode == 2
    assert "This folder holds no pipeline" in none.stderr

    write(folder, "diamond.aether.yaml", DIAMOND)
    assert aetherscript("plan").stdout.startswith("diamond 1.2.3, 4 steps")

    write(folder, "other.aether.yaml", DIAMOND)
    two = aetherscript("plan")
    assert two.returncode == 2
    assert "diamond.aether.yaml, other.aether.yaml" in two.stderr


def test_a_missing_environment_variable_is_told_before_anything_runs(
    aetherscript: Command, folder: Path
) -> None:
    write(folder, "diamond.aether.yaml", DIAMOND.replace("GREETING: hello", 'GREETING: "${WHO}"'))
    missing = aetherscript("run", "--dry-run")
    assert missing.returncode == 2
    assert missing.stderr.startswith("diamond.aether.yaml:3:")
    assert "WHO" in missing.stderr
    assert aetherscript("run", "--dry-run", WHO="Ada").returncode == 0
    # What is only looked at may be meant for another machine.
    assert aetherscript("validate").returncode == 0


def test_an_unreadable_document_is_wrong_input(aetherscript: Command, folder: Path) -> None:
    (folder / "folder.aether.yaml").mkdir()
    completed = aetherscript("validate", "folder.aether.yaml/../../nothing/x.aether.yaml")
    assert completed.returncode == 2


def test_a_reader_which_goes_away_early_causes_no_traceback(folder: Path) -> None:
    write(folder, "diamond.aether.yaml", DIAMOND)
    with subprocess.Popen(
        [*COMMAND, "schema"], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
