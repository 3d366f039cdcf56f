"""The command line as a user has it: a process of its own."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import aether_dagster
from tests.journals import SERVER, journal_environment

PACKAGES = str(Path(aether_dagster.__file__).parents[1])
COMMAND = (sys.executable, "-m", "aether_dagster.cli")

Completed = subprocess.CompletedProcess[str]


def environment(**more: str) -> dict[str, str]:
    """An environment without what the caller's own shell may have set for us."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AETHERSCRIPT_", "DAGSTER_"))
        and name not in ("NO_COLOR", "COLUMNS", "LINES")
    }
    path = os.pathsep.join(filter(None, (PACKAGES, environ.get("PYTHONPATH"))))
    return {**environ, "PYTHONPATH": path, **journal_environment(Path.cwd()), **more}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which commands run."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def aetherscript(folder: Path) -> Callable[..., Completed]:
    """Runs a command in `folder` and returns what it said."""

    def call(*arguments: str, timeout: float = 60, **environ: str) -> Completed:
        completed = subprocess.run(
            [*COMMAND, *arguments],
            cwd=folder,
            env=environment(**environ),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert "Traceback" not in completed.stderr.split("\nfailed")[0], completed.stderr
        return completed

    return call


def cpu_seconds_of_children() -> float:
    """What ended children have used of the processor: a busy machine does not change it much."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture
def journal_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests whose journal lies beside their history, wherever those of others are."""
    for name in (SERVER, "AETHERSCRIPT_JOURNAL"):
        monkeypatch.delenv(name, raising=False)
