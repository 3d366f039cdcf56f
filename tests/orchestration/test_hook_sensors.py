"""State hooks in a Dagster deployment: sensors deliver, beside a command line and a real daemon."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import dagster as dg
import pytest
import yaml

from aether_dagster import AetherSettings, build_defs, build_state_hook_sensors
from aether_dagster.errors import PluginError
from aether_dagster.journal import Journal
from aether_dagster.orchestration import active, hook_sensors, run_side
from aether_dagster.orchestration.code_location import reconstructable_pipeline
from aether_dagster.orchestration.hook_sensors import document_hooks_sensor
from aether_dagster.orchestration.instance import embedded_instance
from aether_dagster.project import load_pipeline
from aethersdk import StateHook, Trigger
from tests.journals import journal_url
from tests.orchestration.pipelines import write
from tests.orchestration.scenarios import PACKAGES, document

STATE_LOGGER = Path(__file__).parents[2] / "hooks" / "state_logger.py"
STEPS = '    - {id: one, type: core/echo, args: {message: "hello"}}\n'


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What sensors deliver is known to the whole process; other tests must not meet it."""
    yield
    active._of_sensors.clear()
    hook_sensors._sensors.clear()


def materialize(directory: Path) -> str:
    """Runs the pipeline as a deployment does: no command line watches the run."""
    document = load_pipeline(directory / "tiny.aether.yaml")
    job = reconstructable_pipeline(document, variables={}, settings=settings(directory))
    with embedded_instance(directory) as instance:
        return dg.execute_job(job, instance, raise_on_error=False).run_id


def tick(
    directory: Path, sensor: dg.SensorDefinition, cursor: str | None = None
) -> tuple[str | None, list[dg.RunRequest], str | None]:
    with embedded_instance(directory) as instance:
        context = dg.build_sensor_context(instance=instance, cursor=cursor)
        data = sensor.evaluate_tick(context)
        return data.skip_message, list(data.run_requests or ()), data.cursor


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, document(STEPS))
    return tmp_path


def settings(place: Path) -> AetherSettings:
    return AetherSettings(journal=journal_url(place))


def calls(place: Path) -> list[tuple[str, str | None]]:
    with Journal.open(journal_url(place)) as journal:
        (record,) = journal.executions()
        return [(call.hook, call.outcome) for call in journal.outbox.calls(record.pipeline_id)]


def test_hooks_beside_a_document_have_sensors_of_their_own(place: Path) -> None:
    (place / "plugins").mkdir()
    (place / "plugins" / "state_logger.py").write_text(STATE_LOGGER.read_text())
    defs = build_defs(place, settings=settings(place))
    sensors = {sensor.name: sensor for sensor in defs.sensors or ()}
    sensor = sensors["state_logger_state_hook_sensor"]
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    merged = dg.Definitions.merge(defs, dg.Definitions(sensors=[sensor]))
    repository = merged.get_repository_def()
    assert [each.name for each in repository.sensor_defs].count(sensor.name) == 1

    run_id = materialize(place)
    assert calls(place) == [], "the run's own process delivers nothing"
    told, _, _ = tick(place, sensor)
    assert told == "1 delivered, 0 given up; 0 wait in 0 executions"
    assert calls(place) == [("state_logger.StateLogger", "returned")]
    told, _, _ = tick(place, sensor)
    assert told == "0 delivered, 0 given up; 0 wait in 0 executions"
    with embedded_instance(place) as instance:
        messages = [entry.message for entry in instance.all_logs(run_id)]
    assert any("transitioned: executing → succeeded" in message for message in messages)


def test_after_a_command_line_the_sensor_finds_everything_delivered(place: Path) -> None:
    from aether_dagster.orchestration.launch import RunRequest, run_pipeline

    (place / "plugins").mkdir()
    (place / "plugins" / "state_logger.py").write_text(STATE_LOGGER.read_text())
    run_pipeline(
        RunRequest(place / "tiny.aether.yaml", settings=settings(place), directory=place),
        on_change=lambda _: None,
    )
    assert calls(place) == [("state_logger.StateLogger", "returned")]
    (sensor,) = build_state_hook_sensors(place / "plugins", settings=settings(place))
    assert tick(place, sensor)[0] == "0 delivered, 0 given up; 0 wait in 0 executions"
    assert len(calls(place)) == 1


class Launcher(StateHook):
    job = "after"

    def post_state_finalize(self, report):
        return Trigger(tags={"status": report.status})


class Inline(StateHook):
    delivery = "inline"

    def post_node_execute(self, node_id):
        self.logger.info("at once")


class Failing(StateHook):
    retry_delay = 600

    def post_node_execute(self):
        raise ConnectionError("nobody answers")


@pytest.fixture
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks which a test makes active are no other test's."""
    from aether_dagster.orchestration import active

    monkeypatch.setattr(active, "_of_sensors", {})


@pytest.mark.usefixtures("_forget")
def test_a_trigger_launches_its_job_once(place: Path) -> None:
    (sensor,) = build_state_hook_sensors([Launcher], settings=settings(place))
    assert sensor.name == "launcher_state_hook_sensor"
    assert [target.job_name for target in sensor.targets] == ["after"]
    materialize(place)
    _, requests, cursor = tick(place, sensor)
    assert [(r.run_key, r.tags["status"]) for r in requests] == [(requests[0].run_key, "succeeded")]
    assert requests[0].run_key is not None
    assert requests[0].run_key.startswith("pipeline_")
    # A tick which was lost before Dagster kept its cursor asks again, with the same key.
    assert tick(place, sensor)[1][0].run_key == requests[0].run_key
    assert tick(place, sensor, cursor)[1] == []


@pytest.mark.usefixtures("_forget")
def test_inline_hooks_are_told_in_the_runs_own_process_and_their_sensor_finds_nothing(
    place: Path,
) -> None:
    (sensor,) = build_state_hook_sensors([Inline], settings=settings(place))
    materialize(place)
    assert calls(place) == [("test_hook_sensors.Inline", "returned")]
    assert tick(place, sensor)[0] == "0 delivered, 0 given up; 0 wait in 0 executions"
    assert len(calls(place)) == 1


@pytest.mark.usefixtures("_forget")
def test_what_the_process_of_a_run_left_of_an_inline_hook_its_sensor_delivers(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sensor,) = build_state_hook_sensors([Inline], settings=settings(place))
    # As if it had been killed before it delivered.
    monkeypatch.setattr(run_side, "start_deliveries", lambda *_, **__: None)
    materialize(place)
    with Journal.open(journal_url(place)) as journal:
        (record,) = journal.executions()
        assert journal.acquire(record.pipeline_id, "somebody", 30)
        assert tick(place, sensor)[0] == "0 delivered, 0 given up; 0 wait in 0 executions"
        assert journal.release(record.pipeline_id, "somebody")
    assert tick(place, sensor)[0] == "1 delivered, 0 given up; 0 wait in 0 executions"
    assert calls(place) == [("test_hook_sensors.Inline", "returned")]


@pytest.mark.usefixtures("_forget")
def test_a_delivery_which_fails_waits_and_its_lag_is_told(place: Path) -> None:
    (sensor,) = build_state_hook_sensors([Failing], settings=settings(place))
    materialize(place)
    told, _, _ = tick(place, sensor)
    assert told is not None
    assert told.startswith("1 delivered, 0 given up; 1 wait in 1 execution, the oldest for ")
    assert calls(place) == [("test_hook_sensors.Failing", "raised")]
    told, _, _ = tick(place, sensor)
    assert told is not None
    assert told.startswith("0 delivered"), "it is not tried again at once"


def test_a_sensor_does_what_documents_say(place: Path) -> None:
    more = 'hooks:\n  onSuccess: [{type: shell/run, args: {command: "echo yes > done.txt"}}]\n'
    write(place, document(STEPS, more=more))
    defs = build_defs(place, settings=settings(place))
    assert document_hooks_sensor() in (defs.sensors or ())
    materialize(place)
    assert not (place / "done.txt").exists()
    tick(place, document_hooks_sensor())
    assert (place / "done.txt").read_text() == "yes\n"


def test_a_hook_which_is_wrong_is_told_when_sensors_are_built() -> None:
    class Wrong(StateHook):
        def post_node_exectue(self): ...

    with pytest.raises(PluginError, match="did you mean 'post_node_execute'"):
        build_state_hook_sensors([Wrong])


LOCATION = """
    import dagster as dg
    from aether_dagster import AetherSettings, build_defs, build_state_hook_sensors

    SETTINGS = AetherSettings(journal={journal!r}, history="executions")
    defs = dg.Definitions.merge(
        build_defs("tiny.aether.yaml", settings=SETTINGS),
        dg.Definitions(sensors=build_state_hook_sensors("hooks", settings=SETTINGS)),
    )
"""


def wait(met, what, seconds=90.0):
    give_up = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < give_up, what
        time.sleep(0.2)


def test_a_deployment_with_a_real_daemon_tells_the_users_state_logger(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump({"telemetry": {"enabled": False}}))
    write(tmp_path, document(STEPS))
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "__init__.py").touch()
    (tmp_path / "hooks" / "state_logger.py").write_text(STATE_LOGGER.read_text())
    journal = f"sqlite:///{tmp_path / 'journal.db'}"
    (tmp_path / "location.py").write_text(dedent(LOCATION.format(journal=journal)))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AETHERSCRIPT", "DAGSTER"))}
    environ = {**kept, "DAGSTER_HOME": str(home), "PYTHONPATH": os.pathsep.join(PACKAGES)}
    script = Path(sys.executable).parent
    run = subprocess.run(
        [script / "dagster", "job", "execute", "-f", "location.py", "-j", "tiny"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert run.returncode == 0, run.stderr

    def outcomes() -> list[tuple[str, str | None]]:
        with Journal.open(journal) as opened:
            (record,) = opened.executions()
            return [(call.hook, call.outcome) for call in opened.outbox.calls(record.pipeline_id)]

    assert outcomes() == [], "nothing is delivered but by the daemon"
    log = tmp_path / "daemon.log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            [script / "dagster-daemon", "run", "-f", "location.py"],
            cwd=tmp_path,
            env=environ,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            wait(lambda: outcomes() != [], log.read_text)
            time.sleep(6)  # another tick, in which nothing may be delivered again
        finally:
            daemon.terminate()
            daemon.wait(30)
    assert outcomes() == [("state_logger.StateLogger", "returned")]
    assert "Node one_" in log.read_text()
    assert "transitioned: executing → succeeded" in log.read_text()
