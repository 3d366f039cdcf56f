"""A journal with one execution, and a sidecar on it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from aether_dagster.journal import Journal
from tests.journal.builders import initialization, reserve
from tests.journal.conftest import (  # noqa: F401 - fixtures
    ENGINES,
    journal_url,
    postgres_database,
    postgres_schema,
)
from tests.sidecar.running import Running, sidecar


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Journal, Running]]:
    """One journal and one sidecar for the tests which leave both as they were: a start is dear."""
    folder = tmp_path_factory.mktemp("shared")
    with (
        Journal.open(f"sqlite:///{folder}/state.db") as opened,
        sidecar(opened.url, folder) as started,
    ):
        yield opened, started


@pytest.fixture
def journal(shared: tuple[Journal, Running]) -> Journal:
    return shared[0]


@pytest.fixture
def running(shared: tuple[Journal, Running]) -> Running:
    """A sidecar on `journal`."""
    return shared[1]


@pytest.fixture
def execution(journal: Journal) -> str:
    """A new execution with the nodes `load` and `plot`, at version 1."""
    pipeline_id = reserve(journal).pipeline_id
    journal.append(pipeline_id, [initialization(pipeline_id, "load", "plot")])
    return pipeline_id


@pytest.fixture
def own_journal(tmp_path: Path) -> Iterator[Journal]:
    """An empty journal which no sidecar is on."""
    with Journal.open(f"sqlite:///{tmp_path}/state.db") as opened:
        yield opened


@pytest.fixture(scope="session")
def get() -> Callable[..., Any]:
    """Asks a sidecar by plain HTTP."""

    def ask(
        running: Running,
        path: str,
        *,
        raw: bool = False,
        token: str | None = "its own",
        **more: str,
    ) -> Any:
        headers = dict(more)
        if token is not None:
            said = running.token if token == "its own" else token
            headers["Authorization"] = f"Bearer {said}"
        response = httpx.get(f"http://127.0.0.1:{running.port}{path}", headers=headers)
        if raw:
            return response
        assert response.status_code == 200, response.text
        return response.json()

    return ask


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for build.example.org, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "build.example.org")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("build.example.org")]), False)
        .sign(key, hashes.SHA256())
    )
    cert, secret = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert, secret
