"""An execution of a small document, in a journal of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aether_dagster.journal import Journal
from aether_dagster.manager import Execution, StateManager
from aether_dagster.script import Document, parse_document
from aether_dagster.values import ValueStore
from tests.journals import journal_url

DOCUMENT = """
version: "2.1"
metadata: {name: small}
pipeline:
  steps:
    - {id: load, type: core/echo, args: {message: "${GREETING}"}, retries: 1}
    - {id: check, type: core/echo, args: {message: "${steps.load.output}"}}
    - {id: write, type: core/echo, args: {message: x}, dependsOn: [check]}
"""
ENVIRON = {"GREETING": "hello"}


@pytest.fixture
def document() -> Document:
    return parse_document(DOCUMENT, file="small.aether.yaml")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(journal_url(tmp_path, "state.db")) as journal:
        yield journal


@pytest.fixture
def values(tmp_path: Path) -> ValueStore:
    return ValueStore(str(tmp_path / "values"))


@pytest.fixture
def open_execution(
    journal: Journal, values: ValueStore, document: Document
) -> Callable[[], Execution]:
    """Opens the same execution as another process would: with nothing known but the journal."""
    return lambda: StateManager(journal, values).initialize(document, run_id="run", environ=ENVIRON)


@pytest.fixture
def execution(open_execution: Callable[[], Execution]) -> Execution:
    return open_execution()
