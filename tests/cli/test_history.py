import json
from pathlib import Path
from typing import Any

import pytest

from aether_dagster.cli.main import main
from aether_dagster.snapshot import HistoryStore, Projection, folder_name
from aether_dagster.snapshot.local import LocalFolders
from tests.cli.executions import PIPELINE_ID, START, Execution

FOLDER = "2023-07-20_180903_pipeline_01H3XYZ9"
TRACEBACK = (
    'Traceback (most recent call last):\n  File "jobs.py", line 7, in inner\nValueError: no\n'
)
REPORT = {
    "status": "failed",
    "end_timestamp": START + 4.2,
    "duration": 4.2,
    "nodes": {"pending": 1, "succeeded": 1, "failed": 1},
    "retries": 1,
    "failed": ["transform_csv"],
    "version": 9,
}


def record(url: str, *, ended: bool = True) -> None:
    """Writes the history of an execution, as a run does."""
    execution = Execution("extract", "transform_csv", "load")
    changes = [
        execution.initialize(),
        execution.start("extract"),
        execution.succeed("extract"),
        execution.start("transform_csv"),
        execution.fail("transform_csv", status="retrying"),
        execution.start("transform_csv", 2),
    ]
    if ended:
        changes += [
            execution.fail("transform_csv", 2, message="no", traceback=TRACEBACK),
            execution.skip("load", "transform_csv"),
            execution.commit(report=REPORT),
        ]
    store, projection = HistoryStore(url), Projection()
    folder = folder_name(START, PIPELINE_ID)
    store.create(folder)
    for change in changes:
        for file in projection.fold(change.version.number, change.version.deltas):
            store.write(folder, file.name, file.data)


def command(*arguments: str, status: int = 0) -> None:
    assert main(arguments) == status


Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("url", ["./executions/", "memory://team/executions"])
def test_list_has_a_line_for_each_execution(url: str, folder: Path, capsys: Capture) -> None:
    record(url)
    command("history", "list", url)
    heading, line = capsys.readouterr().out.splitlines()
    assert heading.split() == [
        *("STARTED", "EXECUTION", "VERSION", "STATUS", "DURATION", "SIZE", "NODES")
    ]
    started, size = line.split(maxsplit=8)[:6], line.split(maxsplit=8)[6:8]
    assert size[1] == "kB"
    assert [*started, line.split(maxsplit=8)[8]] == [
        "2023-07-20T18:09:03Z",
        PIPELINE_ID,
        "2.1.0",
        "failed",
        *("4.20", "s"),
        "1 succeeded, 1 failed, 1 pending",
    ]


def test_list_opens_the_newest_alone_unless_all_are_asked_for(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"2023-07-20_18{i // 60:02}{i % 60:02}_pipeline_0000{i:04}" for i in range(60)]
    for name in names:
        (folder / "executions" / name).mkdir(parents=True)
    looked: list[str] = []
    sizes = LocalFolders.sizes
    monkeypatch.setattr(
        LocalFolders, "sizes", lambda self, name: looked.append(name) or sizes(self, name)
    )
    for options, count in ((["--limit", "3"], 3), ([], 50), (["--all"], 60)):
        looked.clear()
        command("history", "list", *options)
        printed = capsys.readouterr()
        assert looked == names[::-1][:count]
        assert len(printed.out.splitlines()) == 1 + count
        told = f"{60 - count} older ones are not listed" in printed.err
        assert told == (count < 60)


@pytest.mark.parametrize("url", ["executions", "memory://team/shown"])
def test_show_tells_the_nodes_and_then_what_failed(url: str, folder: Path, capsys: Capture) -> None:
    record(url)
    pages: list[str] = []
    for named in (
        [PIPELINE_ID, "--state-history", url],
        ["--state-history", url],
        [f"{url}/{FOLDER}"],
    ):
        command("history", "show", *named)
        pages.append(capsys.readouterr().out)
    assert pages[0] == pages[1] == pages[2]
    assert "\x1b" not in pages[0], "no colours where there is no terminal"
    first, _, history, _, heading, *lines = pages[0].splitlines()
    assert first == f"failed  {PIPELINE_ID}  1 succeeded, 1 failed, 1 pending  in 4.20 s"
    assert history == f"history  {url}/{FOLDER}"
    assert heading.split() == ["NODE", "STATUS", "ATTEMPTS", "TIME"]
    assert [line.split() for line in lines[:3]] == [
        ["extract", "succeeded", "1", "0.87", "s"],
        ["transform_csv", "failed", "2", "0.10", "s"],
        ["load", "pending", "0"],
    ]
    assert lines[4:] == [
        "failed  transform_csv  attempt 2  ValueError: no",
        *(f"    {line}" for line in TRACEBACK.splitlines()),
        "Not run",
        "  load: UpstreamFailed: transform_csv failed",
    ]


def test_an_unfinished_execution_is_shown_as_far_as_its_files_go(
    folder: Path, capsys: Capture
) -> None:
    record("executions", ended=False)
    command("history", "list")
    listed = capsys.readouterr()
    assert "unfinished" in listed.out
    assert listed.err.startswith("1 execution, ")
    command("history", "show")
    page = capsys.readouterr().out
    assert page.startswith(f"unfinished  {PIPELINE_ID}\n")
    assert [line.split()[:3] for line in page.splitlines()[5:8]] == [
        ["extract", "succeeded", "1"],
        ["transform_csv", "retrying", "1"],
        ["load", "pending", "0"],
    ]


def test_json_gives_what_the_files_hold(folder: Path, capsys: Capture) -> None:
    record("executions")
    command("history", "list", "--json")
    (listed,) = json.loads(capsys.readouterr().out)
    assert listed == {
        "execution": PIPELINE_ID,
        "folder": FOLDER,
        "version": "2.1.0",
        "start_timestamp": START,
        "config_hash": "e3b0c44298fc1cd",
        "status": "failed",
        "duration": 4.2,
        "nodes": REPORT["nodes"],
        "sealed": False,
        "files": 7,
        "bytes": sum(file.stat().st_size for file in (folder / "executions" / FOLDER).iterdir()),
    }
    command("history", "show", "--json")
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    files = folder / "executions" / FOLDER
    assert shown["final"] == json.loads((files / "state_final.json").read_text())
    assert shown["init"] == json.loads((files / "state_init.json").read_text())
    assert [attempt["status"] for attempt in shown["attempts"]["transform_csv"]] == [
        "retrying",
        "failed",
    ]


def test_the_environment_says_where_the_history_lies(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    record("elsewhere")
    monkeypatch.setenv("AETHERSCRIPT_STATE_HISTORY", "elsewhere")
    command("history", "list")
    assert PIPELINE_ID in capsys.readouterr().out
    command("history", "show")
    assert f"history  elsewhere/{FOLDER}" in capsys.readouterr().out


def test_what_is_not_there_or_damaged_is_told(folder: Path, capsys: Capture) -> None:
    record("executions")
    command("history", "show", "pipeline_01H3XYZA", status=2)
    assert "holds no execution pipeline_01H3XYZA" in capsys.readouterr().err
    (folder / "executions" / FOLDER / "state_final.json").write_text("{")
    command("history", "show", status=2)
    assert "state_final.json is damaged" in capsys.readouterr().err
    other = folder / "executions" / "2024-01-01_000000_pipeline_01H3XYZA"
    other.mkdir()
    command("history", "list", status=2)
    captured = capsys.readouterr()
    assert "state_final.json is damaged" in captured.err
    assert "pipeline_01H3XYZA" in captured.out, "one damaged execution does not hide the others"


def test_an_empty_history_says_so(folder: Path, capsys: Capture) -> None:
    (folder / "executions").mkdir()
    command("history", "list")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "No executions in executions." in captured.err
    command("history", "list", "--json")
    assert json.loads(capsys.readouterr().out) == []
