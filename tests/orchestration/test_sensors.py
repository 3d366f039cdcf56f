"""`aether_reconcile_sensor`: a deployment ends its dead executions by itself (spec 7)."""

import os
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from aether_dagster import AetherSettings
from aether_dagster.orchestration import sensors
from aether_dagster.orchestration.sensors import aether_reconcile_sensor, watch_over
from tests.journals import journal_environment
from tests.orchestration.scenarios import PACKAGES, Opened, Place, Places

STEPS = """
    - {id: one, type: core/echo, args: {message: one}}
    - {id: two, type: core/echo, args: {message: "${steps.one.output}"}}
"""


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "_known", set[AetherSettings]())


def tick(opened: Opened) -> str:
    context = dg.build_sensor_context(instance=opened.instance)
    result = aether_reconcile_sensor(context)
    assert isinstance(result, dg.SkipReason)
    return result.skip_message or ""


def test_it_ends_what_died_and_says_what_it_did(places: Places) -> None:
    place = places(STEPS)
    place.start(death="between steps").end()
    with place.opened() as opened:
        watch_over(AetherSettings(journal=opened.journal.url))
        pipeline_id = opened.record().pipeline_id
        assert tick(opened) == (
            f"1 unfinished executions; brought to their end: {pipeline_id} (failed)."
        )
        assert opened.run().status == dg.DagsterRunStatus.FAILURE
        assert tick(opened) == "0 unfinished executions; brought to their end: none."
    place.left().check()


def test_it_looks_after_the_journals_which_it_was_told_of_alone(
    places: Places, tmp_path: Path
) -> None:
    place = places(STEPS)
    place.start(death="between steps").end()
    with place.opened() as opened:
        watch_over(AetherSettings(journal=str(tmp_path / "another.db")))
        assert tick(opened).startswith("0 unfinished")
        assert opened.record().finalized is None


def test_what_cannot_be_ended_fails_the_tick_and_keeps_nobody_from_the_others(
    places: Places,
) -> None:
    place = places(STEPS)
    place.start(death="between steps").end()
    with place.opened() as opened:
        first = opened.record()
        assert first.history is not None
        folder = Path(first.history)
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        folder.touch()
        place.start(death="between steps").end()
        watch_over(AetherSettings(journal=opened.journal.url))
        with pytest.raises(dg.Failure, match=first.pipeline_id):
            tick(opened)
        statuses = {r.run_id: r.status for r in opened.instance.get_runs()}
        assert set(statuses.values()) == {dg.DagsterRunStatus.FAILURE}
        assert all(record.finalized for record in opened.journal.executions())
        # As soon as its files can be written, they are.
        folder.unlink()
        folder.mkdir()
        assert first.pipeline_id in tick(opened)
        assert (folder / "state_final.json").exists()
        assert tick(opened).startswith("0 unfinished")


def test_definitions_of_two_pipelines_bring_one_sensor_which_runs_from_the_start(
    tmp_path: Path,
) -> None:
    from aether_dagster import build_defs
    from tests.orchestration.pipelines import simple, write

    one = build_defs(write(tmp_path, simple("one", "a"), "one.aether.yaml"))
    two = build_defs(write(tmp_path, simple("two", "b"), "two.aether.yaml"))
    merged = dg.Definitions.merge(one, two)
    assert merged.get_repository_def().sensor_defs == [aether_reconcile_sensor]
    assert aether_reconcile_sensor.default_status == dg.DefaultSensorStatus.RUNNING


DEFINITIONS = """
import dagster as dg
from aether_dagster import build_defs

@dg.definitions
def defs():
    return build_defs("tiny.aether.yaml")
"""


def test_dagsters_own_daemon_ends_what_died(places: Places) -> None:
    place = places(STEPS)
    place.start(death="between steps").end()
    (place.directory / "deployed.py").write_text(DEFINITIONS)
    daemon = _daemon(place)
    try:
        give_up = time.monotonic() + 100
        with place.opened() as opened:
            while opened.record().finalized is None:
                assert daemon.poll() is None, (place.directory / "daemon.log").read_text()
                assert time.monotonic() < give_up, (place.directory / "daemon.log").read_text()
                time.sleep(0.2)
    finally:
        daemon.terminate()
        daemon.wait(30)
    place.left().check()


def _daemon(place: Place) -> subprocess.Popen[bytes]:
    with (place.directory / "daemon.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-f", "deployed.py"],
            cwd=place.directory,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(PACKAGES),
                "DAGSTER_HOME": str(place.directory / ".aether"),
                **journal_environment(place.directory),
            },
            stdout=log,
            stderr=log,
        )
