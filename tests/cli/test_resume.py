from pathlib import Path

import pytest

from aether_dagster.cli.main import main
from aether_dagster.cli.resume import preview_lines, resuming_command
from aether_dagster.cli.run import run
from aether_dagster.crypto import Key
from aether_dagster.manager.resumption import ResumePlan
from aether_dagster.script import parse_document
from tests.cli.documents import DIAMOND, write

ID = "pipeline_01H3XYZ9"


def command(*words: str) -> str:
    with run.make_context("run", list(words)):
        return resuming_command(ID)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], ""),
        (["nightly.aether.yaml"], " nightly.aether.yaml"),
        (["my pipelines/n.aether.yaml"], " 'my pipelines/n.aether.yaml'"),
        (["--var", "DAY=2024-05-01", "--var", "N=a b"], " --var DAY=2024-05-01 --var 'N=a b'"),
        (["--workers", "4", "--quiet"], " --workers 4 --quiet"),
        (["--state-history=./x/"], " --state-history ./x/"),
        (["--select", "load+", "--vis", "--open"], ""),
        (["--state-encryption-key", "file:a.key"], " --state-encryption-key file:a.key"),
        (["--partition", "2024-05-01"], " --partition 2024-05-01"),
        (["--resume", "latest"], ""),
    ],
)
def test_the_command_which_resumes_has_the_options_of_the_run(words: list[str], said: str) -> None:
    assert command(*words) == f"aetherscript run{said} --resume {ID}"


def test_a_key_is_not_repeated() -> None:
    key = Key.generate().text()
    said = command("--state-encryption-key", key)
    assert key not in said
    assert said == f"aetherscript run --state-encryption-key KEY --resume {ID}"


def test_what_the_environment_says_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AETHERSCRIPT_STATE_HISTORY", "elsewhere")
    assert command() == f"aetherscript run --resume {ID}"


def test_a_preview_says_what_runs_why_and_what_is_reused() -> None:
    document = parse_document(DIAMOND, file="diamond.aether.yaml")
    plan = ResumePlan(ID, {"left": "failed", "load": "did not run"}, ("extract",), ())
    assert preview_lines(document, plan, ended=False) == [
        f"diamond 1.2.3, resuming {ID}: 2 to run, 1 reused",
        "It has not ended; if its process is dead, it is brought to its end first.",
        "",
        "   STEP     TYPE",
        "   extract  core/echo  reused",
        "1  left     core/echo  runs: failed",
        "2  load     core/echo  runs: did not run",
    ]


def test_where_nothing_ran_nothing_is_resumed(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    write(folder, "diamond.aether.yaml", DIAMOND)
    for more in ([], ["--dry-run"]):
        assert main(["run", "--resume", "latest", *more]) == 2
        error = capsys.readouterr().err
        assert error.startswith("Error: There is no .aether here, so nothing to resume:")
        assert len(error.splitlines()) == 1
    assert not (folder / ".aether").exists()
