"""A deployment as a team has it: a code location over gRPC, Dagster's webserver, its daemon."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

BIN = Path(sys.executable).parent
# Generous: a process of Dagster takes seconds to start, and much longer on a busy machine.
LIMIT = 600.0
# Dagster itself would give up sooner.
PATIENT = {f"DAGSTER_{what}GRPC_TIMEOUT_SECONDS": "300" for what in ("", "SENSOR_", "SCHEDULE_")}
LOCATION = "team"
INSTANCE = """
telemetry: {enabled: false}
nux: {enabled: false}
run_coordinator:
  module: dagster
  class: QueuedRunCoordinator
  config: {max_concurrent_runs: 3, dequeue_interval_seconds: 1}
sensors: {use_threads: true, num_workers: 4}
"""
LOCATIONS = """
{
  workspaceOrError {
    ... on Workspace {
      locationEntries { loadStatus locationOrLoadError { ... on PythonError { message } } }
    }
  }
}
"""
LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
REEXECUTE = """
mutation Again($params: ReexecutionParams!) {
  launchPipelineReexecution(reexecutionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
BACKFILL = """
mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""


def free_port() -> int:
    """Returns a port of this machine which nobody uses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Deployment:
    """The processes of a deployment, ended at the end.

    Args:
        folder: The team's project; `home/` in it becomes `DAGSTER_HOME`.
        module: The module which holds its definitions.
        environ: Further environment variables of every process.
    """

    def __init__(self, folder: Path, module: str, environ: Mapping[str, str]):
        self.folder, self.home = folder, folder / "home"
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text(INSTANCE)
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("AETHERSCRIPT_", "DAGSTER_"))
        }
        path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
        self.environ = {**kept, "PATH": path, "DAGSTER_HOME": str(self.home), **PATIENT, **environ}
        self._module = module
        self._processes = ExitStack()
        self.url = f"http://127.0.0.1:{free_port()}"

    def __enter__(self) -> Self:
        with ExitStack() as started:
            started.callback(self._processes.close)
            self._start()
            started.pop_all()
        return self

    def _start(self) -> None:
        code = self.folder / "code.sock"
        (self.folder / "workspace.yaml").write_text(
            f"load_from: [{{grpc_server: {{socket: {code}, location_name: {LOCATION}}}}}]\n"
        )
        definitions = ("-m", self._module, "-d", str(self.folder))
        self.start("dagster", "api", "grpc", *definitions, "-s", str(code))
        port = self.url.rpartition(":")[2]
        self.wait_until(code.exists, "the code location's socket")
        self.start("dagster-webserver", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", port)
        self.wait_until(self._serves, "the webserver and its code location")

    def __exit__(self, *_: object) -> None:
        self._processes.close()

    def start_daemon(self) -> None:
        """Starts Dagster's daemon: from then on queued runs, ticks and backfills go on."""
        self.start("dagster-daemon", "run", "-w", "workspace.yaml")

    def start(self, command: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Starts a process of the deployment; what it prints is in `<command>.log`."""
        with (self.folder / f"{command}.log").open("ab") as log:
            process = subprocess.Popen(
                [BIN / command, *arguments],
                cwd=self.folder,
                env=self.environ,
                stdout=log,
                stderr=log,
            )
        self._processes.callback(_end, process)
        return process

    def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """Asks the webserver as its page does; returns the one member of the answer."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error
        assert "errors" not in answer, answer["errors"]
        (member,) = answer["data"].values()
        return member

    def launch(
        self,
        job: str,
        *assets: list[str],
        checks: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Launches a run as the page's buttons and its launchpad do; returns the run's id.

        Args:
            job: The job; `__ASSET_JOB` is that of the asset graph.
            assets: The assets; all of the job unless there are some.
            checks: The first asset's checks; the page names all which it has.
            config: The run's configuration.
            tags: Its tags.
        """
        selector = {**_repository(), "pipelineName": job}
        if assets:
            selector |= {"assetSelection": [{"path": path} for path in assets]}
            handles = [{"assetKey": {"path": assets[0]}, "name": name} for name in checks]
            selector |= {"assetCheckSelection": handles}
        params = {
            "selector": selector,
            "mode": "default",
            "runConfigData": config or {},
            "executionMetadata": {
                "tags": [{"key": k, "value": v} for k, v in (tags or {}).items()]
            },
        }
        return _launched(self.graphql(LAUNCH, params=params))

    def reexecute(self, run_id: str) -> str:
        """Launches a failed run again, from its failure on."""
        params = {"parentRunId": run_id, "strategy": "FROM_FAILURE"}
        return _launched(self.graphql(REEXECUTE, params=params))

    def backfill(self, partitions: list[str], *assets: list[str]) -> str:
        """Launches a backfill of assets as the page does; returns its id."""
        params = {
            "partitionNames": partitions,
            "assetSelection": [{"path": each} for each in assets],
        }
        return str(self.graphql(BACKFILL, params=params)["backfillId"])

    def wait_until(self, met: Callable[[], bool], what: str) -> None:
        """Waits for something; tells all which the processes printed if it never comes."""
        give_up = time.monotonic() + LIMIT
        while not met():
            if time.monotonic() > give_up:
                logs = "\n".join(
                    f"{log}: {log.read_text()[-3000:]}" for log in self.folder.glob("*.log")
                )
                raise AssertionError(f"never came: {what}\n{logs}")
            time.sleep(0.3)

    def _serves(self) -> bool:
        try:
            entries = self.graphql(LOCATIONS)["locationEntries"]
        except (OSError, urllib.error.URLError):
            return False
        broken = [each for each in entries if (each["locationOrLoadError"] or {}).get("message")]
        assert not broken, broken
        return bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries)


def launches(answer: Any) -> bool:
    """Whether an answer which a browser's page got is to the launch of a run.

    Whoever leaves the page before it came takes the launch back.
    """
    return '"operationName":"Launch' in (answer.request.post_data or "")


def _repository() -> dict[str, Any]:
    return {"repositoryLocationName": LOCATION, "repositoryName": "__repository__"}


def _launched(answer: dict[str, Any]) -> str:
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
