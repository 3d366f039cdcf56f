"""axe finds no fault with any view in either theme, and the keyboard reaches everything."""

import importlib.resources
from functools import cache

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
expect = sync_api.expect
pytestmark = pytest.mark.browser


@cache
def axe():
    package = pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python")
    return importlib.resources.files(package).joinpath("axe.min.js").read_text("utf-8")


EVERYTHING = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = '(only) => axe.run(document, {runOnly: only, resultTypes: ["violations"]})'
FOCUSED = """
() => {
  const at = document.activeElement;
  if (at === document.body) return ["BODY", "2px solid"];
  const name = at.id || at.getAttribute("aria-label") || at.textContent;
  const { outlineStyle, outlineWidth } = getComputedStyle(at);
  return [name, `${outlineWidth} ${outlineStyle}`];
}
"""


def violations(page, only):
    page.evaluate(axe())
    return [
        (found["id"], found["help"], [node["html"][:160] for node in found["nodes"]])
        for found in page.evaluate(RUN, only)["violations"]
    ]


@pytest.fixture
def busy(orders):
    """Every status at once, and everything which a panel may show."""
    error = {"type": "KeyError", "message": "no 'a'", "attempt": 1, "traceback": "Traceback …\n"}
    orders.run("extract", output={"rows": 3})
    orders.begin("clean", input_payload={"a": 1})
    orders.end("clean", seconds=1, status="retrying", error=error)
    orders.begin("clean", retry_count=1)
    orders.end("clean", seconds=1, status="failed", error={**error, "attempt": 2})
    orders.begin("enrich")
    orders.begin("load")
    orders.end("load", seconds=1, status="retrying", error=error)
    return orders


# A theme is colours and nothing else.
@pytest.mark.parametrize(("theme", "only"), [("light", EVERYTHING), ("dark", ["color-contrast"])])
def test_axe_finds_no_violation(visit, server, busy, theme, only):
    page = visit("&node=clean", color_scheme=theme)
    expect(page.get_by_role("region", name="Attempts side by side")).to_be_visible()
    found = {"graph": violations(page, only)}
    for key, view in (("2", "timeline"), ("3", "list"), ("e", "executions")):
        page.keyboard.press(key)
        page.wait_for_timeout(120)
        found[view] = violations(page, only)
    page.keyboard.press("?")
    found["help"] = violations(page, only)
    page.keyboard.press("Escape")
    # Chromium closes it by and by, and until then keys are for it.
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("1")
    page.get_by_role("slider").press("Home")
    expect(page.locator("#banner")).to_be_visible()
    found["past"] = violations(page, only)
    server.stop()
    expect(page.locator("#banner")).to_contain_text("Connection lost")
    found["lost"] = violations(page, only)
    assert {view: each for view, each in found.items() if each} == {}


def test_tab_reaches_every_control_and_focus_is_seen(visit, busy):
    page = visit("&view=list&node=clean")
    expect(page.get_by_role("region", name="Attempts side by side")).to_be_visible()
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        name, outlined = page.evaluate(FOCUSED)
        if name == "BODY" or (name in reached and name == reached[0]):
            break
        reached.append(name)
        assert outlined == "2px solid", name
    wanted = [
        "skip",
        "to-executions",
        "theme",
        "help-open",
        "tab-list",
        "search",
        "Steps",
        "replay-slider",
    ]
    assert set(wanted) <= set(reached)
    assert {"Close the step", "Traceback", "extract", "load", "Input", "Status"} <= set(reached)
    assert any(name.startswith("Failed") for name in reached)


def test_tabs_of_the_views_are_walked_by_arrows(visit, orders):
    page = visit()
    page.get_by_role("tab", name="Graph").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Timeline")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Timeline")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("tab", name="List")).to_be_focused()


def test_a_key_counts_as_soon_as_the_help_is_closed(visit, orders):
    """Until the next frame, what is focused is still inside of what was closed."""
    page = visit("&view=list")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.evaluate("""() => {
        document.querySelector("dialog[open]").close();
        const key = new KeyboardEvent("keydown", { key: "1", bubbles: true });
        document.activeElement.dispatchEvent(key);
    }""")
    expect(page.get_by_role("tabpanel", name="Graph")).to_be_visible()


def test_the_page_holds_on_a_narrow_screen(visit, busy):
    page = visit("&node=clean", viewport={"width": 420, "height": 800})
    panel = page.get_by_role("complementary", name="Details")
    expect(panel).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    page.get_by_role("button", name="Close the step").click()
    expect(panel).to_be_hidden()
