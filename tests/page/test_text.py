"""Whatever stands in a name, an error or a payload is shown as text, and never run."""

import time

import pytest

from tests.page.server import Execution

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
expect = sync_api.expect
pytestmark = pytest.mark.browser

ATTACKS = [
    "<script>window.attacked = true</script>",
    '"><img src=x onerror="window.attacked = true">',
    "<svg onload=window.attacked=true>",
    "javascript:window.attacked=true",
    "{{constructor.constructor('window.attacked = true')()}}",
]


def test_script_is_shown_and_not_run(visit, server):
    steps = [{"id": attack, "type": attack, "description": attack} for attack in ATTACKS]
    steps.append({"id": "after", "dependencies": ATTACKS})
    execution = server.add(Execution(steps, name=ATTACKS[0], start=time.time() - 60))
    for attack in ATTACKS:
        error = {"type": attack, "message": attack, "attempt": 1, "traceback": attack, attack: 1}
        execution.begin(attack, input_payload={attack: attack})
        execution.end(attack, seconds=1, status="retrying", error=error)
        execution.begin(attack, retry_count=1)
        execution.end(attack, seconds=1, status="failed", error=error, output_payload=attack)
        execution.document["context"]["artifacts"][attack] = attack
        execution.commit([("context", "artifacts", attack)])

    page = visit("&view=list")
    expect(page.locator("#title")).to_have_text(ATTACKS[0])
    expect(page.locator("#panel dl").nth(1)).to_contain_text(ATTACKS[1])
    panel = page.get_by_role("complementary", name="Details")
    for attack in ATTACKS:
        page.locator(".grid-body .name").get_by_text(attack, exact=True).click()
        expect(panel.locator("h2")).to_have_text(attack)
        expect(panel.locator(".error").first).to_contain_text(f"{attack}: {attack}")
        expect(panel.get_by_role("region", name="Attempts side by side")).to_contain_text(attack)
    for key in ("2", "1", "e"):
        page.keyboard.press(key)
        page.wait_for_timeout(80)
    assert page.evaluate("window.attacked") is None
    assert page.locator("main img, aside img, script:not([src])").count() == 0


def test_the_page_has_no_script_or_style_of_its_own_in_its_markup_and_fetches_nothing_else(
    visit, server, orders
):
    elsewhere = []
    page = visit()
    page.on("request", lambda request: elsewhere.append(request.url))
    page.reload()
    expect(page.get_by_role("heading", name="orders").first).to_be_visible()
    host = f"127.0.0.1:{server.port}"
    assert [url for url in elsewhere if host not in url and not url.startswith("data:")] == []
    markup = page.request.get(server.url()).text()
    assert "style=" not in markup
    assert "onclick" not in markup
    assert "<script>" not in markup
