"""Whole runs, each a process of its own; importing Dagster costs seconds, so they are few."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from aether_dagster.state import apply
from tests.cli.conftest import COMMAND, Completed, cpu_seconds_of_children, environment
from tests.cli.documents import BROKEN, DIAMOND, write

Command = Callable[..., Completed]

FAILING = """\
version: "2.1"
metadata: {name: nightly}
pipeline:
  steps:
    - id: talk
      type: python/call
      args: {callable: "jobs:talk"}
    - id: flaky
      type: python/call
      args: {callable: "jobs:flaky"}
      retries: 1
      retry: {delay: 0.1}
    - id: check
      type: python/call
      args: {callable: "jobs:check", rows: "${steps.flaky.output.rows}"}
    - id: load
      type: core/echo
      args: {message: "${steps.check.output}"}
"""

JOBS = """\
import subprocess, sys, time
from pathlib import Path

def talk():
    print("printed by a step")
    subprocess.run(["echo", "printed by a child"], check=True)
    return {"said": True}

def flaky(context):
    if context.attempt == 1:
        raise ConnectionError("not yet")
    return {"rows": 7}

def check(rows):
    return inner(rows)

def inner(rows):
    raise ValueError(f"only {rows} rows\\nexpected 8")

def nap():
    child = subprocess.Popen(["sleep", "60"])
    Path("child.pid").write_text(str(child.pid))
    child.wait()

def stubborn():
    Path("started").touch()
    while True:
        try:
            time.sleep(60)
        except BaseException:
            Path("refused").touch()
"""


def executions(folder: Path) -> list[Path]:
    return sorted((folder / "executions").iterdir())


def final_state(folder: Path) -> dict[str, Any]:
    (execution,) = executions(folder)
    return json.loads((execution / "state_final.json").read_text())


def test_a_run_followed_as_json_folds_to_the_state_on_disk_and_nothing_else_is_printed(
    aetherscript: Command, folder: Path
) -> None:
    write(
        folder,
        "diamond.aether.yaml",
        DIAMOND.replace("core/echo", "python/call", 1).replace(
            'args: {message: "${GREETING}"}', 'args: {callable: "jobs:talk"}'
        ),
    )
    write(folder, "jobs.py", JOBS)
    completed = aetherscript("run", "--json", "--state-history=./executions/", "--select", "+left")

    assert completed.returncode == 0, completed.stderr
    frames = [json.loads(line) for line in completed.stdout.splitlines()]
    assert frames[0]["update_mask"] == ["*"]
    members = ["event_type", "update_mask", "timestamp", "payload"]
    assert all(list(frame) == members for frame in frames)
    stamps = [frame["timestamp"] for frame in frames]
    assert stamps == sorted(set(stamps))
    state: dict[str, Any] = {}
    for frame in frames:
        state = apply(state, frame["update_mask"], frame["payload"])
    final = final_state(folder)
    assert final.pop("report")["status"] == "succeeded"
    assert state == final
    assert {name: node["status"] for name, node in state["nodes"].items()} == {
        "extract": "succeeded",
        "left": "succeeded",
    }
    # What steps print is theirs to print, but not among the messages.
    assert "printed by a step" in completed.stderr
    assert "printed by a child" in completed.stderr


def test_a_failed_run_says_in_plain_lines_what_failed_and_where_its_history_lies(
    aetherscript: Command, folder: Path
) -> None:
    write(folder, "nightly.aether.yaml", FAILING)
    write(folder, "jobs.py", JOBS)
    completed = aetherscript("run", AETHERSCRIPT_STATE_HISTORY="executions")

    assert completed.returncode == 1
    assert completed.stderr == "", "Dagster's own log does not reach the terminal"
    assert "\x1b" not in completed.stdout
    lines = completed.stdout.splitlines()
    changes = [line.split("  ", 1)[1] for line in lines if line[:2] == "20"]
    assert [change.split()[:4] for change in changes if "flaky" in change] == [
        ["executing", "flaky", "attempt", "1"],
        ["retrying", "flaky", "attempt", "1"],
        ["executing", "flaky", "attempt", "2"],
        ["succeeded", "flaky", "attempt", "2"],
    ]
    began = lines.index("failed  check  attempt 1  ValueError: only 7 rows")
    summary = "\n".join(lines[began:])
    assert "in inner\n" in summary
    assert "expected 8" in summary
    assert "dagster" not in summary.replace(str(folder), ""), "no frame of the framework"
    assert "Not run\n  load: UpstreamFailed" in summary
    (execution,) = executions(folder)
    pipeline_id = execution.name[-17:]
    assert lines[-3].startswith(f"failed  nightly  {pipeline_id}  2 succeeded, 1 failed, 1 pending")
    assert lines[-2] == f"history  {execution}"
    assert lines[-1].startswith("resume  ")
    assert lines[-1].endswith(f"--resume {pipeline_id}")

    listed = aetherscript("history", "list").stdout.splitlines()
    assert pipeline_id in listed[1]
    assert "failed" in listed[1]
    shown = aetherscript("history", "show").stdout.splitlines()
    assert ["flaky", "succeeded", "2"] in [line.split()[:3] for line in shown]
    assert "failed  check  attempt 1  ValueError: only 7 rows" in shown


def test_with_workers_the_terminal_shows_the_state_alone(
    aetherscript: Command, folder: Path
) -> None:
    write(folder, "nightly.aether.yaml", FAILING)
    write(folder, "jobs.py", JOBS)
    completed = aetherscript("run", "--workers", "2")
    assert (completed.returncode, completed.stderr) == (1, "")
    assert "  executing  flaky  attempt 2" in completed.stdout
    assert not {"DEBUG", "STEP_START", "ENGINE_EVENT"} & set(completed.stdout.split())


def test_quiet_says_nothing_of_a_success(aetherscript: Command, folder: Path) -> None:
    write(folder, "diamond.aether.yaml", DIAMOND)
    completed = aetherscript("run", "--quiet", "--var", "GREETING=hi")
    assert (completed.returncode, completed.stdout, completed.stderr) == (0, "", "")
    assert not (folder / "executions").exists(), "no history unless it is asked for"


def test_a_wrong_document_is_told_before_dagster_is_even_imported(
    aetherscript: Command, folder: Path
) -> None:
    write(folder, "a.aether.yaml", BROKEN)
    began = cpu_seconds_of_children()
    completed = aetherscript("run", "--state-history=./executions/")
    assert completed.returncode == 2
    assert [line[:17] for line in completed.stderr.splitlines()] == [
        "a.aether.yaml:6:1",
        "a.aether.yaml:10:",
    ]
    assert cpu_seconds_of_children() - began < 2
    assert not (folder / ".aether").exists()


def test_a_required_history_which_cannot_be_written_is_exit_3(
    aetherscript: Command, folder: Path
) -> None:
    write(folder, "diamond.aether.yaml", DIAMOND)
    write(folder, "file", "")
    completed = aetherscript("run", "--state-history=file/x", "--state-history-required")
    assert completed.returncode == 3
    assert "cannot be created" in completed.stderr


def _begin(folder: Path, job: str) -> subprocess.Popen[str]:
    document = FAILING.partition("    - id: talk")[0]
    steps = f"""\
    - id: slow
      type: python/call
      args: {{callable: "jobs:{job}"}}
    - id: after
      type: core/echo
      dependsOn: [slow]
      args: {{message: done}}
"""
    write(folder, "nightly.aether.yaml", document + steps)
    write(folder, "jobs.py", JOBS)
    return subprocess.Popen(
        [*COMMAND, "run", "--state-history=./executions/"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not file.exists() or not (file.name == "started" or file.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ctrl_c_cancels_ends_what_runs_and_writes_the_end(folder: Path) -> None:
    process = _begin(folder, "nap")
    try:
        _wait_for(folder / "child.pid", process)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()

    assert process.returncode == 130, err
    final = final_state(folder)
    assert final["report"]["status"] == "cancelled"
    assert final["nodes"]["slow"]["error"]["type"] == "Cancelled"
    assert final["nodes"]["after"]["status"] == "pending"
    assert out.splitlines()[-3].startswith("cancelled  nightly  pipeline_")
    assert _has_ended(int((folder / "child.pid").read_text()))


def _has_ended(pid: int) -> bool:
    """Whether a process has ended; one which was orphaned may wait for its new parent's look."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_second_ctrl_c_kills_at_once(folder: Path) -> None:
    process = _begin(folder, "stubborn")
    try:
        _wait_for(folder / "started", process)
        process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + 10
        while not (folder / "refused").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.3)  # sooner, it counts as the same press which arrived twice
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=5)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130


@pytest.mark.parametrize("required", [True, False])
def test_a_history_which_fails_on_the_way_is_told(
    required: bool, aetherscript: Command, folder: Path
) -> None:
    document = FAILING.partition("    - id: talk")[0]
    step = """\
    - id: sabotage
      type: shell/run
      args: {command: "rm -rf executions && touch executions"}
    - id: after
      type: core/echo
      dependsOn: [sabotage]
      args: {message: done}
"""
    write(folder, "nightly.aether.yaml", document + step)
    flag = ["--state-history-required"] if required else []
    completed = aetherscript("run", "--state-history=./executions/", *flag)
    assert completed.returncode == (3 if required else 0)
    assert "history not written" in completed.stdout
