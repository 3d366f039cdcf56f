"""A deployment as a real team's, on one machine: webserver, daemon, code location, workers."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx

from tests.fleet.hosts import Fleet, Host
from tests.fleet.services import free_port
from tests.sidecar.running import Running, sidecar

SHOP = Path(__file__).with_name("shop")
PIPELINES = ("nightly", "prices", "faulty")
_LAUNCH = """
mutation Launch($job: String!) {
  launchRun(executionParams: {
    mode: "default", runConfigData: {},
    selector: {repositoryLocationName: "shop", repositoryName: "__repository__", jobName: $job}
  }) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
_WORKSPACE = """\
load_from:
  - grpc_server: {{host: 127.0.0.1, port: {port}, location_name: shop}}
"""
_WORKER = """\
execution:
  config:
    broker: {broker}
    backend: {broker}
    config_source:
      task_acks_late: true
      task_reject_on_worker_lost: true
      broker_transport_options: {{visibility_timeout: 60}}
"""
_COORDINATOR = "concurrency: {runs: {max_concurrent_runs: 25}}\n"


@dataclass(frozen=True)
class Deployment:
    """What runs.

    Args:
        control: The host of webserver, daemon, code location and run processes.
        workers: The two celery workers, with their hosts.
        sidecar: The sidecar.
        port: The webserver's.
    """

    control: Host
    workers: list[tuple[Host, Popen[bytes]]]
    sidecar: Running
    port: int

    async def launch(self, client: httpx.AsyncClient, job: str) -> str:
        """Launches a run as Dagster's launchpad does; returns its id."""
        body = {"query": _LAUNCH, "variables": {"job": job}}
        answer = await client.post(f"http://127.0.0.1:{self.port}/graphql", json=body, timeout=120)
        result: Any = answer.json()["data"]["launchRun"]
        assert result["__typename"] == "LaunchRunSuccess", result
        return result["run"]["runId"]


@contextmanager
def deployment(fleet: Fleet) -> Iterator[Deployment]:
    """Starts all of it, and ends it."""
    grpc, port = free_port(), free_port()
    control = fleet.host("control", code=SHOP)
    with (control.folder / "dagster" / "dagster.yaml").open("a") as file:
        file.write(_COORDINATOR)
    workspace = control.folder / "home" / "workspace.yaml"
    workspace.write_text(_WORKSPACE.format(port=grpc))
    with ExitStack() as stack:
        code = ["dagster", "api", "grpc", "-m", "shop", "-h", "127.0.0.1", "-p", str(grpc)]
        stack.enter_context(control.running(*code, until="Started Dagster code server"))
        workers: list[tuple[Host, Popen[bytes]]] = []
        for name in ("worker-1", "worker-2"):
            host = fleet.host(name, code=SHOP)
            settings = host.folder / "home" / "celery.yaml"
            settings.write_text(_WORKER.format(broker=fleet.broker))
            words = ["dagster-celery", "worker", "start", "-A", "dagster_celery.app"]
            words += ["-y", str(settings), "-n", name, "--", "--concurrency=2"]
            workers.append((host, stack.enter_context(host.running(*words, until="ready."))))
        web = ["dagster-webserver", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(port)]
        stack.enter_context(control.running(*web, until="Serving dagster-webserver"))
        # It makes the journal's tables, which the sidecar only reads.
        daemon = ["dagster-daemon", "run", "-w", str(workspace)]
        stack.enter_context(control.running(*daemon, until="Instance is configured"))
        from aether_dagster.journal import Journal

        url = fleet.server.url(fleet.database)
        Journal.open(url).close()
        place = control.folder / "home"
        running = stack.enter_context(sidecar(url, place, environ={"HOME": str(place)}))
        yield Deployment(control, workers, running, port)


def holder_pid(lease: Any) -> int:
    """The process which keeps an execution, as its lease says."""
    return int(json.loads(lease.holder)["pid"])


def until(what: Callable[[], Any], seconds: float, told: str) -> Any:
    """Waits until a function gives something; returns that."""
    give_up = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < give_up, told
        time.sleep(0.05)
    return found


def kill(pid: int) -> None:
    """Ends a process at once."""
    os.kill(pid, 9)
