"""Hosts of a fleet: each with files of its own, and sharing no folder with another."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aether_dagster
from tests.fleet.services import BUCKET
from tests.postgres import PostgresServer

TEAM = Path(__file__).with_name("team")
HISTORY = f"s3://{BUCKET}/executions"
VALUES = f"s3://{BUCKET}/values"
BINARIES = Path(sys.executable).parent
_PACKAGES = str(Path(aether_dagster.__file__).parents[1])
_LIMIT = 120.0

_INSTANCE = """\
telemetry: {{enabled: false}}
storage:
  postgres:
    postgres_db:
      username: postgres
      hostname: ""
      db_name: {database}
      params: {{host: {server}}}
      scheme: postgresql+psycopg2
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""


@dataclass(frozen=True)
class Fleet:
    """What all hosts know: the servers which they share.

    Args:
        folder: Where the hosts' folders are made.
        server: PostgreSQL.
        database: The instance's database, which holds the journal too.
        broker: The broker's URL.
        shared: The environment in which the object store is found.
    """

    folder: Path
    server: PostgresServer
    database: str
    broker: str
    shared: Mapping[str, str]

    def host(self, name: str, *, code: Path = TEAM, **environ: str) -> "Host":
        """A new host, with code and an instance configuration of its own."""
        folder = self.folder / name
        for part in ("home", "tmp", "dagster"):
            (folder / part).mkdir(parents=True)
        shutil.copytree(code, folder / "code" / code.name)
        text = _INSTANCE.format(database=self.database, server=self.server.folder)
        (folder / "dagster" / "dagster.yaml").write_text(text)
        return Host(self, name, environ)


@dataclass(frozen=True)
class Host:
    """One host."""

    fleet: Fleet
    name: str
    more: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def folder(self) -> Path:
        return self.fleet.folder / self.name

    @property
    def environ(self) -> dict[str, str]:
        """What its processes get; nothing of this process's environment but the search path."""
        return {
            "PATH": f"{BINARIES}{os.pathsep}{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"),
            "PYTHONPATH": f"{self.folder / 'code'}{os.pathsep}{_PACKAGES}",
            "DAGSTER_HOME": str(self.folder / "dagster"),
            "AETHERSCRIPT_STATE_HISTORY": HISTORY,
            "AETHERSCRIPT_ARTIFACTS": VALUES,
            "FLEET_HOST": self.name,
            "FLEET_BROKER": self.fleet.broker,
            "API_KEY": "a-key-which-nobody-sees",
            "REGION": self.name,
            **self.fleet.shared,
            **self.more,
        }

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Starts a process here, in a session of its own; what it prints goes to `log`."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                words,
                cwd=self.folder / "home",
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def python(self, *words: str) -> subprocess.Popen[bytes]:
        """Starts Python here."""
        return self.start(sys.executable, *words)

    @contextmanager
    def running(self, *words: str, until: str) -> Iterator[subprocess.Popen[bytes]]:
        """Starts a process, waits until it has logged a text, and ends it afterwards."""
        process = self.start(*words)
        try:
            give_up = time.monotonic() + _LIMIT
            while until not in self.log.read_text(errors="replace"):
                assert process.poll() is None, self.log.read_text()
                assert time.monotonic() < give_up, self.log.read_text()
                time.sleep(0.1)
            yield process
        finally:
            end(process)

    def finish(self, process: subprocess.Popen[bytes]) -> None:
        """Waits for the end of a process which is to succeed."""
        assert process.wait(_LIMIT) == 0, self.log.read_text()


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
    """Ends a process and all of its session."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
