"""Each step a container: Dagster's executors for Kubernetes and Docker, wrapped.

No cluster is here. What takes their requests runs each container as a process; see `containers.py`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from aether_dagster.journal import Journal
from aether_dagster.snapshot import read_execution
from tests.fleet.containers import Engine, engine
from tests.fleet.hosts import Fleet
from tests.fleet.test_engines import RUN

pytestmark = [pytest.mark.soak, pytest.mark.postgres, pytest.mark.timeout(400)]

IMAGE = "registry.internal/pipelines:1.4.0"
DEPLOY = Path(__file__).parents[2] / "deploy"
_LAUNCHER = """
run_launcher:
  module: dagster_k8s
  class: K8sRunLauncher
  config:
    service_account_name: dagster
    instance_config_map: dagster-instance
    dagster_home: /opt/dagster
    load_incluster_config: false
    kubeconfig_file: {kubeconfig}
"""


@dataclass(frozen=True)
class Ran:
    name: str
    engine: Engine
    run_id: str
    fleet: Fleet


@pytest.fixture(scope="module", params=["kubernetes", "docker"])
def ran(request: pytest.FixtureRequest, fleet: Fleet) -> Iterator[Ran]:
    name = request.param
    environ = {"FLEET_EXECUTOR": name}
    with engine(fleet, environ) as containers:
        run = fleet.host(f"{name}-run", **environ)
        run.more["DOCKER_HOST"] = f"tcp://127.0.0.1:{containers.port}"
        if name == "kubernetes":
            kubeconfig = run.folder / "kubeconfig"
            kubeconfig.write_text(_kubeconfig(containers.port))
            with (run.folder / "dagster" / "dagster.yaml").open("a") as file:
                file.write(_LAUNCHER.format(kubeconfig=kubeconfig))
        config = yaml.safe_load((DEPLOY / name / "executor.yaml").read_text())
        if name == "docker":
            # What this host's environment has not would be an error.
            config["execution"]["config"]["env_vars"] = ["FLEET_EXECUTOR", "API_KEY"]
        file = run.folder / "home" / "config.yaml"
        file.write_text(json.dumps(config))
        run.finish(run.python(RUN, "--config", str(file), "retried"))
        (told,) = [line for line in run.log.read_text().splitlines() if line.startswith('{"')]
        yield Ran(name, containers, json.loads(told)["retried"], fleet)


def _kubeconfig(port: int) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "me", "user": {}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            "current-context": "here",
        }
    )


def test_each_attempt_is_a_container_and_the_state_is_whole(
    ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ran.fleet.shared.items():
        monkeypatch.setenv(name, value)
    url = ran.fleet.server.url(ran.fleet.database)
    with Journal.open(url, read_only=True) as journal:
        record = journal.find(ran.run_id, "retried")
        assert record is not None
        nodes: dict[str, Any] = journal.state(record.pipeline_id)["nodes"]
    assert record.status == "succeeded"
    assert (nodes["flaky"]["status"], nodes["flaky"]["retry_count"]) == ("succeeded", 1)
    assert nodes["size"]["output_payload"] == 20
    assert len(ran.engine.containers) == 3, "two attempts, and the step after them"
    assert record.history is not None
    assert read_execution(record.history).final["nodes"] == nodes


def test_containers_are_asked_for_as_the_example_configuration_says(ran: Ran) -> None:
    asked = next(iter(ran.engine.containers.values())).asked
    if ran.name == "docker":
        assert asked["Image"] == IMAGE
        assert asked["HostConfig"]["NetworkMode"] == "aether"
        assert asked["HostConfig"]["AutoRemove"] is True
        assert "FLEET_EXECUTOR=docker" in asked["Env"]
        return
    pod = asked["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    assert pod["serviceAccountName"] == "dagster"
    assert container["resources"]["limits"] == {"memory": "2Gi"}
    names = {next(iter(source.values()))["name"] for source in container["envFrom"]}
    assert {"aether-environment", "aether-passwords"} <= names
    assert asked["spec"]["ttlSecondsAfterFinished"] == 3600


def test_no_secret_of_ours_is_in_what_an_engine_is_asked(ran: Ran) -> None:
    secret = ran.engine.environ.get("API_KEY", "a-key-which-nobody-sees")
    for container in ran.engine.containers.values():
        asked = json.dumps(container.asked)
        if ran.name == "docker":
            # The example hands variables on by name, and Docker is told their values.
            asked = json.dumps({k: v for k, v in container.asked.items() if k != "Env"})
        assert secret not in asked
