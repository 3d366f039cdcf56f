"""What a person sees of an execution, and how it is gone through by mouse and by keyboard."""

import re
import time

import pytest

from tests.page.server import Execution

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
expect = sync_api.expect
pytestmark = pytest.mark.browser

RGB = re.compile(r"\d+")
PIXELS = """
(canvas, wanted) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let at = 0; at < data.length; at += 4) {
    found += [0, 1, 2].every((part) => Math.abs(data[at + part] - wanted[part]) < 6);
  }
  return found;
}
"""


def drawn(page, status):
    """How many pixels of the graph have the colour of a status."""
    colour = page.evaluate(
        """(status) => {
          const probe = document.createElement("i");
          probe.className = `is-${status}`;
          document.body.append(probe);
          const { color } = getComputedStyle(probe);
          probe.remove();
          return color;
        }""",
        status,
    )
    wanted = [int(part) for part in RGB.findall(colour)[:3]]
    return page.locator(".graph-canvas").evaluate(PIXELS, wanted)


def becomes(page, status, pixels):
    """Whether the graph soon has more than so many pixels of the colour of a status."""
    give_up = time.monotonic() + 20
    while drawn(page, status) <= pixels:
        if time.monotonic() > give_up:
            return False
        page.wait_for_timeout(30)
    return True


def painted(page):
    page.locator(".graph-canvas[data-painted]").wait_for()
    return page


def row(page, name):
    return page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))


def test_the_graph_follows_the_run(visit, orders):
    page = painted(visit())
    expect(page.get_by_role("heading", name="orders").first).to_be_visible()
    assert drawn(page, "executing") == 0
    assert drawn(page, "failed") == 0

    orders.begin("extract")
    assert becomes(page, "executing", 100)
    orders.end(
        "extract", seconds=0.1, status="failed", error={"type": "Timeout", "message": "late"}
    )
    assert becomes(page, "failed", 100)
    assert drawn(page, "executing") == 0


def test_each_status_has_a_shape_of_its_own(visit, orders):
    signs = visit().locator("#help svg")
    told = signs.evaluate_all("(all) => all.map((each) => each.getAttribute('class').slice(8))")
    outlines = signs.evaluate_all(
        "(all) => all.map((each) => each.firstChild.getAttribute('d') + each.childElementCount)"
    )
    assert len(set(outlines)) == len(told) == 7, dict(zip(told, outlines, strict=True))


def test_the_graph_is_walked_by_keyboard(visit, orders):
    page = painted(visit())
    page.locator(".graph-canvas").focus()
    told = page.locator("#announcement")
    page.keyboard.press("ArrowRight")
    expect(told).to_have_text("extract: Pending")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(told).to_have_text("load: Pending, after clean, enrich")
    page.keyboard.press("ArrowRight")
    expect(told).to_have_text("notify: Pending, after load")
    page.keyboard.press("Enter")
    panel = page.get_by_role("complementary", name="Details")
    expect(panel.get_by_role("heading", name="notify")).to_be_visible()
    expect(panel).to_be_focused()
    page.keyboard.press("Escape")
    expect(panel.get_by_role("heading", name="orders")).to_be_visible()


def test_a_click_on_a_node_opens_it_and_a_drag_does_not(visit, server):
    server.add(Execution([{"id": "alone"}]))
    page = painted(visit())
    box = page.locator(".graph-canvas").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 40, steps=4)
    page.mouse.up()
    expect(page).not_to_have_url(re.compile("node="))
    page.mouse.click(middle[0] + 60, middle[1] + 40)
    expect(page.get_by_role("heading", name="alone")).to_be_visible()
    expect(page).to_have_url(re.compile("&node=alone$"))
    page.mouse.click(middle[0] + 60, middle[1] + 160)
    expect(page).not_to_have_url(re.compile("node="))


def test_the_wheel_zooms_where_the_pointer_is(visit, server):
    server.add(Execution([{"id": "alone"}]))
    page = painted(visit())
    before = drawn(page, "pending")
    box = page.locator(".graph-canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -300)
    assert becomes(page, "pending", 1.4 * before)


def test_the_list_follows_the_run_with_times_which_run(visit, orders):
    page = visit("&view=list")
    expect(row(page, "extract")).to_contain_text("Pending")
    orders.begin("extract", at=time.time() - 65)
    expect(row(page, "extract")).to_contain_text("Executing")
    expect(row(page, "extract")).to_contain_text(re.compile("1m 0[5-9]s"))
    orders.end("extract", seconds=0.25)
    expect(row(page, "extract")).to_contain_text("Succeeded")
    expect(row(page, "extract")).to_contain_text("250 ms")
    expect(page.get_by_role("button", name="Succeeded 1")).to_be_visible()


def test_the_list_is_sorted_searched_and_filtered(visit, orders):
    orders.run("extract", seconds=3)
    orders.begin("clean")
    page = visit("&view=list")
    names = page.locator(".grid-body .name")
    expect(names).to_have_text(["extract", "clean", "enrich", "load", "notify"])
    page.get_by_role("button", name="Step", exact=True).click()
    expect(names).to_have_text(["clean", "enrich", "extract", "load", "notify"])
    expect(page.get_by_role("columnheader", name="Step")).to_have_attribute(
        "aria-sort", "ascending"
    )
    page.get_by_role("button", name="Step", exact=True).press("Enter")
    expect(names).to_have_text(["notify", "load", "extract", "enrich", "clean"])
    page.keyboard.press("/")
    page.keyboard.type("sql")
    expect(names).to_have_text(["load", "enrich"])
    page.keyboard.press("Escape")
    page.get_by_role("button", name=re.compile("^Executing")).click()
    expect(names).to_have_text(["clean"])
    page.get_by_role("button", name=re.compile("^Executing")).click()
    page.get_by_role("searchbox").fill("nothing has this name")
    expect(page.get_by_text("No such step.")).to_be_visible()


def test_the_list_is_walked_by_keyboard_with_ten_thousand_rows(visit, server):
    server.add(Execution({"id": f"step_{n:05}"} for n in range(10_000)))
    page = visit("&view=list")
    grid = page.get_by_role("grid", name="Steps")
    expect(grid).to_have_attribute("aria-rowcount", "10001")
    grid.focus()
    assert 10 < page.locator(".grid-row").count() < 80
    active = page.locator(".grid-body .is-active")
    page.keyboard.press("ArrowDown")
    expect(active).to_contain_text("step_00000")
    page.keyboard.press("End")
    expect(active).to_contain_text("step_09999")
    expect(active).to_have_attribute("aria-rowindex", "10001")
    assert grid.get_attribute("aria-activedescendant") == active.get_attribute("id")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="step_09998")).to_be_visible()
    assert page.locator(".grid-row").count() < 80


def test_the_timeline_has_a_bar_for_each_attempt(visit, orders):
    orders.begin("extract", at=orders.start + 1)
    error = {"type": "Timeout", "message": "late", "attempt": 1, "traceback": None}
    orders.end("extract", seconds=20, status="retrying", error=error)
    orders.begin("extract", retry_count=1, at=orders.clock + 30)
    orders.end("extract", seconds=40, output_payload=7)
    page = visit("&view=timeline")
    bars = row(page, "extract").locator(".bars i")
    expect(bars).to_have_count(2)
    first, second = (each.bounding_box() for each in bars.all())
    assert second["width"] == pytest.approx(2 * first["width"], rel=0.1)
    assert second["x"] - first["x"] - first["width"] == pytest.approx(1.5 * first["width"], rel=0.1)
    told = row(page, "extract").get_by_role("gridcell").nth(1)
    expect(told).to_have_attribute(
        "aria-label", "Attempt 1: Retrying, 20.0 s; Attempt 2: Succeeded, 40.0 s"
    )
    expect(page.locator(".grid-body .grid-row")).to_have_count(1)


def test_attempts_seen_only_in_frames_have_bars_too(visit, orders):
    page = visit("&view=timeline")
    expect(page.get_by_text("No such step has begun.")).to_be_visible()
    orders.begin("extract")
    orders.end("extract", seconds=0.5, status="retrying", error={"type": "Timeout"})
    orders.begin("extract", retry_count=1)
    bars = row(page, "extract").locator(".bars i")
    expect(bars).to_have_count(2)
    before = bars.nth(1).bounding_box()["width"]
    page.wait_for_timeout(1200)
    assert bars.nth(1).get_attribute("title") != ""
    assert row(page, "extract").inner_text().split()[-1] == "s"
    assert before < bars.nth(1).bounding_box()["width"] + 1


def test_the_panel_shows_error_traceback_payloads_and_attempts_side_by_side(visit, orders):
    orders.begin("clean", input_payload={"rows": 12})
    error = {
        "type": "KeyError",
        "message": "no column 'price'",
        "attempt": 1,
        "traceback": 'Traceback (most recent call last):\n  File "clean.py", line 3',
    }
    orders.end("clean", seconds=1.5, status="retrying", error=error)
    page = visit("&node=clean")
    panel = page.get_by_role("complementary", name="Details")
    expect(panel.locator(".error")).to_have_text("KeyError: no column 'price'")
    expect(panel.get_by_role("group", name="Traceback", exact=True)).to_contain_text(
        '"clean.py", line 3'
    )
    expect(panel.get_by_role("group", name="Input", exact=True)).to_contain_text('"rows": 12')

    orders.run("clean", seconds=0.5, output={"rows": 11})
    compared = panel.get_by_role("region", name="Attempts side by side")
    expect(compared.get_by_role("columnheader")).to_have_text(["Attempt 1", "Attempt 2"])
    expect(compared.get_by_role("row", name="Error")).to_contain_text("KeyError")
    output = compared.get_by_role("row", name="Output")
    expect(output.get_by_role("cell").nth(0)).to_have_text("\N{EN DASH}")
    expect(output.get_by_role("cell").nth(1)).to_contain_text('"rows": 11')
    first, second = (each.bounding_box() for each in compared.get_by_role("columnheader").all())
    assert first["y"] == second["y"]
    panel.get_by_role("button", name="extract").click()
    expect(panel.get_by_role("heading", name="extract")).to_be_visible()


def test_a_value_which_is_stored_elsewhere_is_told_by_where(visit, orders):
    stored = {
        "$artifact": "file:///a/b.parquet",
        "sha256": "00ff",
        "bytes": 81320,
        "media_type": "x/y",
    }
    orders.run("extract", output=stored)
    page = visit("&node=extract")
    panel = page.get_by_role("complementary", name="Details")
    expect(panel).to_contain_text("file:///a/b.parquet")
    expect(panel).to_contain_text("81 kB")


def test_a_step_which_never_ran_says_why(visit, orders):
    error = {"type": "UpstreamFailed", "message": "load failed", "attempt": 0, "upstream": ["load"]}
    orders.change({"notify": {"error": error}})
    page = visit("&view=list&node=notify")
    expect(row(page, "notify")).to_contain_text("Pending: UpstreamFailed")
    expect(page.locator(".error")).to_have_text("UpstreamFailed: load failed")


def test_the_executions_are_listed_as_they_come_and_opened(visit, server, orders):
    old = server.add(Execution([{"id": "a"}], name="nightly", pipeline_id="pipeline_01HWS000"))
    page = visit("&view=executions")
    rows = page.locator(".grid-body .grid-row")
    expect(rows).to_have_count(2)
    orders.run("extract")
    expect(row(page, "orders").locator(".counts")).to_have_text("Succeeded1Pending4")
    server.add(Execution([{"id": "a"}], name="hourly", pipeline_id="pipeline_01HWS999"))
    expect(rows).to_have_count(3)
    page.keyboard.press("/")
    page.keyboard.type("night")
    expect(rows).to_have_count(1)
    rows.first.click()
    expect(page.get_by_role("heading", name="nightly").first).to_be_visible()
    expect(page).to_have_url(re.compile(f"execution={old.id}"))
    page.go_back()
    expect(rows.first).to_be_visible()


def test_the_newest_execution_takes_its_place_on_latest(visit, server, orders):
    page = visit("&view=list")
    expect(row(page, "extract")).to_be_visible()
    server.add(Execution([{"id": "other"}], name="next", pipeline_id="pipeline_01HWS999"))
    expect(row(page, "other")).to_be_visible()
    expect(page.get_by_role("heading", name="next").first).to_be_visible()


def test_an_address_leads_to_the_same_place_again(visit, orders):
    page = visit("&view=list")
    row(page, "enrich").click()
    page.get_by_role("tab", name="Timeline").click()
    expect(page).to_have_url(re.compile("view=timeline&node=enrich$"))
    again = visit(url=page.url)
    expect(again.get_by_role("tab", name="Timeline")).to_have_attribute("aria-selected", "true")
    expect(again.get_by_role("heading", name="enrich")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("tab", name="List")).to_have_attribute("aria-selected", "true")
    page.go_back()
    expect(page.get_by_role("heading", name="enrich")).to_have_count(0)


def test_dark_and_light_follow_the_system_until_one_is_chosen(visit, orders):
    page = visit(color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    theme = page.get_by_role("button", name=re.compile("^Theme"))
    assert page.evaluate(ground) == "rgb(14, 17, 22)"
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    assert page.evaluate(ground) == "rgb(247, 248, 250)"
    theme.click()
    theme.click()
    expect(theme).to_have_accessible_name("Theme: dark")
    assert page.evaluate(ground) == "rgb(14, 17, 22)"
    page.reload()
    assert page.evaluate(ground) == "rgb(14, 17, 22)"


def test_in_a_frame_of_another_page_only_the_execution_is_shown(visit, orders):
    page = painted(visit("&node=extract", query="?embed=1"))
    expect(page.get_by_role("heading", name="orders").first).to_be_visible()
    expect(page.get_by_role("link", name="Executions")).to_be_hidden()
    expect(page.get_by_role("button", name=re.compile("^Theme"))).to_be_hidden()
    expect(page.get_by_role("heading", name="extract")).to_be_visible()
