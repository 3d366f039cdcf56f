"""A real Chromium, and a page in it which must not say a word of error."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.page.server import Execution, PageServer

# As root Chromium has no sandbox of its own; what it would fetch by itself is of no use here.
FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
]


def chromium() -> str | None:
    """Where this machine's Chromium is, if it has one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@contextmanager
def browsing() -> Iterator[Any]:
    """A Chromium, ended at the end."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            yield running
        finally:
            running.close()


# Not for the whole session: as long as it is open, playwright keeps an event loop in this thread,
# in which no other test could run one.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    pytest.importorskip("playwright", reason="needs the package playwright")
    if chromium() is None:
        pytest.skip("needs a Chromium: apt-get install chromium, or set CHROMIUM to its path")
    with browsing() as running:
        yield running


@pytest.fixture
def server() -> Iterator[PageServer]:
    serving = PageServer()
    yield serving
    serving.close()


@pytest.fixture
def visit(browser: Any, server: PageServer) -> Iterator[Callable[..., Any]]:
    """Opens the page in a browser of its own; at the end, no script may have failed in it."""
    with ExitStack() as stack:
        wrong: list[str] = []

        def opened(fragment: str = "", *, query: str = "", url: str | None = None, **options: Any):
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(20_000)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda line: wrong.append(line.text) if complains(line) else None)
            page.goto(url or server.url(fragment, query=query))
            return page

        yield opened
        assert not wrong


def complains(line: Any) -> bool:
    """A refused connection is told by the browser itself, and meant to happen in some tests."""
    refused = ("ERR_CONNECTION", "WebSocket connection to", "Failed to load resource")
    return line.type == "error" and not any(each in line.text for each in refused)


@pytest.fixture
def orders(server: PageServer) -> Execution:
    """An execution of a small pipeline; two minutes ago it began."""
    steps = [
        {"id": "extract", "type": "http/get"},
        {"id": "clean", "type": "python/call", "dependencies": ["extract"], "retries": 2},
        {"id": "enrich", "type": "sql/query", "dependencies": ["extract"]},
        {"id": "load", "type": "sql/query", "dependencies": ["clean", "enrich"]},
        {"id": "notify", "type": "http/post", "dependencies": ["load"]},
    ]
    return server.add(Execution(steps, start=time.time() - 120))
