import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from aether_dagster.steps import ArtifactAccess, Connections, StepContext


class Artifacts(ArtifactAccess):
    """Artifacts in a dictionary, as the manager's are in the journal."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def __setitem__(self, name: str, uri: str) -> None:
        if name == "forbidden":
            raise PermissionError("no such artifact may be set")
        self.values[name] = uri

    def __delitem__(self, name: str) -> None:
        del self.values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)


@pytest.fixture
def connectors() -> dict[str, Mapping[str, Any]]:
    return {}


@pytest.fixture
def context(tmp_path: Path, connectors: dict[str, Mapping[str, Any]]) -> Iterator[StepContext]:
    logger = logging.getLogger("tests.steps")
    logger.setLevel(logging.INFO)
    connections = Connections()
    yield StepContext(
        step_id="load",
        attempt=2,
        execution_id="pipeline_01H3XYZ9",
        pipeline="nightly",
        logger=logger,
        artifacts=Artifacts(),
        connection=connectors.__getitem__,
        directory=tmp_path,
        connections=connections,
    )
    assert connections.close() == []


@pytest.fixture
def module(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Write a module beside the document, of a name of the test's own, and give its name."""

    def write(source: str, name: str = "") -> str:
        name = name or f"jobs_{abs(hash(request.node.nodeid))}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


@pytest.fixture(autouse=True)
def import_path() -> Iterator[None]:
    """Give each test the import path as it was, since documents' folders stay on it."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture
def started() -> Callable[[], list[psutil.Process]]:
    """Give the processes below this one which were not there when the test began."""
    this = psutil.Process()
    before = set(this.children(recursive=True))

    def find() -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for child in this.children(recursive=True):
            # The tests' own server forks whenever it likes, which is no step's doing.
            with suppress(psutil.NoSuchProcess):
                if child not in before and child.name() != "postgres":
                    found.append(child)
        return found

    return find


@pytest.fixture
def marked() -> Callable[[str], list[psutil.Process]]:
    """Find the processes which were started with a text in their arguments."""

    def find(mark: str) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                if any(mark in word for word in process.cmdline()) and process.is_running():
                    found.append(process)
            except psutil.Error:
                continue
        return found

    return find
