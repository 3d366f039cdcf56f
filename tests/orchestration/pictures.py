"""Takes the pictures of Dagster's UI in `docs/images`: `python -m tests.orchestration.pictures`."""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from tests.orchestration.deployment import LOCATION, Deployment
from tests.orchestration.pipelines import write
from tests.page.conftest import browsing

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
SALES = """
    version: "2.1"
    metadata: {name: sales, description: The day's orders, owners: ["team:data"]}
    plugins: [{name: DataValidator, version: ^1.4.0}]
    context: {artifacts: {data_rules: %s/rules.json}}
    pipeline:
      steps:
        - id: extract
          type: core/echo
          description: The orders of one day
          args:
            message:
              - {id: 1, region: north, amount: 12.5}
              - {id: 2, region: south, amount: 8.0}
              - {id: 3, region: north, amount: 4.75}
        - id: total
          type: core/echo
          args: {message: "${steps.extract.output[0].amount} in ${steps.extract.output[0].region}"}
"""
RULES = {
    "extract": {"min_rows": 1, "not_null": ["id"], "unique": ["id"], "ranges": {"amount": [0, 100]}}
}
TEAM = """
from pathlib import Path
from aether_dagster import build_defs, build_state_hook_sensors
HERE = Path(__file__).parent
SENSORS = build_state_hook_sensors(HERE / "hooks")
import dagster as dg
from aether_dagster import aether_executor
defs = dg.Definitions.merge(
    build_defs(HERE / "sales.aether.yaml"),
    dg.Definitions(sensors=SENSORS, executor=aether_executor),
)
"""
SENSOR = "state_logger_state_hook_sensor"
TICKS = """
query Ticks($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) {
    ... on Sensor { sensorState { ticks(limit: 25) { timestamp skipReason } } }
  }
}
"""


def _prepare(folder: Path) -> None:
    write(folder, SALES % folder, "sales.aether.yaml")
    (folder / "rules.json").write_text(json.dumps(RULES))
    (folder / "team.py").write_text(TEAM)
    shutil.copytree(ROOT / "examples/data-validator", folder / "plugins/data-validator")
    (folder / "hooks").mkdir()
    shutil.copy(ROOT / "hooks/state_logger.py", folder / "hooks")


def _ended(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is not None and run.is_finished


def _delivered(deployment: Deployment) -> list[datetime]:
    """When the hook's sensor delivered something."""
    selector = {
        "repositoryLocationName": LOCATION,
        "repositoryName": "__repository__",
        "sensorName": SENSOR,
    }
    ticks = deployment.graphql(TICKS, selector=selector)["sensorState"]["ticks"]
    told = ((tick["timestamp"], tick["skipReason"] or "0 delivered") for tick in ticks)
    return [
        datetime.fromtimestamp(at, UTC) for at, said in told if not said.startswith("0 delivered")
    ]


def _point_at(page: Any, tick: datetime) -> None:
    """Lets the page show what a tick said."""
    row = page.locator("tr", has_text=tick.strftime("%b %-d, %-I:%M:%S %p")).last
    row.get_by_text("0 runs requested").first.hover()


def _shoot(
    page: Any, url: str, seen: str, name: str, before: Callable[[], None] = lambda: None
) -> None:
    page.goto(url)
    page.get_by_text(seen).first.wait_for(timeout=180_000)
    page.wait_for_timeout(4_000)
    before()
    page.wait_for_timeout(500)
    page.screenshot(path=IMAGES / f"{name}.png")
    sys.stdout.write(f"{name}\n")
    sys.stdout.flush()


def main() -> None:
    """Runs a pipeline in a deployment, and takes the pictures."""
    folder = Path(tempfile.mkdtemp()) / "team"
    _prepare(folder)
    environ = {
        "AETHERSCRIPT_STATE_HISTORY": str(folder / "executions"),
        "AETHERSCRIPT_LIVE_URL": "https://live.example.com",
    }
    with Deployment(folder, "team", environ) as deployment:
        deployment.start_daemon()
        checks = [f"DataValidator_{kind}" for kind in RULES["extract"]]
        assets = [["sales", "extract"], ["sales", "total"]]
        run_id = deployment.launch("__ASSET_JOB", *assets, checks=checks)
        with dg.DagsterInstance.from_config(str(deployment.home)) as instance:
            deployment.wait_until(lambda: _ended(instance, run_id), "the end of the run")
        asset = f"{deployment.url}/assets/sales/extract"
        with browsing() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 860}, timezone_id="UTC")
            page.set_default_timeout(180_000)
            deployment.wait_until(lambda: bool(_delivered(deployment)), "a delivery")
            (tick, *_) = _delivered(deployment)
            sensor = f"{deployment.url}/locations/{LOCATION}/sensors/{SENSOR}"
            _shoot(page, sensor, "View logs", "hook-ticks", lambda: _point_at(page, tick))
            _shoot(page, f"{asset}?view=events", "aether/execution_time", "materialization")
            _shoot(page, f"{asset}?view=checks", "DataValidator_unique", "checks")


if __name__ == "__main__":
    main()
