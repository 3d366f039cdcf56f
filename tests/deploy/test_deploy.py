"""The files in `deploy/`, read by what they are for."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import dagster as dg
import pytest
import yaml

from aether_dagster import AetherSettings, aether_executor, build_defs
from aether_dagster.cli.main import aetherscript
from aether_dagster.journal import Journal
from aether_dagster.orchestration.settings import _VARIABLES
from tests.postgres import PostgresServer

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted(DEPLOY.glob("systemd/*.service"))
MANIFESTS = sorted(DEPLOY.glob("kubernetes/*.yaml"))
BINARIES = Path(sys.executable).parent


def load(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text("utf-8"))


def environment() -> dict[str, str]:
    lines = (DEPLOY / "aetherscript.env").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command line, with where it stands."""
    for unit in UNITS:
        (line,) = re.findall(r"^ExecStart=(.+)$", unit.read_text("utf-8"), re.MULTILINE)
        program, *words = shlex.split(line)
        yield unit.name, [Path(program).name, *words]
    for name, service in load("compose.yaml")["services"].items():
        if "command" in service:
            yield f"compose {name}", service["command"]
    for manifest in load_all("kubernetes/sidecar.yaml"):
        if manifest["kind"] == "Deployment":
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                yield f"kubernetes {container['name']}", container["command"]


def load_all(name: str) -> list[Any]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text("utf-8")))


@pytest.mark.parametrize(("place", "words"), list(commands()), ids=[c[0] for c in commands()])
def test_a_command_is_one_which_is_installed(place: str, words: list[str]) -> None:
    assert (BINARIES / words[0]).exists(), place
    if words[0] == "aetherscript":
        command: click.Command = aetherscript
        rest = words[1:]
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), rest.pop(0))
            assert found is not None, place
            command = found
        # An option which is not there is an error.
        values, left, _ = command.make_parser(click.Context(command)).parse_args(args=list(rest))
        assert values, place
        assert left == []


def test_every_variable_of_ours_is_one_which_is_read() -> None:
    texts = "".join(file.read_text("utf-8") for file in DEPLOY.rglob("*") if file.is_file())
    named = set(re.findall(r"AETHERSCRIPT_[A-Z_]+", texts))
    assert named <= {*_VARIABLES.values(), "AETHERSCRIPT_TOKEN_FILE"}


@pytest.mark.postgres
def test_the_instance_opens_and_the_journal_lives_in_its_database(
    tmp_path: Path, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AETHERSCRIPT_JOURNAL")
    monkeypatch.setenv("DAGSTER_PG_USERNAME", "postgres")
    monkeypatch.setenv("DAGSTER_PG_DB", "deployed")
    postgres_server.command("CREATE DATABASE deployed")
    config = load("dagster.yaml")
    # The server of the tests listens on a socket in a folder alone.
    database = config["storage"]["postgres"]["postgres_db"]
    database.update(hostname="", params={"host": str(postgres_server.folder)})
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.get_runs() == []
        url = AetherSettings().journal_url(instance)
        assert url.startswith("postgresql+psycopg://postgres:change-me@")
        with Journal.open(url) as journal:
            assert journal.executions() == []
        assert instance.run_monitoring_enabled


def test_settings_of_the_environment_are_urls_and_a_reference_to_a_key() -> None:
    settings = AetherSettings().with_environment(environment())
    for place in (settings.journal, settings.history, settings.artifacts):
        assert place is not None
        assert "://" in place, "hosts share no folder"
    assert settings.keys == ("env:AETHERSCRIPT_STATE_KEY",)
    assert environment()["AETHERSCRIPT_STATE_KEY"].startswith("file:/")


def test_celery_takes_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster_celery.cli import get_validated_config

    monkeypatch.setenv("CELERY_BROKER", environment()["CELERY_BROKER"])
    config = get_validated_config(str(DEPLOY / "celery.yaml"))
    assert config["broker"] == config["backend"] == "redis://broker.internal:6379/0"
    assert config["config_source"]["task_acks_late"] is True


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_units_are_what_systemd_takes(tmp_path: Path) -> None:
    for unit in UNITS:
        text = unit.read_text("utf-8").replace("/opt/pipelines/.venv/bin", str(BINARIES))
        text = text.replace("/opt/pipelines", str(tmp_path)).replace("User=aether\n", "")
        (tmp_path / unit.name.replace("@.", "@one.")).write_text(text)
    made = sorted(tmp_path.glob("*.service"))
    answer = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *made],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stderr) == (0, "")


def test_units_say_who_runs_them_and_that_they_start_again() -> None:
    for unit in UNITS:
        lines = unit.read_text("utf-8").splitlines()
        for line in ("User=aether", "Restart=always", "WantedBy=multi-user.target"):
            assert line in lines, unit.name
        assert "EnvironmentFile=/etc/aether/aetherscript.env" in lines


def test_the_compose_file_holds_together() -> None:
    compose = load("compose.yaml")
    services: Mapping[str, Any] = compose["services"]
    known = {
        "image", "build", "command", "environment", "env_file", "volumes", "secrets", "ports",
        "depends_on", "healthcheck", "restart", "deploy", "stop_grace_period",
    }  # fmt: skip
    assert {"postgres", "code", "webserver", "daemon", "worker", "sidecar"} <= services.keys()
    assert services["worker"]["deploy"]["replicas"] == 2
    for name, service in services.items():
        assert service.keys() <= known, name
        assert "image" in service, name
        for needed, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in services[needed]
        for secret in service.get("secrets", ()):
            assert secret["source"] in compose["secrets"]
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).exists() or source == "./tls", "made by its reader"
            else:
                assert source in compose["volumes"]
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), "others would reach it"
    build = services["code"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).exists()
    if (
        shutil.which("docker")
        and not subprocess.run(
            ["docker", "compose", "version"], capture_output=True, check=False
        ).returncode
    ):
        words = ["docker", "compose", "-f", str(DEPLOY / "compose.yaml"), "config", "-q"]
        assert subprocess.run(words, check=False).returncode == 0


@pytest.mark.parametrize("file", [f for f in MANIFESTS if f.name != "executor.yaml"], ids=str)
def test_manifests_are_objects_which_kubernetes_knows(file: Path) -> None:
    import kubernetes.client
    from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict

    for manifest in load_all(f"kubernetes/{file.name}"):
        model = getattr(kubernetes.client, f"V1{manifest['kind']}")
        # Both refuse a member which the object does not have.
        made = k8s_model_from_dict(model, k8s_snake_case_dict(model, manifest))
        assert made.metadata.namespace == "dagster"


def test_the_sidecar_in_kubernetes_is_probed_by_a_name_which_it_knows() -> None:
    deployment, service = load_all("kubernetes/sidecar.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        asked = container[probe]["httpGet"]
        (header,) = asked["httpHeaders"]
        assert (asked["path"], header["name"]) == (path, "Host")
        assert f"--allow-host={header['value']}" in container["command"]
    assert service["metadata"]["name"] == header["value"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted <= {v["name"] for v in deployment["spec"]["template"]["spec"]["volumes"]}
    configured = {m["metadata"]["name"] for m in load_all("kubernetes/environment.yaml")}
    named = {next(iter(source.values()))["name"] for source in container["envFrom"]}
    config = load("kubernetes/executor.yaml")["execution"]["config"]
    assert named | {*config["env_config_maps"], *config["env_secrets"]} <= configured


@pytest.mark.parametrize("engine", ["kubernetes", "docker"])
def test_the_run_configuration_of_an_executor_is_one_which_it_takes(
    engine: str, tmp_path: Path
) -> None:
    from dagster_docker import docker_executor
    from dagster_k8s import k8s_job_executor

    inner = {"kubernetes": k8s_job_executor, "docker": docker_executor}[engine]
    (tmp_path / "one.aether.yaml").write_text(
        'version: "2.1"\nmetadata: {name: one}\npipeline:\n'
        "  steps:\n    - {id: only, type: core/echo, args: {message: hello}}\n"
    )
    job = build_defs(tmp_path, executor=inner).resolve_job_def("one")
    assert job.executor_def.name == f"aether_{inner.name}"
    assert aether_executor.wrapping(job.executor_def) is job.executor_def
    run_config = load(f"{engine}/executor.yaml")
    assert dg.validate_run_config(job, run_config)
    run_config["execution"]["config"]["imagine"] = 1
    with pytest.raises(dg.DagsterInvalidConfigError, match="imagine"):
        dg.validate_run_config(job, run_config)


def test_what_prometheus_is_told_to_look_at_is_there() -> None:
    from aether_dagster.journal import Figures
    from aether_dagster.protocol import Margin
    from aether_dagster.sidecar.metrics import Metrics

    text = Metrics(Margin()).text(
        clients=0, half_open=0, turned_away=0, streams=0, ready=True, nodes={}, figures=Figures(),
        now=0.0,
    )  # fmt: skip
    told = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    for group in load("prometheus/alerts.yaml")["groups"]:
        for rule in group["rules"]:
            named = set(re.findall(r"aetherscript_\w+", rule["expr"]))
            assert {name.removesuffix("_bucket") for name in named} <= told
    (job,) = load("prometheus/scrape.yaml")["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert f"--allow-host={target.split(':')[0]}" in str(load_all("kubernetes/sidecar.yaml"))
