"""`aetherscript history prune`: what it deletes, what it leaves, and what is freed."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from aether_dagster.cli.main import main
from aether_dagster.journal import Journal
from tests.cli.histories import keep
from tests.journal.builders import initialization, report, reserve

pytestmark = pytest.mark.usefixtures("journal_in_a_file")
Capture = pytest.CaptureFixture[str]


def history(*arguments: str, status: int = 0) -> None:
    assert main(["history", *arguments]) == status


def as_json(capsys: Capture, *arguments: str) -> Any:
    capsys.readouterr()
    history(*arguments, "--json")
    return json.loads(capsys.readouterr().out)


def test_prune_keeps_the_young_and_the_newest_and_the_unfinished(
    folder: Path, capsys: Capture
) -> None:
    now = time.time()
    day = 86_400
    kept = [keep("executions", start=now - age * day).folder for age in (50, 40, 30, 20, 10)]
    unfinished = keep("executions", start=now - 60 * day, ended=False).folder
    would = as_json(capsys, "prune", "--keep", "15d", "--keep-last", "2", "--dry-run")
    assert [item["folder"] for item in would] == kept[:3]
    assert all(item["files"] == 7 and item["bytes"] > 0 for item in would)
    assert len(list(Path("executions").iterdir())) == 6
    history("prune", "--keep", "15d", "--keep-last", "2")
    left = {path.name for path in Path("executions").iterdir()}
    assert left == {unfinished, *kept[3:]}
    capsys.readouterr()
    assert main(["history", "verify", "--no-dagster"]) == 4, "the unfinished one, and no other"
    history("prune", "--keep-last", "0")
    assert {path.name for path in Path("executions").iterdir()} == {unfinished}


@pytest.mark.parametrize("wrong", [[], ["--keep", "soon"], ["--keep", "-3d"]])
def test_prune_must_be_told_what_to_keep(folder: Path, wrong: list[str]) -> None:
    keep("executions")
    history("prune", *wrong, status=2)
    assert len(list(Path("executions").iterdir())) == 1


def test_prune_works_behind_a_url(folder: Path, capsys: Capture) -> None:
    url = f"memory://prune-{folder.parent.name}/executions"
    keep(url)
    history("prune", url, "--keep-last", "0")
    assert as_json(capsys, "list", url) == []


def test_prune_frees_the_space_in_the_journal_too(folder: Path, capsys: Capture) -> None:
    now = time.time()
    old, young = (keep("executions", start=now - age * 86_400) for age in (50, 10))
    elsewhere = keep("other", start=now - 40 * 86_400)
    with Journal.open(".aether/aether_journal.db") as journal:
        size = journal.size(old.pipeline_id)
        would = as_json(capsys, "prune", "--keep", "30d", "--dry-run")
        assert [(item["folder"], item["journal_bytes"]) for item in would] == [(old.folder, size)]
        assert journal.size(old.pipeline_id) == size
        history("prune", "--keep", "30d")
        printed = capsys.readouterr()
        assert "in the journal" in printed.out
        assert printed.err.startswith("1 of 2 executions")
        left = {record.pipeline_id for record in journal.executions()}
        assert left == {elsewhere.pipeline_id, young.pipeline_id}
    assert main(["history", "verify", "--no-dagster"]) == 0, "nobody misses what was pruned"


def test_what_only_the_journal_has_is_pruned_when_asked_for(folder: Path, capsys: Capture) -> None:
    Path(".aether").mkdir()
    with Journal.open(".aether/aether_journal.db") as journal:
        names = ("ended", "held", "runs")
        made = [reserve(journal, name, now_ms=1_689_876_543_212).pipeline_id for name in names]
        for execution in made[:2]:
            journal.append(execution, [initialization(execution, "load"), report()])
        assert journal.acquire(made[1], "its keeper still writes its files", 60)
        assert main(["history", "prune", "--keep-last", "0"]) == 2, "there is no history"
        history("prune", "--keep-last", "0", "--without-history")
        assert capsys.readouterr().out.startswith(f"deleted  {made[0]}  0 B and ")
        assert [record.pipeline_id for record in journal.executions()] == [made[2], made[1]]
