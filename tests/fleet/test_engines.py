"""Steps on other hosts through celery and dask: nothing is shared but databases and a store."""

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from subprocess import Popen
from typing import Any

import dagster as dg
import pytest

from aether_dagster.crypto import KeyRing, read_keys
from aether_dagster.journal import ExecutionRecord, Journal, Version
from aether_dagster.script import dagster_name, parse_document
from aether_dagster.snapshot import read_execution
from aether_dagster.state import Replica
from aether_dagster.state.document import canonical_bytes
from tests import oracle, schemas
from tests.fleet.deployment import until
from tests.fleet.hosts import HISTORY, VALUES, Fleet, Host
from tests.fleet.services import BUCKET, file_system, free_port

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]

RUN = str(Path(__file__).with_name("run.py"))
JOBS = ("orders", "retried", "broken", "changing", "lost")
STOPPED = "stopped"
KEY = "ab" * 32
LIMIT = 200.0


@dataclass(frozen=True)
class Done:
    """What a host's runs left.

    Args:
        engine: What ran the steps.
        run: The host whose process kept the runs.
        hosts: All hosts.
        runs: The run id of each job.
        keys: What opens the state, where it is sealed.
    """

    engine: str
    run: Host
    hosts: list[Host]
    runs: Mapping[str, str]
    keys: KeyRing | None

    def __getitem__(self, job: str) -> "Kept":
        return Kept(self, job)

    @property
    def journal(self) -> Journal:
        fleet = self.run.fleet
        return Journal.open(fleet.server.url(fleet.database), read_only=True, keys=self.keys)


@dataclass(frozen=True)
class Kept:
    """What is kept of one job's run."""

    done: Done
    job: str

    @cached_property
    def record(self) -> ExecutionRecord:
        with self.done.journal as journal:
            found = journal.find(self.done.runs[self.job], self.job)
            assert found is not None
            return journal.record(found.pipeline_id)

    @cached_property
    def versions(self) -> list[Version]:
        with self.done.journal as journal:
            return journal.versions(self.record.pipeline_id)

    @cached_property
    def state(self) -> dict[str, Any]:
        replica = Replica()
        for version in self.versions:
            for delta in () if version.late else version.deltas:
                replica.apply(delta)
        assert replica.report is not None
        return {**replica.document(), "report": dict(replica.report)}

    @property
    def nodes(self) -> dict[str, dict[str, Any]]:
        return self.state["nodes"]


@pytest.fixture(scope="module", params=["celery", "dask"])
def done(request: pytest.FixtureRequest, fleet: Fleet) -> Iterator[Done]:
    engine, port = request.param, free_port()
    hosts = {
        name: fleet.host(
            f"{engine}-{name}",
            FLEET_EXECUTOR=engine,
            FLEET_SCHEDULER=f"tcp://127.0.0.1:{port}",
        )
        for name in ("run", "scheduler", "one", "two")
    }
    keys = _seal(hosts) if engine == "celery" else None
    workers = [hosts["one"], hosts["two"]]
    for worker in workers:
        # An old image: what these hosts have is not what the run was begun with.
        document = worker.folder / "code" / "team" / "changing.aether.yaml"
        document.write_text(document.read_text().replace("as it was", "as it is now"))
    with ExitStack() as stack:
        if engine == "celery":
            _start_celery(stack, workers)
        else:
            _start_dask(stack, hosts["scheduler"], workers, port)
        run = hosts["run"]
        process = run.python(RUN, *JOBS, STOPPED)
        stopped = _stop(run, process, keys)
        run.finish(process)
        over = f"{BUCKET}/meeting/{stopped.pipeline_id}/over"
        file_system(run.fleet.shared).pipe_file(over, b"")
        told = [line for line in run.log.read_text().splitlines() if line.startswith('{"')]
        runs = {job: run_id for line in told for job, run_id in json.loads(line).items()}
        yield Done(engine, run, list(hosts.values()), runs, keys)


def _stop(run: Host, process: Popen[bytes], keys: KeyRing | None) -> ExecutionRecord:
    """Terminates the last run as Dagster's UI does, while a step of it executes on a worker."""
    last = f'{{"{JOBS[-1]}":'
    until(lambda: last in run.log.read_text() or process.poll() is not None, LIMIT, f"no {last}")
    url = run.fleet.server.url(run.fleet.database)
    with (
        Journal.open(url, read_only=True, keys=keys) as journal,
        dg.DagsterInstance.from_config(str(run.folder / "dagster")) as instance,
    ):

        def executing() -> ExecutionRecord | None:
            assert process.poll() is None, run.log.read_text()
            (record,) = journal.executions(limit=1, pipeline=STOPPED) or [None]
            if record is None or record.head == 0 or record.finalized is not None:
                return None  # or it is another engine's
            runs = journal.state(record.pipeline_id)["nodes"]["runs"]
            return record if runs["status"] == "executing" else None

        record = until(executing, LIMIT, "no step of it executes")
        kept = instance.get_run_by_id(record.run_id)
        assert kept is not None

        def is_told() -> bool:
            log = instance.all_logs(record.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
            return process.poll() is not None or any(
                "received termination signal" in entry.message for entry in log
            )

        instance.report_run_canceling(kept)
        process.send_signal(signal.SIGINT)
        until(is_told, LIMIT, "its process was not interrupted")
    return record


def _seal(hosts: Mapping[str, Host]) -> KeyRing:
    """Gives each host the key in a file of its own; none of them is where another's is."""
    for host in hosts.values():
        file = host.folder / "home" / "state.key"
        file.write_text(KEY)
        file.chmod(0o600)
        host.more["AETHERSCRIPT_STATE_KEY"] = f"file:{file}"
    return read_keys((KEY,), {})


def _start_celery(stack: ExitStack, workers: list[Host]) -> None:
    for worker in workers:
        broker = worker.fleet.broker
        settings = f"broker_url = {broker!r}\nresult_backend = {broker!r}\n"
        # Whoever is lost gives his task back.
        settings += "task_acks_late = True\ntask_reject_on_worker_lost = True\n"
        (worker.folder / "code" / "dagster_celery_config.py").write_text(settings)
        words = ["celery", "-A", "dagster_celery.app", "worker", "-n", worker.name]
        words += ["--prefetch-multiplier=1", "--concurrency=1", "--loglevel=INFO"]
        stack.enter_context(worker.running(*words, until="ready."))


def _start_dask(stack: ExitStack, scheduler: Host, workers: list[Host], port: int) -> None:
    words = ["dask", "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    stack.enter_context(scheduler.running(*words, until="Scheduler at"))
    for worker in workers:
        words = ["dask", "worker", f"tcp://127.0.0.1:{port}", "--nthreads", "1"]
        words += ["--no-nanny", "--no-dashboard"]
        stack.enter_context(worker.running(*words, until="Registered to"))


def test_steps_run_on_several_hosts_and_hand_values_over_in_the_object_store(done: Done) -> None:
    nodes = done["orders"].nodes
    assert done["orders"].state["report"]["status"] == "succeeded"
    # Each waited for the other, so they ran at one time.
    hosts = {nodes[step]["output_payload"]["host"] for step in ("left", "right")}
    assert hosts == {f"{done.engine}-one", f"{done.engine}-two"}
    assert nodes["total"]["output_payload"] == 2 * sum(n % 7 for n in range(2000))
    spilled = nodes["extract"]["output_payload"]["rows"]["$artifact"]
    assert spilled.startswith(f"{VALUES}/{done['orders'].record.pipeline_id}/extract/")


def test_a_step_on_another_host_reads_from_the_journal_what_was_resolved_once(done: Done) -> None:
    # Each host has another REGION in its environment.
    orders = done["orders"]
    assert orders.nodes["extract"]["input_payload"]["region"] == done.run.name
    assert orders.state["context"]["environment_vars"] == {"REGION": done.run.name}


def test_a_secret_stands_nowhere_in_what_hosts_share(done: Done) -> None:
    secret = done.run.environ["API_KEY"]
    assert done["orders"].nodes["extract"]["input_payload"]["key"] == "***"
    fs = file_system(done.run.fleet.shared)
    executions = {done[job].record.pipeline_id for job in JOBS}
    objects = [path for path in fs.find(BUCKET) if any(name in path for name in executions)]
    values = f"{VALUES}/".removeprefix("s3://")
    # What a step returned goes to the next one as it is, sealed where there is a key.
    shown = [path for path in objects if done.keys or not path.startswith(values)]
    assert shown
    assert [path for path in shown if secret.encode() in fs.cat_file(path)] == []
    versions = json.dumps([delta.to_json() for v in done["orders"].versions for delta in v.deltas])
    assert secret not in versions


def test_a_step_is_tried_again_on_whichever_host_where_the_engine_retries(done: Done) -> None:
    nodes = done["retried"].nodes
    if done.engine == "dask":
        # Dagster's executor for dask never tries a step again, and starts what is below it.
        assert (nodes["flaky"]["status"], nodes["flaky"]["error"]["type"]) == (
            "failed",
            "ConnectionError",
        )
        assert "not yet" in nodes["flaky"]["error"]["traceback"]
        assert nodes["size"]["error"]["type"] == "DependencyFailed"
        return
    assert (nodes["flaky"]["status"], nodes["flaky"]["retry_count"]) == ("succeeded", 1)
    assert nodes["size"]["output_payload"] == 20


def test_nothing_below_a_step_which_failed_runs(done: Done) -> None:
    broken = done["broken"]
    assert broken.nodes["bad"]["error"]["message"] == "row 7 is bad"
    assert broken.nodes["beside"]["status"] == "succeeded"
    for step in ("below", "after"):
        node = broken.nodes[step]
        assert node["output_payload"] is None
        if done.engine == "dask":
            assert (node["status"], node["error"]["type"]) == ("failed", "DependencyFailed")
            assert "it depends on 'bad', which failed" in node["error"]["message"]
        else:
            assert (node["status"], node["error"]["upstream"]) == ("pending", ["bad"])


def test_a_host_with_another_document_says_so_and_does_not_run_its_step(done: Done) -> None:
    changing = done["changing"]
    error = changing.nodes["only"]["error"]
    assert error["type"] == "ExecutionMismatch"
    assert changing.state["pipeline"]["config_hash"] in error["message"]
    assert "changed during the run: start a new run" in error["message"]
    assert changing.state["report"]["status"] == "failed"


def test_the_step_of_a_worker_which_is_killed_runs_on_another(done: Done) -> None:
    lost = done["lost"]
    assert lost.state["report"]["status"] == "succeeded"
    assert lost.nodes["dies"]["output_payload"] == "the second time"
    assert lost.nodes["dies"]["retry_count"] == 0, "the same attempt, as Dagster counts"
    assert lost.nodes["goes_on"]["output_payload"] == "the second time"


def test_a_run_which_is_terminated_is_cancelled(done: Done) -> None:
    stopped = done[STOPPED]
    assert schemas.errors("final", stopped.state) == []
    assert stopped.state["report"]["status"] == "cancelled"
    assert (stopped.nodes["never"]["status"], stopped.nodes["never"]["error"]["type"]) == (
        "pending",
        "Cancelled",
    )
    runs = stopped.nodes["runs"]
    # Nobody waits for what runs on a worker; what it returns comes late, and changes nothing.
    assert (runs["status"], runs["error"]["type"]) == ("failed", "Cancelled")
    with dg.DagsterInstance.from_config(str(done.run.folder / "dagster")) as instance:
        run = instance.get_run_by_id(stopped.record.run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.CANCELED


@pytest.mark.parametrize("job", JOBS)
def test_versions_files_and_dagsters_log_tell_the_same(done: Done, job: str) -> None:
    kept = done[job]
    assert schemas.errors("final", kept.state) == []
    assert [version.number for version in kept.versions] == list(range(1, len(kept.versions) + 1))
    assert kept.record.history is not None
    assert kept.record.history.startswith(f"{HISTORY}/")
    shared = done.run.fleet.shared
    with pytest.MonkeyPatch.context() as patch:
        for name, value in shared.items():
            patch.setenv(name, value)
        found = read_execution(kept.record.history, keys=done.keys)
    assert canonical_bytes(found.final) == canonical_bytes(kept.state)
    document = parse_document(json.dumps(kept.record.document))
    keys = {step: f"{job}__{dagster_name(step)}" for step in kept.nodes}
    dependencies = {
        keys[step]: [keys[up] for up in document.dependencies[step]] for step in kept.nodes
    }
    with dg.DagsterInstance.from_config(str(done.run.folder / "dagster")) as instance:
        said = oracle.verdicts(instance, done.runs[job], dependencies)
        assert oracle.run_status(instance, done.runs[job]) == kept.state["report"]["status"]
    for step, node in kept.nodes.items():
        attempts = 0 if node["status"] == "pending" else node["retry_count"] + 1
        assert (node["status"], attempts) == (
            said[keys[step]].status,
            said[keys[step]].attempts,
        ), step


def test_no_value_lies_on_a_host(done: Done) -> None:
    for host in done.hosts:
        names = {path.name for path in host.folder.rglob("*")}
        assert not any("pipeline_" in name or "aether_artifacts" in name for name in names)
        assert not any(name.startswith("aether_journal") for name in names)
