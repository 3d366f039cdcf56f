"""SlackNotifier against a server which stands in for Slack."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.error import HTTPError

import pytest
from slack_notifier import VARIABLE, Notify

from aethersdk.testing import HookTester


class Slack(HTTPServer):
    """Keeps what it is sent; answers with `status`."""

    def __init__(self):
        self.posts: list[dict] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self.server.posts.append(json.loads(self.rfile.read(length)))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def slack(monkeypatch):
    with Slack() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv(VARIABLE, f"http://127.0.0.1:{server.server_port}/services/T/B/x")
        yield server
        server.shutdown()
        thread.join()


def test_a_failure_and_the_end_are_told(slack):
    tester = HookTester(Notify, nodes={"load": "executing"})
    tester.end("load", "retrying", error={"type": "OSError", "message": "gone"})
    tester.end("load", "failed", error={"type": "OSError", "message": "gone"})
    tester.finalize("failed")
    assert [post["text"] for post in slack.posts] == [
        ":x: `load_01H3XZAB` failed: OSError: gone",
        ":x: `pipeline_01H3XYZ9` failed in 1.3 s: load",
    ]
    identities = [post["metadata"]["delivery_id"] for post in slack.posts]
    assert len(set(identities)) == 2


def test_a_refusal_of_slack_is_an_error_which_the_outbox_tries_again(slack):
    slack.status = 500
    with pytest.raises(HTTPError):
        HookTester(Notify).finalize()


def test_without_a_webhook_the_log_says_so(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    tester = HookTester(Notify)
    tester.finalize()
    assert "nobody is told" in tester.messages[0]
