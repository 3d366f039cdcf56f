"""A journal on either engine; every test which takes `journal_url` runs on both."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aether_dagster.journal import Journal
from tests.journal.builders import initialization, reserve

ENGINES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=ENGINES)
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def journal(journal_url: str) -> Iterator[Journal]:
    with Journal.open(journal_url) as journal:
        yield journal


@pytest.fixture
def execution(journal: Journal) -> str:
    """An initialized execution with the nodes `load` and `plot`, at version 1."""
    pipeline_id = reserve(journal).pipeline_id
    journal.append(pipeline_id, [initialization(pipeline_id, "load", "plot")])
    return pipeline_id
