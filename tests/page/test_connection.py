"""The line between page and server: lost, found again, ended, refused."""

import re
import time

import pytest

from tests.page.server import TOKEN

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
expect = sync_api.expect
pytestmark = pytest.mark.browser


def row(page, name):
    return page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))


def test_a_lost_connection_is_told_and_the_state_kept_until_it_is_back(visit, server, orders):
    orders.run("extract")
    page = visit(f"&execution={orders.id}&view=list")
    expect(row(page, "extract")).to_contain_text("Succeeded")
    banner = page.locator("#banner")
    expect(banner).to_be_hidden()

    server.stop()
    expect(banner).to_contain_text("Connection lost. What you see is the state as of")
    expect(row(page, "extract")).to_contain_text("Succeeded")
    expect(page.get_by_text("Not connected")).to_be_visible()

    orders.begin("clean")
    server.start()
    expect(row(page, "clean")).to_contain_text("Executing")
    expect(banner).to_be_hidden()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()


def test_it_resumes_from_the_last_timestamp_it_had(visit, server, orders):
    page = visit(f"&execution={orders.id}&view=list")
    orders.begin("extract")
    expect(row(page, "extract")).to_contain_text("Executing")
    server.stop()
    expect(page.locator("#banner")).to_be_visible()
    server.start()
    expect(page.locator("#banner")).to_be_hidden()
    (since,) = [path for path in server.asked if "since=" in path]
    assert since == f"/executions/{orders.id}?since={orders.frames[-1]['timestamp']:g}" or (
        float(since.partition("since=")[2]) == orders.frames[-1]["timestamp"]
    )
    orders.end("extract", seconds=1)
    expect(row(page, "extract")).to_contain_text("Succeeded")


def test_it_tries_again_less_and_less_often(visit, server, orders):
    page = visit(f"&execution={orders.id}")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    page.evaluate(
        """() => {
          window.tried = [];
          Math.random = () => 0.99;  // waits of 250, 500, 1000, 2000 and 4000 ms
          const Real = WebSocket;
          window.WebSocket = class extends Real {
            constructor(...given) { super(...given); window.tried.push(performance.now()); }
          };
        }"""
    )
    server.stop()
    page.wait_for_timeout(4500)
    tried = page.evaluate("window.tried")
    assert 3 <= len(tried) <= 4
    assert tried[-1] - tried[-2] > 1.5 * (tried[1] - tried[0])
    server.start()
    page.get_by_role("button", name="Try now").click()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    assert len(page.evaluate("window.tried")) == len(tried) + 1


def test_a_finalized_execution_is_complete_and_not_asked_for_again(visit, server, orders):
    page = visit(f"&execution={orders.id}&view=list")
    expect(row(page, "extract")).to_be_visible()
    orders.begin("extract")
    orders.end("extract", seconds=1.5, status="failed", error={"type": "Timeout"})
    orders.finish("failed")
    expect(page.get_by_text("Complete")).to_be_visible()
    expect(page.locator("#title-status")).to_have_text("Failed")
    elapsed = page.locator("#title-elapsed").inner_text()
    page.wait_for_timeout(1300)
    assert page.locator("#title-elapsed").inner_text() == elapsed
    assert server.asked.count(f"/executions/{orders.id}") == 1
    assert not page.locator("#banner").is_visible()


def test_the_newest_execution_is_seen_to_end_although_its_stream_goes_on(visit, orders):
    page = visit("&view=list")
    expect(row(page, "extract")).to_contain_text("Pending")
    orders.run("extract")
    orders.finish("succeeded")
    expect(page.locator("#title-status")).to_have_text("Succeeded")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()


def test_latest_waits_where_there_is_none(visit, server):
    page = visit()
    expect(page.get_by_text("Waiting for an execution…")).to_be_visible()


def test_an_execution_which_is_not_there_is_told_and_not_asked_for_again(visit, server):
    page = visit("&execution=pipeline_00000000")
    expect(page.locator("#banner")).to_contain_text("There is no such execution.")
    asked = len(server.asked)
    page.wait_for_timeout(900)
    assert len(server.asked) == asked


def test_without_a_token_it_asks_for_one_and_takes_a_whole_address(visit, server, orders):
    page = visit(url=f"http://127.0.0.1:{server.port}/#view=list")
    dialog = page.get_by_role("dialog", name="A token is needed")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Address or token").fill(server.url("&execution=latest"))
    dialog.get_by_role("button", name="Open").click()
    expect(row(page, "extract")).to_be_visible()
    expect(page).to_have_url(re.compile(f"#token={TOKEN}&view=list"))


def test_the_token_is_in_no_request_line(visit, server, orders):
    page = visit("&view=list")
    expect(row(page, "extract")).to_be_visible()
    page.keyboard.press("e")
    expect(row(page, "orders")).to_be_visible()
    assert not [path for path in server.asked if TOKEN in path]


def test_elapsed_times_run_on_while_the_connection_is_lost(visit, server, orders):
    orders.begin("extract", at=time.time())
    page = visit(f"&execution={orders.id}&view=list")
    expect(row(page, "extract")).to_contain_text("Executing")
    server.stop()
    expect(page.locator("#banner")).to_contain_text("Connection lost")
    elapsed = row(page, "extract").get_by_role("gridcell").last
    before = elapsed.inner_text()
    expect(elapsed).not_to_have_text(before)
