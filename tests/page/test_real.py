"""The page beside the sidecar itself, and beside a run of the command line."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aether_dagster.journal import Journal
from tests.journal.builders import initialization, reserve
from tests.sidecar.running import ROOT, sidecar
from tests.sidecar.test_server import run_to_its_end

sync_api = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
expect = sync_api.expect
pytestmark = pytest.mark.browser

PIPELINE = """
version: "2.1"
metadata: {name: orders}
pipeline:
  steps:
    - {id: extract, type: python/call, args: {callable: "shop:extract"}}
    - id: clean
      type: python/call
      retries: 1
      retry: {delay: 2}  # longer than a second, as seldom as the page is looked at
      args: {callable: "shop:clean", rows: "${steps.extract.output}"}
    - {id: load, type: python/call, dependsOn: [clean], args: {callable: "shop:load"}}
"""
STEPS = """
import time
from pathlib import Path

def extract(context):
    while not Path("go").exists():
        time.sleep(0.05)
    context.artifacts.set("orders", "s3://shop/orders.parquet")
    return [1, 2, 3]

def clean(rows, context):
    if context.attempt == 1:
        raise ConnectionError("the shop closed the connection")
    return len(rows)

def load():
    # The sidecar goes when the run has ended, and with it what the page could still ask for.
    while not Path("seen").exists():
        time.sleep(0.05)
"""


def row(page, name):
    return page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))


def test_the_page_follows_the_sidecar_through_its_death_to_the_end(visit, tmp_path):
    with Journal.open(f"sqlite:///{tmp_path}/state.db") as journal:
        pipeline_id = reserve(journal).pipeline_id
        journal.append(pipeline_id, [initialization(pipeline_id, "load", "plot")])
        with sidecar(journal.url, tmp_path) as running:
            fragment = f"#token={running.token}&execution={pipeline_id}&view=list"
            page = visit(url=f"{running.url}{fragment}")
            expect(row(page, "load")).to_contain_text("Pending")
            # By itself it would come back maybe just before the click: now not for minutes.
            page.evaluate("Math.random = () => 1000")
            os.kill(running.pid, signal.SIGKILL)
            expect(page.locator("#banner")).to_contain_text("Connection lost")
            expect(row(page, "load")).to_contain_text("Pending")
            running.process.wait()
        with sidecar(journal.url, tmp_path, port=running.port):
            page.get_by_role("button", name="Try now").click()
            expect(page.locator("#banner")).to_be_hidden()
            run_to_its_end(journal, pipeline_id)
            expect(page.get_by_text("Complete")).to_be_visible()
            final = journal.state(pipeline_id)
            for name, node in final["nodes"].items():
                expect(row(page, name)).to_contain_text(node["status"].capitalize())
            page.get_by_role("slider").press("Home")
            expect(row(page, "load")).to_contain_text("Pending")
            page.get_by_role("button", name="Now", exact=True).click()
            page.get_by_role("combobox", name="Speed").select_option("100")
            page.get_by_role("button", name="Replay").click()
            expect(page.get_by_role("button", name="Replay")).to_be_visible()
            for name, node in final["nodes"].items():
                expect(row(page, name)).to_contain_text(node["status"].capitalize())


def test_a_run_of_the_command_line_is_watched_from_its_first_step_to_its_end(visit, tmp_path):
    (tmp_path / "orders.aether.yaml").write_text(PIPELINE)
    (tmp_path / "shop.py").write_text(STEPS)
    state = tmp_path / "state"
    words = ["run", "orders.aether.yaml", "--vis=127.0.0.1:0", "--state-history=executions"]
    with (tmp_path / "stderr").open("w") as stderr:
        run = subprocess.Popen(
            [sys.executable, "-m", "aether_dagster.cli", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(state)},
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        )
    try:
        url = announced(tmp_path / "stderr", run)
        token = (state / "aetherscript" / "sidecar.token").read_text().strip()
        page = visit(url=f"{url}#token={token}&execution=latest&view=list")
        page.set_default_timeout(30_000)
        expect(row(page, "extract")).to_contain_text("Executing", timeout=30_000)
        (tmp_path / "go").touch()
        expect(row(page, "clean")).to_contain_text("ConnectionError", timeout=30_000)
        expect(row(page, "load")).to_contain_text("Executing", timeout=30_000)
        row(page, "clean").click()
        compared = page.get_by_role("region", name="Attempts side by side")
        expect(compared.get_by_role("row", name="Error")).to_contain_text("ConnectionError")
        page.get_by_role("button", name="Close the step").click()
        (tmp_path / "seen").touch()
        expect(row(page, "load")).to_contain_text("Succeeded", timeout=30_000)
        expect(page.locator("#panel")).to_contain_text("s3://shop/orders.parquet")
        page.close()
        assert run.wait(60) == 0
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()
    (final,) = (tmp_path / "executions").glob("*/state_final.json")
    nodes = json.loads(final.read_text())["nodes"]
    assert [node["status"] for node in nodes.values()] == ["succeeded"] * 3


def announced(file: Path, run: subprocess.Popen[bytes]) -> str:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and run.poll() is None:
        if found := re.search(r"Live at (http\S+?)(#| )", file.read_text()):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(file.read_text())
