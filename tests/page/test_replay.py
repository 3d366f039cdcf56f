"""The past of an execution: its versions by slider, by address, and played."""

import re
import time

import pytest

from tests.page.server import Execution

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
expect = sync_api.expect
pytestmark = pytest.mark.browser


def row(page, name):
    return page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))


@pytest.fixture
def over(server):
    """An execution of two steps which ended a minute ago: five versions."""
    execution = server.add(Execution([{"id": "a"}, {"id": "b"}], start=time.time() - 100))
    execution.begin("a", at=execution.start + 10)
    execution.end("a", seconds=5)
    execution.begin("b", at=execution.start + 20)
    execution.end("b", seconds=5, status="failed", error={"type": "Timeout", "message": "late"})
    execution.finish("failed")
    return execution


def test_the_slider_shows_a_version_and_now_leads_back(visit, over):
    page = visit(f"&execution={over.id}&view=list")
    slider = page.get_by_role("slider", name="Version")
    expect(slider).to_have_attribute("max", "5")
    expect(row(page, "b")).to_contain_text("Failed: Timeout")
    slider.focus()
    page.keyboard.press("Home")
    expect(row(page, "a")).to_contain_text("Pending")
    page.keyboard.press("ArrowRight")
    expect(row(page, "a")).to_contain_text("Executing")
    expect(page.locator("#banner")).to_contain_text("Version 2 of")
    expect(page).to_have_url(re.compile("&version=2$"))
    assert slider.get_attribute("aria-valuetext").startswith("Version 2 of 5")
    page.get_by_role("button", name="Now", exact=True).click()
    expect(row(page, "b")).to_contain_text("Failed: Timeout")
    expect(page.locator("#banner")).to_be_hidden()
    expect(page).not_to_have_url(re.compile("version="))


def test_the_slider_stays_where_it_was_put_while_other_things_are_told(visit, over):
    page = visit(f"&execution={over.id}&view=list")
    answers = {}
    page.route(re.compile("/versions"), lambda route: answers.update(versions=route))
    page.route(re.compile(r"\?version=1$"), lambda route: answers.update(first=route))
    page.reload()
    slider = page.get_by_role("slider", name="Version")
    expect(slider).to_have_attribute("max", "5")
    slider.focus()
    page.keyboard.press("Home")
    answers["versions"].continue_()
    page.wait_for_timeout(300)
    answers["first"].continue_()
    expect(page.locator("#banner")).to_contain_text("Version 1 of")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#banner")).to_contain_text("Version 2 of")


def test_the_timeline_ends_at_the_version_which_is_shown(visit, over):
    page = visit(f"&execution={over.id}&view=timeline&version=3")
    expect(row(page, "a")).to_be_visible()
    expect(row(page, "b")).to_have_count(0)
    expect(page.locator("#title-elapsed")).to_have_text("15.0 s")


def test_a_version_may_be_addressed(visit, over):
    page = visit(f"&execution={over.id}&view=list&version=4")
    expect(row(page, "b")).to_contain_text("Executing")
    expect(page.locator("#title-status")).to_have_text("Executing")


def test_changes_go_on_unseen_behind_the_version_which_is_shown(visit, orders):
    orders.begin("extract")
    page = visit(f"&execution={orders.id}&view=list&version=1")
    expect(row(page, "extract")).to_contain_text("Pending")
    orders.end("extract", seconds=1)
    orders.begin("clean")
    page.wait_for_timeout(150)
    expect(row(page, "extract")).to_contain_text("Pending")
    page.get_by_role("button", name="Back to now").click()
    expect(row(page, "clean")).to_contain_text("Executing")


def test_a_replay_shows_every_version_in_turn(visit, over):
    page = visit(f"&execution={over.id}&view=list")
    expect(row(page, "b")).to_contain_text("Failed")
    page.evaluate(
        """() => {
          window.seen = [];
          const look = () => {
            const shown = [...document.querySelectorAll(".grid-body .status-word")];
            const words = shown.map((each) => each.textContent).join();
            if (window.seen.at(-1) !== words) window.seen.push(words);
            requestAnimationFrame(look);
          };
          look();
        }"""
    )
    page.get_by_role("combobox", name="Speed").select_option("2")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.get_by_role("button", name="Replay")).to_be_visible()
    assert page.evaluate("window.seen") == [
        "Succeeded,Failed: Timeout",
        "Pending,Pending",
        "Executing,Pending",
        "Succeeded,Pending",
        "Succeeded,Executing",
        "Succeeded,Failed: Timeout",
    ]


def test_a_replay_pauses_at_the_version_it_shows(visit, over):
    page = visit(f"&execution={over.id}&view=list")
    page.get_by_role("button", name="Replay").click()
    page.get_by_role("button", name="Pause").click()
    banner = page.locator("#banner").text_content()
    # Which version that is depends on how busy the machine is.
    version = int(re.search(r"Version (\d+) of", banner)[1])
    shown = row(page, "a").text_content()
    assert ("Executing" in shown) == (version == 2)
    assert ("Succeeded" in shown) == (version > 2)
    page.wait_for_timeout(500)
    assert page.locator("#banner").text_content() == banner
    assert row(page, "a").text_content() == shown
