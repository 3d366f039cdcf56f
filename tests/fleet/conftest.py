"""A fleet: PostgreSQL, a broker, an object store, and hosts which share nothing else."""

from collections.abc import Iterator, Mapping

import pytest

from tests.fleet import services
from tests.fleet.hosts import Fleet
from tests.postgres import PostgresServer


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """An S3 server; gives the environment in which clients find it."""
    with services.object_store(tmp_path_factory.mktemp("object-store")) as shared:
        yield shared


@pytest.fixture(scope="session")
def fleet(
    postgres_server: PostgresServer,
    object_store: Mapping[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    postgres_server.command("CREATE DATABASE fleet")
    with services.broker(folder) as url:
        yield Fleet(folder, postgres_server, "fleet", url, object_store)
