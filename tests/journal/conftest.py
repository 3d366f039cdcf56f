"""A journal on either engine; every test which takes `journal_url` runs on both."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from aether_dagster.journal import Journal
from tests.journal.builders import initialization, reserve
from tests.postgres import PostgresServer

ENGINES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session")
def postgres_database(postgres_server: PostgresServer) -> PostgresServer:
    # Another folder's tests use this fixture too, and have it made once more.
    with suppress(psycopg.errors.DuplicateDatabase):
        postgres_server.command("CREATE DATABASE both_engines")
    return postgres_server


@pytest.fixture
def postgres_schema(postgres_database: PostgresServer) -> str:
    """The URL of an empty schema, which is there ten times sooner than a database."""
    schema = f"journal_{uuid4().hex}"
    with psycopg.connect(postgres_database.conninfo("both_engines"), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
    return postgres_database.url("both_engines") + f"&options=-csearch_path%3D{schema}"


@pytest.fixture(params=ENGINES)
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    return str(request.getfixturevalue("postgres_schema"))


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
