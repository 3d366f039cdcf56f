"""Runs pipelines in real processes, and looks at all that they leave behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

import aether_dagster
from aether_dagster.journal import ExecutionRecord, Journal, Version
from aether_dagster.orchestration.instance import embedded_instance
from aether_dagster.orchestration.reconcile import Reconciler
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.script import dagster_name, parse_document
from aether_dagster.state import Replica
from aether_dagster.state.document import canonical_bytes
from aether_dagster.values import ValueStore
from tests import oracle, schemas
from tests.journals import journal_environment, journal_url

PACKAGES = str(Path(aether_dagster.__file__).parents[1])
DRIVER = Path(__file__).with_name("driver.py")
STEP_CODE = Path(__file__).parent / "orchestration" / "step_code.py"
MARK = "AETHER_TEST_MARK"
LIMIT = 90.0


@dataclass
class Driver:
    """A process which runs orders, one after another.

    Args:
        directory: Where it runs; it holds the documents and the embedded instance.
        orders: What to run; see `driver.py`.
        environ: Further environment variables.
        limit: How long all of it may take, in seconds.
    """

    directory: Path
    orders: Sequence[Mapping[str, Any]]
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    limit: float = LIMIT

    def __post_init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self._told: list[str] = []
        self._files = [self.directory / f"outcome-{self.mark}-{n}" for n in range(len(self.orders))]
        orders = [
            {"directory": str(self.directory), "history": "executions", "outcome": str(file)}
            | {**order, "pipeline": str(self.directory / order["pipeline"])}
            for order, file in zip(self.orders, self._files, strict=True)
        ]
        file = self.directory / f"orders-{self.mark}.json"
        file.write_text(json.dumps(orders))
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AETHERSCRIPT_", "DAGSTER_"))
        }
        self.errors = self.directory / f"stderr-{self.mark}"
        self.output = self.directory / f"stdout-{self.mark}"
        with self.errors.open("wb") as stderr, self.output.open("wb") as stdout:
            self.process = subprocess.Popen(
                [sys.executable, str(DRIVER), str(file)],
                cwd=self.directory,
                env={
                    **kept,
                    **journal_environment(self.directory),
                    "PYTHONPATH": PACKAGES,
                    MARK: self.mark,
                    **self.environ,
                },
                stdout=stdout,
                stderr=stderr,
                # A group of its own, so that a test can press Ctrl-C as a terminal does.
                start_new_session=True,
            )

    def wait_for(self, *lines: str) -> None:
        """Waits until the process has told of each of these, such as `load executing 1`."""
        self._wait(lambda: set(lines) <= set(self.output.read_text().splitlines()), str(lines))

    def wait_for_file(self, name: str) -> None:
        """Waits until a file is there, which a step writes."""
        self._wait((self.directory / name).exists, name)

    def _wait(self, met: Any, what: str) -> None:
        give_up = time.monotonic() + LIMIT
        while not met():
            assert self.process.poll() is None, f"ended before {what}: {self.errors.read_text()}"
            assert time.monotonic() < give_up, f"never came: {what}; {self.output.read_text()}"
            time.sleep(0.02)

    def interrupt(self, *, group: bool = False) -> None:
        """Sends SIGINT to the process, or to its whole group as Ctrl-C does."""
        if group:
            os.killpg(self.process.pid, signal.SIGINT)
        else:
            self.process.send_signal(signal.SIGINT)

    def pause(self, seconds: float) -> None:
        """Lets it run on for a while."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def kill(self) -> None:
        """Ends it, where a test has not waited for its end."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def left(self, pipeline: str, *, order: int = 0) -> "Left":
        """Waits for its end, and returns what an order left."""
        outcomes = self.end()
        assert len(outcomes) > order, self.errors.read_text()
        assert "run_id" in outcomes[order], outcomes[order]
        return Left(self.directory, outcomes[order]["run_id"], pipeline)

    def end(self) -> list[dict[str, Any]]:
        """Waits for its end, and returns the outcomes of the orders which were done."""
        self.process.wait(self.limit)
        return [json.loads(file.read_text()) for file in self._files if file.exists()]

    def survivors(self) -> list[str]:
        """Returns the command lines of processes which came from this one and live."""
        found: list[str] = []
        for _ in range(50):
            # Those which watch over captured output look for its end once a second.
            found = [_command(p) for p in psutil.process_iter() if _has_mark(p, self.mark)]
            if not found:
                break
            time.sleep(0.1)
        return found


def _command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _has_mark(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark
    except psutil.Error:
        return False


@dataclass(frozen=True)
class Left:
    """What one execution left behind, read from outside.

    Args:
        directory: Where it ran.
        run_id: Dagster's run.
        pipeline: The pipeline's name.
    """

    directory: Path
    run_id: str
    pipeline: str

    @cached_property
    def record(self) -> ExecutionRecord:
        with self._journal() as journal:
            record = journal.find(self.run_id, self.pipeline)
            assert record is not None
            return journal.record(record.pipeline_id)

    @cached_property
    def versions(self) -> list[Version]:
        with self._journal() as journal:
            return journal.versions(self.record.pipeline_id)

    @cached_property
    def state(self) -> dict[str, Any]:
        """The state document, with its report."""
        replica = self._replica()
        assert replica.report is not None, "never finalized"
        return {**replica.document(), "report": dict(replica.report)}

    @property
    def unfinished(self) -> dict[str, Any]:
        """The state document of an execution which nobody has finalized."""
        replica = self._replica()
        assert replica.report is None
        return replica.document()

    @property
    def nodes(self) -> dict[str, dict[str, Any]]:
        return self.state["nodes"]

    @property
    def report(self) -> dict[str, Any]:
        return self.state["report"]

    @property
    def folder(self) -> Path:
        assert self.record.history is not None
        return Path(self.record.history)

    def file(self, name: str) -> Any:
        return json.loads((self.folder / name).read_bytes())

    @property
    def reused(self) -> set[str]:
        """The nodes which had succeeded when the execution began."""
        first = Replica()
        for delta in self.versions[0].deltas:
            first.apply(delta)
        return {name for name in first.nodes() if first.outcome(name).status == "succeeded"}

    def attempt(self, step: str, number: int) -> dict[str, Any]:
        """The record in the file of an attempt."""
        return self.file(f"state_node_{self.nodes[step]['node_id']}_attempt{number}.json")

    def materialization(self, step: str) -> Mapping[str, Any]:
        """The metadata of what Dagster keeps of an asset's materialization."""
        with embedded_instance(self.directory) as instance:
            for entry in instance.all_logs(self.run_id):
                event = entry.dagster_event
                made = event is not None and event.is_step_materialization
                if made and event.step_key == self.step_key(step):
                    return event.step_materialization_data.materialization.metadata
        raise AssertionError(f"{step} was not materialized")

    def check(self, *, history: bool = True, ops: bool = False) -> None:
        """Asserts all which is true of every execution that ended."""
        assert schemas.errors("final", self.state) == []
        self._check_report()
        self._check_oracle(ops=ops)
        if history:
            self._check_folder()
        self._check_values()

    def _check_oracle(self, *, ops: bool) -> None:
        """Asserts that Dagster's own log tells the same of each node."""
        document = parse_document(json.dumps(self.record.document))
        nodes = {step: node for step, node in self.nodes.items() if step not in self.reused}
        key = {step: dagster_name(step) if ops else self.step_key(step) for step in nodes}
        dependencies = {
            key[step]: [key[up] for up in document.dependencies[step] if up in key]
            for step in nodes
        }
        with embedded_instance(self.directory) as instance:
            said = oracle.verdicts(instance, self.run_id, dependencies)
            assert oracle.run_status(instance, self.run_id) == self.report["status"]
        ours = {
            key[step]: oracle.Verdict(
                node["status"],
                0 if node["status"] == "pending" else node["retry_count"] + 1,
                tuple(sorted(key[up] for up in (node["error"] or {}).get("upstream", ()))),
                node["status"] == "failed" and node["error"]["type"] == "Cancelled",
            )
            for step, node in nodes.items()
        }
        assert ours == said, {key: (ours[key], said[key]) for key in ours if ours[key] != said[key]}

    def step_key(self, step: str) -> str:
        """Dagster's key of a step of assets."""
        return f"{dagster_name(self.pipeline)}__{dagster_name(step)}"

    def _replica(self) -> Replica:
        replica = Replica()
        for version in self.versions:
            for delta in () if version.late else version.deltas:
                replica.apply(delta)
        return replica

    def _check_report(self) -> None:
        report, nodes = self.report, self.nodes
        statuses = [node["status"] for node in nodes.values()]
        assert {status: n for status, n in report["nodes"].items() if n} == {
            status: statuses.count(status) for status in statuses
        }
        assert report["retries"] == sum(node["retry_count"] for node in nodes.values())
        assert report["failed"] == [n for n, node in nodes.items() if node["status"] == "failed"]
        assert report["version"] == self.record.finalized
        assert self.record.status == report["status"]

    def _check_folder(self) -> None:
        expected = {"state_init.json": "state", "state_final.json": "final"}
        begun = [
            node
            for name, node in self.nodes.items()
            if node["status"] != "pending" and name not in self.reused
        ]
        for node in begun:
            prefix = f"state_node_{node['node_id']}_"
            expected[f"{prefix}final.json"] = "node"
            for attempt in range(1, node["retry_count"] + 2):
                expected[f"{prefix}attempt{attempt}.json"] = "node"
        assert sorted(file.name for file in self.folder.iterdir()) == sorted(expected)
        for name, kind in expected.items():
            assert schemas.errors(kind, self.file(name)) == [], name
            assert schemas.misplaced(kind, self.file(name)) == [], name
        final = self.file("state_final.json")
        order = parse_document(json.dumps(self.record.document)).order
        assert list(final["nodes"]) == [step for step in order if step in final["nodes"]]
        for name in ("environment_vars", "artifacts"):
            assert list(final["context"][name]) == sorted(final["context"][name])
        assert canonical_bytes(final) == canonical_bytes(self.state)
        assert final["report"] == self.report
        for node in begun:
            assert self.file(f"state_node_{node['node_id']}_final.json") == node
        assert re.fullmatch(
            rf"\d{{4}}-\d\d-\d\d_\d{{6}}_{self.record.pipeline_id}", self.folder.name
        )
        others = [p.name for p in self.folder.parent.iterdir() if "_pipeline_" not in p.name]
        assert others == [], "something else lies in the history"

    def _check_values(self) -> None:
        store = self.directory / ".aether" / "aether_artifacts"
        stored = {file.as_uri() for file in (store / self.record.pipeline_id).rglob("*.*")}
        referred: set[str] = set()
        for version in self.versions:
            for delta in version.deltas:
                referred.update(_references(json.loads(json.dumps(delta.to_json()))))
        assert {uri for uri in referred if self.record.pipeline_id in uri} == stored

    def _journal(self) -> Journal:
        return Journal.open(journal_url(self.directory), read_only=True)


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$artifact"]} if "$artifact" in value else set[str]()
        return found.union(*(_references(item) for item in value.values()))
    if isinstance(value, list):
        return set[str]().union(*(_references(item) for item in value))
    return set()


def check_clean(driver: Driver) -> None:
    """Asserts that an ended driver left no process, temporary file or open database behind."""
    assert driver.survivors() == []
    wal = driver.directory / ".aether" / "aether_journal.db-wal"
    assert not wal.exists() or wal.stat().st_size == 0
    temporary = [
        path
        for path in driver.directory.rglob("*")
        if path.name.startswith(".aether-") or path.suffix == ".tmp"
    ]
    assert temporary == []


def reconcile(directory: Path) -> None:
    """Brings all executions of a directory which have not ended to their true end."""
    with (
        embedded_instance(directory) as instance,
        Journal.open(journal_url(directory)) as journal,
    ):
        values = ValueStore(AetherSettings().artifacts_url(instance))
        list(Reconciler(instance, journal, values).reconcile_all())


def last_run(directory: Path) -> str:
    """Returns the id of the newest run of a directory's instance."""
    with embedded_instance(directory) as instance:
        return instance.get_runs(limit=1)[0].run_id


def place(directory: Path, *, before: str = "", **steps: str) -> Path:
    """Writes a document for each name, with the code which its steps call; returns the folder.

    Args:
        directory: Where; it is made.
        before: What stands in each document before its steps.
        steps: The steps by the pipeline's name, as YAML items.
    """
    directory.mkdir()
    shutil.copy(STEP_CODE, directory / "jobs.py")
    for name, items in steps.items():
        text = f'version: "2.1"\nmetadata: {{name: {name}}}\n{before}\npipeline:\n  steps:{items}'
        (directory / f"{name}.aether.yaml").write_text(text)
    return directory
