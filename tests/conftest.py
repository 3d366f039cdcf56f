"""Fixtures which every ring's tests may use."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests import audit
from tests.journals import DATABASE, SERVER, journal_environment

if TYPE_CHECKING:
    from tests.orchestration.scenarios import Places

pytest_plugins = ["tests.postgres"]

# How long an example takes says how busy the machine is.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--journal",
        choices=["sqlite", "postgresql"],
        default="sqlite",
        help="where tests keep their journals which do not say so themselves",
    )


@pytest.fixture(scope="session", autouse=True)
def _journal_engine(request: pytest.FixtureRequest) -> Iterator[None]:
    """With `--journal=postgresql`, lets every test keep its journals on the tests' server."""
    if request.config.getoption("journal") == "sqlite":
        yield
        return
    server = request.getfixturevalue("postgres_server")
    server.command(f"CREATE DATABASE {DATABASE}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SERVER, str(server.folder))
        yield


@pytest.fixture(autouse=True)
def _journal_of_this_process(request: pytest.FixtureRequest) -> Iterator[None]:
    """Lets what a test builds in its own process use the journal of its temporary folder."""
    if request.config.getoption("journal") == "sqlite":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        for name, value in journal_environment(request.getfixturevalue("tmp_path")).items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session", autouse=True)
def _every_run_tells_one_story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails the last test of a process if accounts of a run which any test made differ."""
    yield
    found = list(audit.contradictions(tmp_path_factory.getbasetemp()))
    assert found == []


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Places]":
    """Makes directories with a document and an instance, and starts processes in them."""
    # Dagster takes seconds to import, and most tests do without.
    from tests.orchestration.scenarios import Places

    places = Places(tmp_path_factory.mktemp("places"))
    yield places
    places.zygote.close()
