"""A fleet: PostgreSQL, a broker, an object store, and hosts which share nothing else."""

from collections.abc import Iterator

import pytest

from tests.fleet.hosts import Fleet
from tests.fleet.services import broker, object_store
from tests.postgres import PostgresServer


@pytest.fixture(scope="session")
def fleet(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    postgres_server.command("CREATE DATABASE fleet")
    with broker(folder) as url, object_store(folder) as shared:
        yield Fleet(folder, postgres_server, "fleet", url, shared)
