"""`aetherscript run --vis`: a sidecar beside the run, which ends after its clients have the end."""

import json
import os
import subprocess
import sys
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

from aether_dagster.cli.display import Display
from aether_dagster.cli.serving import Listening, port_of, token_file
from aether_dagster.cli.vis import Vis
from aether_dagster.manager import Change
from aether_dagster.manager.resumption import ResumePlan

_END_SECONDS = 45.0
# As `sidecar.process` has it, whose imports are not this process's to wait for.
_EXPECT_BROWSER = "open"


class WatchedRun(Display):
    """A display around another one, which starts the sidecar and tells it of the run.

    What becomes of the sidecar never touches the run.

    Args:
        face: What shows the run in the terminal.
        vis: How it is to be watched.
    """

    def __init__(self, face: Display, vis: Vis):
        self._face = face
        self._vis = vis
        self._token = token_file(os.environ)
        self._on_terminal = sys.stderr.isatty()
        self._process: subprocess.Popen[str] | None = None
        self._pipeline_id = ""
        self._url = ""
        self._ended = False
        self._lock = threading.Lock()
        self._launcher: Path | None = None

    def __enter__(self) -> Self:
        self._face.__enter__()
        listening = Listening(self._vis.host, self._vis.port, None, self._vis.rate)
        # A session of its own: Ctrl-C is the run's, and the end of it is still to be shown.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "aether_dagster.cli.beside_run"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        told: dict[str, Any] = {
            "host": self._vis.host,
            "port": port_of(listening),
            "token": str(self._token),
            "rate": self._vis.rate,
        }
        self._say(json.dumps(told))
        if self._vis.browser:
            self._say(_EXPECT_BROWSER)
        threading.Thread(target=self._listen, name="sidecar", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._face.__exit__(kind, error, traceback)
        with self._lock:
            self._ended = True
        process = self._process
        if process is None or process.stdin is None:
            return
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_END_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()
        if self._launcher is not None:
            self._launcher.unlink(missing_ok=True)

    def resuming(self, plan: ResumePlan) -> None:
        """See `Display.resuming`."""
        self._face.resuming(plan)

    def change(self, change: Change) -> None:
        """See `Display.change`."""
        if not self._pipeline_id:
            self._say(change.pipeline_id)
            with self._lock:
                self._pipeline_id = change.pipeline_id
                self._announce()
        self._face.change(change)

    def _listen(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        url = self._process.stdout.readline().strip()
        if url:
            with self._lock:
                self._url = url
                self._announce()

    def _announce(self) -> None:
        """Says where the page is, once the sidecar listens and the execution has its id."""
        if not (self._url and self._pipeline_id) or (self._ended and not self._vis.browser):
            return
        token = self._token.read_text(encoding="utf-8").strip()
        page = f"{self._url}#token={token}&execution={self._pipeline_id}"
        if self._on_terminal:
            click.echo(f"Live at {page}", err=True)
        else:
            # What is printed elsewhere than on a terminal is kept.
            click.echo(f"Live at {self._url}  (the token is in {self._token})", err=True)
        if self._vis.browser:
            self._launcher = launcher(self._token.parent, page)
            webbrowser.open(self._launcher.as_uri())

    def _say(self, word: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):
            self._process.stdin.write(f"{word}\n")
            self._process.stdin.flush()


def launcher(folder: Path, page: str) -> Path:
    """Returns a file which leads a browser to a page.

    The URL carries the token, and what stands on a command line everybody can see.
    """
    file = folder / f"open-{os.getpid()}.html"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        target = page.replace("&", "&amp;")
        stream.write(f'<!doctype html><meta http-equiv="refresh" content="0;url={target}">\n')
    return file
