"""Who is let in, and what a hostile client can do: a table."""

import asyncio
import os
import resource
import socket
import stat
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from aether_dagster.errors import SettingsError
from aether_dagster.journal import Journal
from aether_dagster.sidecar import Sidecar, SidecarSettings
from aether_dagster.sidecar.security import is_loopback, read_token
from tests.journal.builders import outcome
from tests.sidecar.running import STATE, Follower, Running, sidecar, upgraded

WRONG = "x" * 43


def answer(
    running: Running, headers: dict[str, str], protocols: list[str], first: str | None = None
) -> str | int | None:
    """`in`, the HTTP status of a refusal, or the close code."""

    async def knock() -> str | int | None:
        try:
            async with connect(
                running.websocket("/executions"),
                additional_headers=headers,
                subprotocols=protocols or None,
                compression=None,
            ) as connection:
                if first is not None:
                    await connection.send(first)
                try:
                    await asyncio.wait_for(connection.recv(), 20)
                except ConnectionClosed:
                    return connection.close_code
                return "in"
        except InvalidStatus as error:
            return error.response.status_code

    return asyncio.run(knock())


@pytest.mark.parametrize(
    ("headers", "protocols", "first", "expected"),
    [
        ({"Authorization": "Bearer {token}"}, [], None, "in"),
        ({"Authorization": "bearer {token}"}, [], None, "in"),
        ({}, [STATE, "aetherscript.token.{token}"], None, "in"),
        ({}, ["aetherscript.token.{token}"], None, "in"),
        ({}, [], '{"token": "{token}"}', "in"),
        ({}, [], None, 4401),
        ({}, [], '{"subscribe": {}}', 4401),
        ({}, [], "nonsense", 4401),
        ({}, [], f'{{"token": "{WRONG}"}}', 4401),
        ({}, [], '{"token": "{token}", "more": 1}', 4401),
        ({}, [], '{"token": ""}', 4401),
        ({"Authorization": f"Bearer {WRONG}"}, [], None, 4401),
        ({"Authorization": "Basic {token}"}, [], None, 4401),
        ({"Authorization": "Bearer "}, [], None, 4401),
        ({"Authorization": "Bearer {token} "}, ["aetherscript.token." + WRONG], None, 4401),
        ({}, [STATE, "aetherscript.token." + WRONG], None, 4401),
        ({"Cookie": "token={token}"}, [], None, 4401),
        ({"Authorization": "Bearer {token}", "Origin": "{own}"}, [], None, "in"),
        ({"Authorization": "Bearer {token}", "Origin": "https://evil.example"}, [], None, 403),
        ({"Authorization": "Bearer {token}", "Origin": "null"}, [], None, 403),
        ({"Authorization": "Bearer {token}", "Origin": "http://127.0.0.1:1"}, [], None, 403),
    ],
)
def test_who_is_let_in(
    running: Running,
    headers: dict[str, str],
    protocols: list[str],
    first: str | None,
    expected: str | int,
) -> None:
    def fill(text: str) -> str:
        return text.replace("{token}", running.token).replace("{own}", running.url.rstrip("/"))

    headers = {name: fill(value) for name, value in headers.items()}
    said = None if first is None else fill(first)
    assert answer(running, headers, [fill(name) for name in protocols], said) == expected


@pytest.mark.parametrize("path", ["/executions", "/executions/latest", "/executions/{id}/pipeline"])
@pytest.mark.parametrize("token", [None, WRONG])
def test_no_state_by_get_without_the_token(
    running: Running, execution: str, get: Callable[..., Any], path: str, token: str | None
) -> None:
    response = get(running, path.replace("{id}", execution), raw=True, token=token)
    assert response.status_code == 401
    assert execution not in response.text


def test_the_token_in_a_query_is_no_token(running: Running, get: Callable[..., Any]) -> None:
    path = f"/executions?token={running.token}"
    assert get(running, path, raw=True, token=None).status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:9000", 200),
        ("LOCALHOST", 200),
        ("[::1]:1", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:80", 403),
        ("evil.example@127.0.0.2", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
def test_only_its_own_names_are_answered_on_any_port(
    running: Running, get: Callable[..., Any], host: str, status: int
) -> None:
    """A port may be forwarded; a foreign name is a page which rebinds its own."""
    for path in ("/executions", "/healthz"):
        assert get(running, path, raw=True, Host=host).status_code == status


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"Origin": "https://evil.example"}, "/executions"),
        ({"Origin": "null"}, "/"),
    ],
)
def test_foreign_names_and_pages_are_refused_by_get_too(
    running: Running, get: Callable[..., Any], headers: dict[str, str], path: str
) -> None:
    assert get(running, path, raw=True, **headers).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/../security.py",
        "/..%2fsecurity.py",
        "/%2e%2e/security.py",
        "//etc/passwd",
        "/page/../server.py",
        "/./../../pyproject.toml",
        "/\\..\\server.py",
        "/security.py%00.js",
        "/executions/../healthz",
        "/executions/..%2f..%2fetc",
    ],
)
def test_no_path_leads_out_of_the_page(running: Running, path: str) -> None:
    """As the bytes are: a client library would tidy the path."""
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as raw:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {running.token}"
        raw.sendall(f"{request}\r\n\r\n".encode())
        reply = b"".join(iter(lambda: raw.recv(65536), b""))
    assert reply.split()[1] in (b"404", b"400")
    assert b"root:" not in reply
    assert b"import" not in reply


def test_every_answer_forbids_what_a_page_does_not_need(
    running: Running, get: Callable[..., Any]
) -> None:
    for path in ("/", "/healthz", "/executions", "/nothing"):
        headers = get(running, path, raw=True).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Set-Cookie" not in headers


def test_script_in_a_name_or_payload_is_data_and_never_a_page(
    running: Running, journal: Journal, execution: str, get: Callable[..., Any]
) -> None:
    evil = "</script><script>alert(1)</script>"
    journal.append(execution, [outcome("evil", "load", 1, "succeeded", evil)])
    response = get(running, f"/executions/{execution}?mask=nodes.load.output_payload", raw=True)
    assert response.headers["Content-Type"] == "application/json"
    assert response.json()["payload"]["nodes"]["load"]["output_payload"] == evil


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_but_get_is_answered(running: Running, method: str) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as raw:
        raw.sendall(f"{method} /executions HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        reply = b"".join(iter(lambda: raw.recv(65536), b""))
    assert not reply or int(reply.split()[1]) in (400, 405)


def test_many_half_open_connections_keep_nobody_out(
    running: Running, execution: str, get: Callable[..., Any]
) -> None:
    """10,000, of which 3,000 stay at once, since a machine may allow a process no more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    began = time.monotonic()
    knocking: deque[socket.socket] = deque()
    try:
        for _ in range(10):
            for _ in range(1000):
                each = socket.socket()
                knocking.append(each)
                each.settimeout(10)
                each.connect(("127.0.0.1", running.port))
                each.send(b"GET /executions HTTP/1.1\r\n")
            assert answer(running, {"Authorization": f"Bearer {running.token}"}, []) == "in"
            while len(knocking) > 2000:
                knocking.popleft().close()
    finally:
        for each in knocking:
            each.close()
    assert time.monotonic() - began < 60
    metrics = get(running, "/metrics", raw=True).text
    (waiting,) = (
        line.split()[1]
        for line in metrics.splitlines()
        if line.startswith("aetherscript_sidecar_half_open_connections ")
    )
    assert int(waiting) <= 2000


def test_a_thousand_clients_who_come_at_once_are_all_let_in(
    journal: Journal, execution: str
) -> None:
    async def come() -> set[bytes]:
        served = Sidecar(journal, SidecarSettings(token=WRONG, port=0))
        await served.start()
        port = int(served.url.rstrip("/").rpartition(":")[2])
        # Nobody is answered meanwhile, as after a restart.
        coming = [upgraded((port, WRONG), f"/executions/{execution}") for _ in range(1000)]
        try:
            return {await asyncio.to_thread(each.recv, 12) for each in coming}
        finally:
            for each in coming:
                each.close()
            await served.stop()

    assert asyncio.run(come()) == {b"HTTP/1.1 101"}


def test_a_handshake_which_trickles_is_cut_off(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as raw:
        raw.sendall(b"GET /executions HTTP/1.1\r\n")
        began = time.monotonic()
        try:
            while time.monotonic() - began < 25:
                raw.sendall(b"X-Slow: 1\r\n")
                raw.settimeout(0.3)
                try:
                    if not raw.recv(1000):
                        break
                except TimeoutError:
                    continue
        except OSError:
            pass
        assert time.monotonic() - began < 20


def test_the_token_is_256_random_bits_in_a_file_of_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "token"
    token = read_token(file)
    assert len(token) >= 43
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_token(file) == token
    assert read_token(tmp_path / "other") != token
    assert [path.name for path in file.parent.iterdir()] == ["token"]


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o666])
def test_a_token_which_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "token"
    read_token(file)
    file.chmod(mode)
    with pytest.raises(SettingsError, match="can be read by others"):
        read_token(file)


def test_a_short_token_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text("secret")
    with pytest.raises(SettingsError, match="holds no token"):
        read_token(file)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("192.168.1.4", False), ("example.org", False)],
)  # fmt: skip
def test_what_only_this_machine_reaches(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_off_loopback_without_tls_it_refuses_to_start(own_journal: Journal, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "aether_dagster.cli", "sidecar", "--host", "0.0.0.0"]
    words += ["--port", "0", "--token", str(tmp_path / "token"), "--journal", own_journal.url]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run(words, capture_output=True, text=True, env=environ, check=False)
    assert result.returncode == 2
    assert "--tls-cert" in result.stderr
    assert "Traceback" not in result.stderr


def test_with_tls_it_serves_off_loopback_by_its_name(
    own_journal: Journal, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    import ssl

    cert, key = certificate
    options = ["--host", "0.0.0.0", "--allow-host", "build.example.org"]
    options += ["--tls-cert", str(cert), "--tls-key", str(key)]
    trusting = ssl.create_default_context(cafile=str(cert))

    async def look(running: Running) -> None:
        async with connect(
            f"wss://build.example.org:{running.port}/executions",
            host="127.0.0.1",
            ssl=trusting,
            additional_headers={"Authorization": f"Bearer {running.token}"},
        ) as connection:
            assert Follower().take(await connection.recv())["update_mask"] == ["*"]

    with sidecar(own_journal.url, tmp_path, *options) as running:
        assert running.url.startswith("https://build.example.org:")
        asyncio.run(look(running))


def test_an_allowed_origin_may_connect_and_embed(
    own_journal: Journal, tmp_path: Path, get: Callable[..., Any]
) -> None:
    origin = "https://intranet.example.org"
    with sidecar(own_journal.url, tmp_path, "--allow-origin", origin) as running:
        headers = {"Authorization": f"Bearer {running.token}", "Origin": origin}
        assert answer(running, headers, []) == "in"
        page = get(running, "/?embed=1", raw=True, token=None)
        if page.status_code == 200:
            assert f"frame-ancestors 'self' {origin}" in page.headers["Content-Security-Policy"]
