"""A deployment on one machine: runs of three pipelines at once, a worker and a run killed.

`pytest -m soak tests/fleet/test_deployment.py` writes what it measured to `deployment.json`, in
the folder which `AETHER_DEPLOYMENT_RESULTS` names; `AETHER_DEPLOYMENT_RUNS` is how many runs.
"""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

from aether_dagster.journal import ExecutionRecord, Journal, Version
from aether_dagster.script import dagster_name, parse_document
from aether_dagster.snapshot import read_execution
from aether_dagster.state import Replica
from aether_dagster.state.document import canonical_bytes
from tests import oracle, schemas
from tests.fleet.deployment import PIPELINES, Deployment, deployment, holder_pid
from tests.fleet.hosts import Fleet, end
from tests.fleet.watchers import SidecarWatch, Watched, percentiles, watch_logs

pytestmark = [pytest.mark.soak, pytest.mark.postgres, pytest.mark.timeout(1200)]

RUNS = int(os.environ.get("AETHER_DEPLOYMENT_RUNS", "20"))
RESULTS = "AETHER_DEPLOYMENT_RESULTS"
LIMIT = 900.0


@dataclass
class Campaign:
    """What happened.

    Args:
        deployment: Where.
        runs: The job of each run, by run id.
        killed: The run whose process was killed.
        watched: What the sidecar's clients were sent, by pipeline id.
        logs: Seconds by which step events came late through the webserver's subscription.
        fleet: The fleet.
    """

    deployment: Deployment
    runs: dict[str, str]
    killed: str
    watched: dict[str, Watched]
    logs: list[float]
    fleet: Fleet

    def journal(self) -> Journal:
        return Journal.open(self.fleet.server.url(self.fleet.database), read_only=True)


@dataclass(frozen=True)
class Execution:
    """What the journal has of one run."""

    record: ExecutionRecord
    versions: list[Version]
    state: dict[str, Any]

    @property
    def nodes(self) -> dict[str, dict[str, Any]]:
        return self.state["nodes"]


@pytest.fixture(scope="module")
def campaign(fleet: Fleet) -> Iterator[Campaign]:
    with deployment(fleet) as deployed:
        yield asyncio.run(_run(deployed, fleet))


@pytest.fixture(scope="module")
def executions(campaign: Campaign) -> dict[str, Execution]:
    """By run id."""
    found: dict[str, Execution] = {}
    with campaign.journal() as journal:
        for run_id, job in campaign.runs.items():
            listed = journal.find(run_id, job)
            assert listed is not None, f"{job} {run_id} left no execution"
            record = journal.record(listed.pipeline_id)
            versions = journal.versions(record.pipeline_id)
            replica = Replica()
            for version in versions:
                for delta in () if version.late else version.deltas:
                    replica.apply(delta)
            assert replica.report is not None
            state = {**replica.document(), "report": dict(replica.report)}
            found[run_id] = Execution(record, versions, state)
    return found


async def _run(deployed: Deployment, fleet: Fleet) -> Campaign:
    logs: list[float] = []
    watch = SidecarWatch(deployed.sidecar.url, deployed.sidecar.token)
    following = asyncio.ensure_future(watch.follow())
    async with httpx.AsyncClient() as client:
        jobs = [PIPELINES[number % len(PIPELINES)] for number in range(RUNS)]
        ids = [await deployed.launch(client, job) for job in jobs]
    runs = dict(zip(ids, jobs, strict=True))
    subscriptions = [
        asyncio.ensure_future(watch_logs(deployed.port, run_id, logs)) for run_id in runs
    ]
    with Journal.open(fleet.server.url(fleet.database), read_only=True) as journal:
        killed = await _kill(deployed, journal, list(runs))
        await _until_ended(journal, runs)
        give_up = time.monotonic() + 60
        while any(watched.code is None for watched in watch.executions.values()):
            assert time.monotonic() < give_up, "a client was not told that its execution ended"
            await asyncio.sleep(0.2)
    await asyncio.sleep(20)  # the subscription's clients may be so late
    for task in (following, *subscriptions):
        task.cancel()
    await asyncio.gather(following, *subscriptions, return_exceptions=True)
    return Campaign(deployed, runs, killed, watch.executions, logs, fleet)


async def _kill(deployed: Deployment, journal: Journal, runs: list[str]) -> str:
    """Kills a run's process while its step executes, then a worker with all of its processes."""
    pipeline_id, run_id = await _executing(journal, "nightly", runs)
    lease = await asyncio.to_thread(journal.lease, pipeline_id)
    os.kill(holder_pid(lease), signal.SIGKILL)
    host, process = deployed.workers[0]
    give_up = time.monotonic() + LIMIT
    while not _busy(host.log.read_text(errors="replace")):
        assert time.monotonic() < give_up, host.log.read_text()
        await asyncio.sleep(0.05)
    await asyncio.to_thread(end, process, signal.SIGKILL)
    return run_id


async def _executing(journal: Journal, pipeline: str, runs: list[str]) -> tuple[str, str]:
    give_up = time.monotonic() + LIMIT
    while True:
        for record in await asyncio.to_thread(journal.executions):
            if record.pipeline == pipeline and record.run_id in runs and record.finalized is None:
                state = await asyncio.to_thread(journal.state, record.pipeline_id)
                if "executing" in {node["status"] for node in state["nodes"].values()}:
                    return record.pipeline_id, record.run_id
        assert time.monotonic() < give_up, f"no step of {pipeline} executes"
        await asyncio.sleep(0.1)


def _busy(log: str) -> bool:
    """Whether a worker has a task which it did not finish yet."""
    return log.count("STEP_START") > log.count("STEP_SUCCESS") + log.count("STEP_FAILURE") + (
        log.count("STEP_UP_FOR_RETRY")
    )


async def _until_ended(journal: Journal, runs: dict[str, str]) -> None:
    give_up = time.monotonic() + LIMIT
    while True:
        records = await asyncio.to_thread(journal.executions)
        ended = {record.run_id for record in records if record.finalized is not None}
        if ended >= runs.keys():
            return
        left = {run_id: runs[run_id] for run_id in runs.keys() - ended}
        assert time.monotonic() < give_up, f"{left} did not end"
        await asyncio.sleep(0.5)


def test_every_execution_ends_with_the_right_state(
    campaign: Campaign, executions: dict[str, Execution]
) -> None:
    expected = {"nightly": "succeeded", "prices": "succeeded", "faulty": "failed"}
    folder = campaign.deployment.control.folder / "dagster"
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        for run_id, execution in executions.items():
            job = campaign.runs[run_id]
            assert schemas.errors("final", execution.state) == []
            status = "failed" if run_id == campaign.killed else expected[job]
            assert execution.state["report"]["status"] == status, (job, execution.state)
            assert oracle.run_status(instance, run_id) == status
            if run_id != campaign.killed:
                _check_oracle(instance, run_id, execution)
    killed = executions[campaign.killed].nodes.values()
    lost = {(node["error"] or {}).get("type") for node in killed}
    assert "WorkerLost" in lost, killed
    assert {node["status"] for node in killed} <= {"succeeded", "failed", "pending"}
    for run_id, job in campaign.runs.items():
        nodes = executions[run_id].nodes
        if job == "faulty":
            assert nodes["bad"]["error"]["message"] == "row 7 is bad"
            assert nodes["below"]["error"]["upstream"] == ["bad"]
        if job == "prices":
            assert nodes["pound"]["retry_count"] == 2


def _check_oracle(instance: dg.DagsterInstance, run_id: str, execution: Execution) -> None:
    document = parse_document(json.dumps(execution.record.document))
    keys = {step: f"{document.name}__{dagster_name(step)}" for step in execution.nodes}
    dependencies = {keys[step]: [keys[up] for up in document.dependencies[step]] for step in keys}
    said = oracle.verdicts(instance, run_id, dependencies)
    for step, node in execution.nodes.items():
        verdict = said[keys[step]]
        attempts = 0 if node["status"] == "pending" else node["retry_count"] + 1
        assert (node["status"], attempts) == (verdict.status, verdict.attempts), (step, node)


def test_no_version_is_missing_and_the_history_says_the_same(
    campaign: Campaign, executions: dict[str, Execution], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in campaign.fleet.shared.items():
        monkeypatch.setenv(name, value)
    for execution in executions.values():
        numbers = [version.number for version in execution.versions]
        assert numbers == list(range(1, len(numbers) + 1))
        assert execution.record.history is not None
        final = read_execution(execution.record.history).final
        assert canonical_bytes(final) == canonical_bytes(execution.state)


def test_no_update_is_lost_to_a_live_client(
    campaign: Campaign, executions: dict[str, Execution]
) -> None:
    assert campaign.watched.keys() == {e.record.pipeline_id for e in executions.values()}
    for execution in executions.values():
        watched = campaign.watched[execution.record.pipeline_id]
        assert canonical_bytes(watched.state) == canonical_bytes(execution.state)
        assert watched.code == 1000
        latencies = watched.latencies(execution.versions)
        assert float("inf") not in latencies, "a change never arrived"


def test_how_late_changes_are_seen_is_told(
    campaign: Campaign, executions: dict[str, Execution]
) -> None:
    ours = [
        latency
        for execution in executions.values()
        for latency in campaign.watched[execution.record.pipeline_id].latencies(execution.versions)
    ]
    assert ours
    assert campaign.logs, "the subscription told of nothing"
    results = {
        "runs": len(campaign.runs),
        "statuses": Counter(e.state["report"]["status"] for e in executions.values()),
        "versions": sum(len(e.versions) for e in executions.values()),
        "load": os.getloadavg(),
        "sidecar": {"changes": len(ours), **percentiles(ours)},
        "subscription": {"events": len(campaign.logs), **percentiles(campaign.logs)},
    }
    if os.environ.get(RESULTS):
        file = Path(os.environ[RESULTS], "deployment.json")
        file.write_text(json.dumps(results, indent=2) + "\n")
    assert percentiles(ours)["p50"] < percentiles(campaign.logs)["p50"]
