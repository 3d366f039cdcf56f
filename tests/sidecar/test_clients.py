"""The reference clients of the documents, as a user runs them: processes of their own."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from aether_dagster.journal import Journal
from tests.journal.builders import artifact, initialization, outcome, report, reserve
from tests.sidecar.running import Running

CLIENTS = Path(__file__).parents[2] / "docs" / "clients"
WEIRD = ["a.b", "", "*", "`", "``.x", "ü", "__proto__", "toString", "plain", "{}[]\"'\\"]


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path]:
    """The command of Node, and a folder with the client and what it needs."""
    command = shutil.which("node")
    if command is None:
        pytest.skip("Node is not installed")
    folder = tmp_path_factory.mktemp("node")
    shutil.copy(CLIENTS / "follow.mjs", folder)
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    if int(version.stdout.removeprefix("v").split(".")[0]) >= 22:
        return [command], folder
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("this Node has no WebSocket, and there is no npm to bring the package ws")
    installed = subprocess.run(
        [npm, "install", "--silent", "--no-audit", "--no-fund", "--no-save", "ws@8"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    if installed.returncode:
        pytest.skip(f"this Node has no WebSocket, and npm cannot bring the package ws: {installed}")
    return [command], folder


def follow(
    words: Sequence[str], folder: Path, running: Running, journal: Journal, pipeline_id: str
) -> list[dict[str, Any]]:
    """Starts a client, lets a run happen, and returns the states which it printed."""
    url = running.websocket(f"/executions/{pipeline_id}")
    with subprocess.Popen(
        [*words, url, running.token], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        states = [json.loads(client.stdout.readline())]
        run(journal, pipeline_id)
        states += [json.loads(line) for line in client.stdout]
    assert client.returncode == 0
    return states


def run(journal: Journal, pipeline_id: str) -> None:
    for number, name in enumerate(WEIRD):
        step = "load" if number % 2 else "a.step"
        started = outcome(f"s{number}", step, number + 1, "executing")
        journal.append(pipeline_id, [started, artifact(f"a{number}", name, f"/{number}")])
        time.sleep(0.03)
    for number, name in enumerate(WEIRD[::2]):
        journal.append(pipeline_id, [artifact(f"b{number}", name, None)])
        time.sleep(0.03)
    payload = {"rows": [1, None, {"deep": {}}], "text": "</script> \u2028"}
    journal.append(pipeline_id, [outcome("o", "load", 20, "succeeded", payload)])
    journal.append(pipeline_id, [outcome("p", "a.step", 20, "failed")])
    journal.append(pipeline_id, [report("failed")])


@pytest.fixture
def started(journal: Journal) -> str:
    pipeline_id = reserve(journal).pipeline_id
    journal.append(pipeline_id, [initialization(pipeline_id, "load", "a.step")])
    return pipeline_id


def test_the_python_client_folds_to_the_state(
    running: Running, journal: Journal, started: str
) -> None:
    words = [sys.executable, str(CLIENTS / "follow.py")]
    states = follow(words, CLIENTS, running, journal, started)
    assert len(states) > 2
    assert states[-1] == journal.state(started)


def test_the_javascript_client_folds_to_the_state(
    running: Running, journal: Journal, started: str, node: tuple[list[str], Path]
) -> None:
    command, folder = node
    states = follow([*command, "follow.mjs"], folder, running, journal, started)
    assert len(states) > 2
    assert states[-1] == journal.state(started)


@pytest.mark.parametrize("name", ["follow.py", "follow.mjs"])
def test_a_client_is_short(name: str) -> None:
    lines = (CLIENTS / name).read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 50
