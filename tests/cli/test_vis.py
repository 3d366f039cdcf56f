"""`aetherscript run --vis`: a run and the sidecar beside it, as a user starts them."""

import asyncio
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from aether_dagster.cli.serving import journal_url
from aether_dagster.cli.vis import Vis
from aether_dagster.cli.watched import launcher
from aether_dagster.errors import SettingsError
from aether_dagster.journal import Journal
from tests import journals
from tests.cli.conftest import COMMAND, Completed, environment
from tests.sidecar.running import Follower, Running

PIPELINE = """
version: '2.1'
metadata: {name: watched}
pipeline:
  steps:
    - {id: first, type: core/sleep, args: {seconds: 3}}
    - {id: second, type: core/echo, args: {message: hello}, dependsOn: [first]}
"""


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("", "127.0.0.1", None),
        ("9000", "127.0.0.1", 9000),
        ("localhost", "localhost", None),
        ("localhost:9000", "localhost", 9000),
        ("[::1]:9000", "::1", 9000),
    ],
)
def test_an_address_is_a_host_a_port_or_both(address: str, host: str, port: int | None) -> None:
    vis = Vis.parse(address, 4.0, browser=False)
    assert (vis.host, vis.port) == (host, port)


@pytest.mark.parametrize("address", ["a:b", "localhost:99999", "::1:2", "nightly.aether.yaml:"])
def test_what_is_no_address_says_so(address: str) -> None:
    with pytest.raises(SettingsError):
        Vis.parse(address, 4.0, browser=False)


def test_off_loopback_it_names_the_command_which_has_tls() -> None:
    with pytest.raises(SettingsError, match="aetherscript sidecar --tls-cert"):
        Vis.parse("0.0.0.0:8787", 4.0, browser=False)


def test_a_browser_is_led_by_a_file_of_its_owner(tmp_path: Path) -> None:
    page = "http://127.0.0.1:1/#token=abc&execution=p"
    file = launcher(tmp_path, page)
    assert file.stat().st_mode & 0o777 == 0o600
    assert page.replace("&", "&amp;") in file.read_text()


def test_the_journal_is_found_without_dagster(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place of the embedded instance's journal is written down twice; this keeps it one."""
    from aether_dagster.orchestration.instance import embedded_instance
    from aether_dagster.orchestration.settings import AetherSettings

    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with embedded_instance(folder) as instance:
        expected = AetherSettings().journal_url(instance)
    assert f"sqlite:///{journal_url(None, folder)}" == expected


def test_a_run_is_watched_to_its_end_and_its_sidecar_ends(folder: Path) -> None:
    (folder / "watched.aether.yaml").write_text(PIPELINE)
    state = folder / "state"
    # --vis before the document: an option which may have a value must not take it for one.
    with subprocess.Popen(
        [*COMMAND, "run", "--vis", "watched.aether.yaml"],
        cwd=folder,
        env=environment(XDG_STATE_HOME=str(state)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stderr is not None
        said = run.stderr.readline()
        found = re.match(r"Live at (\S+)", said)
        assert found is not None, said
        token = (state / "aetherscript" / "sidecar.token").read_text().strip()
        assert token not in said, "what is no terminal is kept"
        (beside,) = (
            child
            for child in psutil.Process(run.pid).children()
            if "aether_dagster.cli.beside_run" in child.cmdline()
        )
        assert token not in " ".join(beside.cmdline())

        async def watch() -> Follower:
            follower = Follower()
            running = Running(found[1], token, run)  # type: ignore[arg-type]
            async with running.connected("/executions/latest?mask=nodes") as latest:
                await latest.recv()
                async with asyncio.timeout(60):
                    name = None
                    async with running.connected("/executions") as listed:
                        while name is None:
                            frame = Follower().take(await listed.recv())
                            name = next(iter(frame["payload"]["executions"]), None)
                async with running.connected(f"/executions/{name}") as connection:
                    await follower.follow(connection)
                    assert connection.close_reason == "finalized"
            return follower

        follower = asyncio.run(watch())
        assert run.wait(60) == 0
        assert not beside.is_running()
    nodes = follower.state["nodes"]
    assert {name: node["status"] for name, node in nodes.items()} == {
        "first": "succeeded",
        "second": "succeeded",
    }
    with Journal.open(journals.journal_url(folder), read_only=True) as journal:
        assert follower.state == journal.state(follower.state["pipeline"]["id"])


def test_a_sidecar_which_cannot_listen_does_not_touch_the_run(
    folder: Path, aetherscript: Callable[..., Completed]
) -> None:
    import socket

    (folder / "watched.aether.yaml").write_text(PIPELINE.replace("3", "0.1"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = aetherscript("run", f"--vis=127.0.0.1:{port}", XDG_STATE_HOME=str(folder / "state"))
    assert done.returncode == 0
    assert "The live view cannot be shown" in done.stderr


def test_help_does_not_load_what_only_the_sidecar_needs() -> None:
    program = (
        "import sys\nfrom aether_dagster.cli.main import main\n"
        "for words in (['--help'], ['run', '--help'], ['sidecar', '--help'], ['replay', '-h']):\n"
        "    main(words)\n"
        "print('LOADED', *sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    began = time.monotonic()
    done: Any = subprocess.run(
        [COMMAND[0], "-c", program], env=environment(), capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.rpartition("LOADED ")[2].split())
    assert not loaded & {"websockets", "orjson", "uvloop", "dagster", "sqlalchemy"}
    assert time.monotonic() - began < 20
