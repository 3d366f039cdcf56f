import base64
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest

from aether_dagster.errors import StepFailed, StepTimeout
from aether_dagster.steps import StepContext, http_request, run_step

Started = Callable[[], list[psutil.Process]]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None: ...

    def answer(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if url.path == "/echo":
            told = {
                "method": self.command,
                "query": parse_qs(url.query),
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": body.decode(),
            }
            self.answer(200, json.dumps(told).encode(), "application/json")
        elif url.path == "/text":
            self.answer(
                200,
                "grüße".encode("latin-1"),
                "text/plain; charset=latin-1",
                Set_Cookie="session=hunter22",
            )
        elif url.path == "/moved":
            self.answer(302, b"", "text/plain", Location="/echo")
        elif url.path == "/large":
            self.answer(200, b"x" * 100_000, "text/plain")
        elif url.path == "/slow":
            time.sleep(2)
            self.answer(200, b"", "text/plain")
        else:
            self.answer(503, b"database is down", "text/plain")

    do_POST = do_PUT = do_GET  # noqa: N815 - the names are http.server's


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def get(context: StepContext, url: str, timeout: float | None = None, /, **args: Any) -> Any:
    return run_step("http/request", {"url": url, **args}, context, timeout=timeout)


@pytest.mark.parametrize("timeout", [None, 60.0], ids=["here", "in a child"])
def test_an_answer_has_status_headers_and_json(
    context: StepContext, server: str, timeout: float | None
):
    answer = get(
        context,
        f"{server}/echo",
        timeout,
        method="post",
        params={"q": "a b", "n": [1, 2]},
        headers={"X-Run": 7},
        json={"rows": [1]},
    )
    assert answer["status"] == 200
    assert answer["headers"]["content-type"] == "application/json"
    told = answer["body"]
    assert told["method"] == "POST"
    assert told["query"] == {"q": ["a b"], "n": ["1", "2"]}
    assert told["headers"]["x-run"] == "7"
    assert json.loads(told["body"]) == {"rows": [1]}


def test_text_is_decoded_and_cookies_are_hidden(context: StepContext, server: str):
    answer = get(context, f"{server}/text")
    assert answer["body"] == "grüße"
    assert answer["headers"]["set-cookie"] == "***"
    assert get(context, f"{server}/text", output="bytes") == "grüße".encode("latin-1")
    with pytest.raises(StepFailed, match="The answer is not JSON"):
        get(context, f"{server}/text", output="json")


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ({"username": "u", "password": "p"}, "Basic " + base64.b64encode(b"u:p").decode()),
        ({"token": "t"}, "Bearer t"),
    ],
)
def test_credentials_are_sent(
    context: StepContext, server: str, auth: dict[str, str], expected: str
):
    told = get(context, f"{server}/echo", auth=auth, output="json")
    assert told["headers"]["authorization"] == expected


def test_forms_and_text_are_sent(context: StepContext, server: str):
    form = get(context, f"{server}/echo", method="PUT", data={"a": "1 2"}, output="json")
    assert (form["method"], form["body"]) == ("PUT", "a=1+2")
    text = get(context, f"{server}/echo", method="POST", content="hello", output="json")
    assert text["body"] == "hello"


def test_redirects_are_followed_unless_told_otherwise(context: StepContext, server: str):
    assert get(context, f"{server}/moved")["body"]["method"] == "GET"
    assert get(context, f"{server}/moved", follow_redirects=False)["status"] == 302


def test_a_bad_status_fails_the_step_and_quotes_the_answer(context: StepContext, server: str):
    with pytest.raises(StepFailed) as caught:
        get(context, f"{server}/down?key=hunter22")
    assert caught.value.type == "HTTPStatusError"
    assert caught.value.message == (
        f"GET {server}/down?… was answered with 503 Service Unavailable. It says: database is down"
    )
    assert get(context, f"{server}/down", raise_for_status=False)["status"] == 503


@pytest.mark.parametrize(
    ("url", "type_", "message"),
    [
        (
            "http://me:hunter22@127.0.0.1:9/x?k=hunter22",
            "ConnectError",
            r"GET http://127.0.0.1:9/x\?…",
        ),
        ("ftp://me:hunter22@host/", "UnsupportedProtocol", "must begin with http"),
        ("http://me:hunter22@host:port/", "InvalidURL", "cannot be read"),
        ("hunter22", "UnsupportedProtocol", "must begin with http"),
    ],
)
def test_no_error_shows_user_password_or_query(
    context: StepContext, url: str, type_: str, message: str
):
    with pytest.raises(StepFailed, match=message) as caught:
        get(context, url)
    assert caught.value.type == type_
    assert "hunter22" not in f"{caught.value} {caught.value.traceback}"


def test_a_connector_gives_base_url_and_headers(
    context: StepContext, server: str, connectors: dict[str, Mapping[str, Any]]
):
    connectors["api"] = {"type": "http", "url": server, "headers": {"X-Key": "k", "X-Run": "c"}}
    told = get(context, "/echo", connector="api", headers={"X-Run": "s"}, output="json")
    assert (told["headers"]["x-key"], told["headers"]["x-run"]) == ("k", "s")
    other = server.replace("127.0.0.1", "localhost")
    told = get(context, f"{other}/echo", connector="api", output="json")
    assert "x-key" not in told["headers"]


def test_a_connector_of_another_type_is_refused(
    context: StepContext, connectors: dict[str, Mapping[str, Any]]
):
    connectors["db"] = {"type": "sql", "url": "sqlite://"}
    with pytest.raises(StepFailed, match="'db' is of type 'sql'; http/request needs"):
        get(context, "/x", connector="db")


def test_an_answer_which_is_too_large_is_refused(
    context: StepContext, server: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(http_request, "MOST_BYTES", 10_000)
    with pytest.raises(StepFailed, match="gave more than 10000 bytes"):
        get(context, f"{server}/large")


def test_a_slow_server_ends_at_the_requests_or_the_steps_timeout(
    started: Started, context: StepContext, server: str
):
    with pytest.raises(StepFailed, match=r"was not answered within 0\.2 s"):
        get(context, f"{server}/slow", timeout=0.2)
    with pytest.raises(StepTimeout):
        get(context, f"{server}/slow", 0.5)
    assert started() == []
