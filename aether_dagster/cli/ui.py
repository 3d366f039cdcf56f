"""`aetherscript ui`: Dagster's own web UI over the same instance and these pipelines."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import click

from aether_dagster.cli.pipelines import chosen_pipelines
from aether_dagster.errors import AetherError, SettingsError

HOST = "127.0.0.1"
DEFAULT_PORT = 3000
_START_LIMIT = 120.0
_STOP_LIMIT = 15.0


@click.command(short_help="Open Dagster's web UI on pipelines and runs.")
@click.argument("pipelines", nargs=-1, type=click.Path(path_type=Path), metavar="[PIPELINE]...")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help=f"Where to listen on {HOST}; left out, {DEFAULT_PORT} or any free port.",
)
def ui(pipelines: tuple[Path, ...], port: int | None) -> None:
    """Open Dagster's web UI on these pipelines and on the runs of `aetherscript run`.

    Left out, PIPELINE is every *.aether.yaml in this folder. Ctrl-C ends it.
    """
    if find_spec("dagster_webserver") is None:
        raise SettingsError(
            "Dagster's web UI is not installed; install it with: pip install 'aether-dagster[ui]'"
        )
    from aether_dagster.project import read_documents

    paths = chosen_pipelines(pipelines)
    # What is wrong with them is told here, not by Dagster's server of code in a page of frames.
    read_documents(*paths)
    port = _free_port(port)
    server = _start([str(path.absolute()) for path in paths], port)
    # A supervisor or a closed terminal ends it as Ctrl-C does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        url = f"http://{HOST}:{port}"
        _wait_until_up(server, url)
        click.echo(f"Dagster's web UI is at {url}  (Ctrl-C ends it)")
        status = server.wait()
        raise AetherError(f"Dagster's web UI ended by itself, with exit status {status}.")
    except KeyboardInterrupt:
        click.echo("")
    finally:
        _stop(server)


def _start(documents: Sequence[str], port: int) -> subprocess.Popen[bytes]:
    from aether_dagster.orchestration.code_location import PIPELINES_VARIABLE

    command = [
        *(sys.executable, "-m", "dagster_webserver"),
        *("--host", HOST, "--port", str(port)),
        *("--module-name", "aether_dagster.orchestration.code_location"),
        *("--dagster-log-level", "warning", "--code-server-log-level", "warning"),
    ]
    environment = _environment(os.environ) | {PIPELINES_VARIABLE: os.pathsep.join(documents)}
    # A session of its own: it is told to end once, by us, not also by the terminal.
    return subprocess.Popen(command, env=environment, start_new_session=True)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    if environ.get("DAGSTER_HOME"):
        return dict(environ)
    from aether_dagster.orchestration.instance import embedded_home

    return {**environ, "DAGSTER_HOME": str(embedded_home(Path.cwd()))}


def _free_port(port: int | None) -> int:
    """Returns the port if it is free; without one, the default port or any which is free."""
    for candidate in (DEFAULT_PORT, 0) if port is None else (port,):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, candidate))
            except OSError:
                continue
            return int(listener.getsockname()[1])
    raise SettingsError(f"Port {port} of {HOST} is in use; name another, or leave --port out.")


def _wait_until_up(server: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _START_LIMIT
    while time.monotonic() < deadline:
        status = server.poll()
        if status is not None:
            raise AetherError(f"Dagster's web UI did not start: exit status {status}.")
        try:
            with urllib.request.urlopen(f"{url}/server_info", timeout=5):  # noqa: S310 - our own
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.1)
    raise AetherError(f"Dagster's web UI did not start within {_START_LIMIT:.0f} s.")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Ends the server and what it started."""
    if server.poll() is None:
        server.send_signal(signal.SIGINT)
    try:
        server.wait(_STOP_LIMIT)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
