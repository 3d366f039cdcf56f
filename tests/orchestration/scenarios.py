"""Runs which end in every way that a run can, each a process of its own (see `zygote.py`)."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

import aether_dagster
from aether_dagster.journal import ExecutionRecord, Journal
from aether_dagster.orchestration.instance import embedded_instance
from aether_dagster.orchestration.reconcile import Reconciler
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.values import ValueStore
from tests.journals import journal_environment, journal_url
from tests.orchestration.pipelines import write
from tests.runs import Left

_ZYGOTE = Path(__file__).with_name("zygote.py")
PACKAGES = [str(Path(aether_dagster.__file__).parents[1]), str(Path(__file__).parents[2])]
_LIMIT = 90.0

JOBS = """
import os, signal, sys, time
from pathlib import Path

def boom():
    raise ValueError("row 7 is bad")

def twice(marker):
    tries = len(list(Path(".").glob(marker + "*")))
    Path(f"{marker}{tries}").touch()
    if tries < 2:
        raise ConnectionError(f"try {tries}")
    return {"tries": tries + 1}

def wait():
    Path("waiting").touch()
    while not Path("go").exists():
        time.sleep(0.02)
    return "went"

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def die_once(marker):
    if not Path(marker).exists():
        Path(marker).touch()
        die()
    return 1
"""


def document(steps: str, name: str = "tiny", more: str = "") -> str:
    """A document with these steps."""
    return f'version: "2.1"\nmetadata: {{name: {name}}}\n{more}pipeline:\n  steps:\n{steps}'


class Zygote:
    """Starts processes which have Dagster imported already."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._lock = threading.Lock()
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AETHERSCRIPT_", "DAGSTER_"))
        }
        self._process = subprocess.Popen(
            [sys.executable, str(_ZYGOTE)],
            env={**kept, "PYTHONPATH": os.pathsep.join(PACKAGES)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, directory: Path, action: str, **order: Any) -> "Child":
        """Starts a process which does an action in a directory."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        name = uuid.uuid4().hex
        outcome, log = self._folder / f"outcome-{name}", self._folder / f"log-{name}"
        places = {"outcome": str(outcome), "log": str(log), "directory": str(directory)}
        with self._lock:
            # Orders may come from several threads, and each must get its own process' id.
            print(json.dumps({"action": action, **places, **order}), file=self._process.stdin)
            self._process.stdin.flush()
            pid = int(self._process.stdout.readline())
        return Child(pid, outcome, log)

    def close(self) -> None:
        """Ends the process which forks."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(_LIMIT)
        self._process.stdout.close()


@dataclass
class Child:
    """A process which does one order."""

    pid: int
    outcome: Path
    log: Path
    _handle: int | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        try:
            self._handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self._handle = None

    def end(self) -> Any:
        """Waits for its end; returns the order's outcome, None where it was killed before."""
        assert self.ended(_LIMIT), f"did not end: {self.log.read_text()}"
        text = self.log.read_text()
        assert "The order failed:" not in text, text
        return json.loads(self.outcome.read_text()) if self.outcome.exists() else None

    def ended(self, seconds: float = 0) -> bool:
        """Tells whether it has ended, or does within so many seconds."""
        if self._handle is not None:
            if not select.select([self._handle], [], [], seconds)[0]:
                return False
            os.close(self._handle)
            self._handle = None
        return True

    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines which it printed."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def signal(self, number: int) -> None:
        """Sends it a signal."""
        os.kill(self.pid, number)


@dataclass
class Place:
    """A directory with a document, step code and an embedded instance of its own."""

    directory: Path
    zygote: Zygote

    def start(self, action: str = "run", *, history: bool = True, **order: Any) -> Child:
        """Starts a process here."""
        folder = str(self.directory / "executions")
        where = {"history": folder} if history else {}
        environ = {"AETHERSCRIPT_STATE_HISTORY": folder} if history else {}
        environ |= journal_environment(self.directory)
        return self.zygote.start(self.directory, action, environ=environ, **where, **order)

    def wait_for(self, name: str, child: Child) -> None:
        """Waits until a process has made a file."""
        give_up = time.monotonic() + _LIMIT
        while not (self.directory / name).exists():
            assert not child.ended(), f"ended without {name}: {child.log.read_text()}"
            assert time.monotonic() < give_up, f"{name} never came: {child.log.read_text()}"
            time.sleep(0.02)

    @contextmanager
    def opened(self) -> Iterator["Opened"]:
        """The instance and the journal of this directory, in this process."""
        with embedded_instance(self.directory) as instance:
            values = ValueStore(AetherSettings().artifacts_url(instance))
            with Journal.open(journal_url(self.directory)) as journal:
                yield Opened(instance, journal, values)

    def left(self) -> Left:
        """What the only execution left."""
        with self.opened() as opened:
            record = opened.record()
        return Left(self.directory, record.run_id, record.pipeline)


@dataclass
class Opened:
    """An instance and its journal."""

    instance: dg.DagsterInstance
    journal: Journal
    values: ValueStore

    def record(self) -> ExecutionRecord:
        """The only execution."""
        (record,) = self.journal.executions()
        return self.journal.record(record.pipeline_id)

    @property
    def reconciler(self) -> Reconciler:
        """What the sensor and `recover` use."""
        return Reconciler(self.instance, self.journal, self.values)

    def run(self) -> dg.DagsterRun:
        """The only run."""
        (run,) = self.instance.get_runs()
        return run


class Places:
    """Makes directories; their instances are copies of one, because making one takes a second."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._numbers = iter(range(10**6))
        self.zygote = Zygote(folder)
        self._template = folder / "template"
        self._template.mkdir()
        with embedded_instance(self._template) as instance:
            instance.get_runs(limit=1)
            Journal.open(AetherSettings().journal_url(instance)).close()

    def __call__(self, steps: str, more: str = "") -> Place:
        """Makes a directory with a document of these steps."""
        directory = self._folder / f"place-{next(self._numbers)}"
        shutil.copytree(self._template, directory)
        write(directory, document(steps, more=more))
        write(directory, JOBS, "jobs.py")
        return Place(directory, self.zygote)


def interrupt(place: Place, child: Child) -> None:
    """Presses Ctrl-C while a step waits."""
    place.wait_for("waiting", child)
    child.signal(signal.SIGINT)


def kill(place: Place, child: Child) -> None:
    """Kills a run's process while a step waits."""
    place.wait_for("waiting", child)
    child.signal(signal.SIGKILL)
