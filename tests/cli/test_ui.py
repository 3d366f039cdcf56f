import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from aether_dagster.cli.main import main
from tests.cli.conftest import COMMAND, Completed, environment
from tests.cli.documents import BROKEN, DIAMOND, write

Command = Callable[..., Completed]
JOBS = "{ repositoriesOrError { ... on RepositoryConnection { nodes { jobs { name } } } } }"


def test_the_ui_serves_the_pipelines_until_ctrl_c(folder: Path) -> None:
    write(folder, "diamond.aether.yaml", DIAMOND)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [*COMMAND, "ui", "--port", str(port)],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith(f"Dagster's web UI is at http://127.0.0.1:{port}")
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/graphql",
            json.dumps({"query": JOBS}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            assert '"diamond"' in response.read().decode()
        started = psutil.Process(server.pid).children(recursive=True)
        assert started
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
        _, alive = psutil.wait_procs(started, timeout=10)
        assert not alive
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert (folder / ".aether" / "dagster.yaml").exists(), "the same instance as of `run`"


def test_wrong_documents_are_told_before_anything_is_served(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "broken.aether.yaml", BROKEN)
    assert main(["ui"]) == 2
    assert capsys.readouterr().err.startswith("broken.aether.yaml:6:13: step 'extract', type:")
    write(folder, "broken.aether.yaml", DIAMOND)
    write(folder, "one.aether.yaml", DIAMOND)
    assert main(["ui"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("one.aether.yaml:2:18: broken.aether.yaml has a pipeline of the name")


def test_without_the_extra_it_says_what_to_install(folder: Path) -> None:
    write(folder, "diamond.aether.yaml", DIAMOND)
    missing = (
        "import sys; sys.modules['dagster_webserver'] = None\n"
        "from aether_dagster.cli.main import main; sys.exit(main(['ui']))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", missing],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert completed.returncode == 2
    assert "pip install 'aether-dagster[ui]'" in completed.stderr


def test_a_port_in_use_is_told(aetherscript: Command, folder: Path) -> None:
    write(folder, "diamond.aether.yaml", DIAMOND)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        completed = aetherscript("ui", "--port", str(port))
    assert completed.returncode == 2
    assert f"Port {port} of 127.0.0.1 is in use" in completed.stderr
