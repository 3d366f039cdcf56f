"""The embedded instance, and the team's."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from aether_dagster.errors import SettingsError
from aether_dagster.orchestration.instance import embedded_home, embedded_instance, open_instance

_CHILD = """
import sys
import dagster as dg
from dagster._serdes import deserialize_value
from dagster._core.instance.ref import InstanceRef
with dg.DagsterInstance.from_ref(deserialize_value(sys.argv[1], InstanceRef)) as instance:
    instance.add_run_tags(sys.argv[2], {"seen": "by a child"})
"""


def test_the_embedded_instance_needs_no_daemon_and_sends_no_telemetry(tmp_path: Path) -> None:
    with embedded_instance(tmp_path) as instance:
        assert instance.telemetry_enabled is False
        assert type(instance.run_coordinator).__name__ != "QueuedRunCoordinator"
        assert Path(instance.root_directory) == tmp_path / ".aether"


def test_git_does_not_see_the_embedded_instance(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    with embedded_instance(tmp_path) as instance:
        instance.create_run_for_job(dg.GraphDefinition(name="g").to_job())
    status = ["git", "-C", str(tmp_path), "status", "--porcelain"]
    assert subprocess.check_output(status, text=True) == ""


def test_runs_stay_between_openings(tmp_path: Path) -> None:
    with embedded_instance(tmp_path) as instance:
        run = instance.create_run_for_job(dg.GraphDefinition(name="g").to_job())
    with embedded_instance(tmp_path) as again:
        assert again.get_run_by_id(run.run_id) is not None


def test_a_child_process_opens_it_by_reference(tmp_path: Path) -> None:
    with embedded_instance(tmp_path) as instance:
        run = instance.create_run_for_job(dg.GraphDefinition(name="g").to_job())
        reference = dg.serialize_value(instance.get_ref())
        subprocess.run([sys.executable, "-c", _CHILD, reference, run.run_id], check=True)
        seen = instance.get_run_by_id(run.run_id)
        assert seen is not None
        assert seen.tags["seen"] == "by a child"


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("dagster.yaml", "storage: {bad: 1}", 'Received unexpected config entry "bad"'),
        ("dagster.yaml", "garbage", "to parse to dictionary"),
        ("history/runs.db", "no database" * 1000, "file is not a database"),
    ],
)
def test_an_instance_which_cannot_be_opened_is_told_with_its_folder(
    tmp_path: Path, file: str, text: str, told: str
) -> None:
    home = embedded_home(tmp_path)
    (home / file).parent.mkdir(exist_ok=True)
    (home / file).write_text(text)
    with pytest.raises(SettingsError, match=told) as caught:
        open_instance({"DAGSTER_HOME": str(home)}, tmp_path)
    assert str(home) in str(caught.value)
    assert len(str(caught.value)) < 1000
    with pytest.raises(SettingsError, match=told):
        open_instance({}, tmp_path)


def test_what_a_user_wrote_into_its_configuration_stays(tmp_path: Path) -> None:
    file = embedded_home(tmp_path) / "dagster.yaml"
    settings = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({**settings, "nux": {"enabled": False}}))
    assert yaml.safe_load((embedded_home(tmp_path) / "dagster.yaml").read_text())["nux"]
    assert sorted(path.name for path in file.parent.iterdir()) == [".gitignore", "dagster.yaml"]


def test_dagster_home_is_used_when_it_is_set(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with open_instance({"DAGSTER_HOME": str(home)}, tmp_path) as instance:
        assert Path(instance.root_directory) == home
    assert not (tmp_path / ".aether").exists()


def test_without_it_the_embedded_instance_is_used(tmp_path: Path) -> None:
    with open_instance({"DAGSTER_HOME": ""}, tmp_path) as instance:
        assert Path(instance.root_directory) == tmp_path / ".aether"


@pytest.mark.parametrize("home", ["relative", "/no/such/folder"])
def test_a_wrong_dagster_home_is_told_with_what_to_do(tmp_path: Path, home: str) -> None:
    with pytest.raises(SettingsError, match=f"DAGSTER_HOME is '{home}'; set it to"):
        open_instance({"DAGSTER_HOME": home}, tmp_path)
