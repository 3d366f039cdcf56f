"""A process which has imported Dagster once, and forks one for each order: runs start at once.

Orders are lines of JSON on standard input; for each, the new process' id is printed.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from aether_dagster import AetherSettings, build_defs
from aether_dagster.cli.main import main as aetherscript
from aether_dagster.journal import Journal
from aether_dagster.manager import Execution, StateManager
from aether_dagster.manager.history import HistoryWriter
from aether_dagster.orchestration import reconcile, run_side
from aether_dagster.orchestration.instance import embedded_instance
from aether_dagster.orchestration.launch import RunRequest, run_pipeline
from aether_dagster.state import Delta

FAILED = "The order failed:"


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Runs as `aetherscript run` does."""
    request = RunRequest(
        Path("tiny.aether.yaml").absolute(),
        workers=order.get("workers", 1),
        settings=AetherSettings(history=order.get("history")).with_environment(os.environ),
    )
    outcome = run_pipeline(request, on_change=lambda _: None)
    return {"status": outcome.status}


def foreign(order: dict[str, Any]) -> dict[str, Any]:
    """Materializes all assets as Dagster's own in-process executor does."""
    defs = build_defs("tiny.aether.yaml")
    with embedded_instance(Path.cwd()) as instance:
        job = defs.resolve_implicit_global_asset_job_def()
        job.execute_in_process(instance=instance, raise_on_error=False)
    return {}


def parallel_job() -> dg.JobDefinition:
    """All assets under Dagster's own multiprocess executor."""
    job = dg.define_asset_job("parallel", executor_def=dg.multiprocess_executor)
    merged = dg.Definitions.merge(build_defs("tiny.aether.yaml"), dg.Definitions(jobs=[job]))
    return merged.resolve_job_def("parallel")


def parallel(order: dict[str, Any]) -> dict[str, Any]:
    """Runs `parallel_job`."""
    with embedded_instance(Path.cwd()) as instance:
        dg.execute_job(dg.reconstructable(parallel_job), instance, raise_on_error=False)
    return {}


def deliver(order: dict[str, Any]) -> dict[str, Any]:
    """Appends deltas one by one, each twice, in an order of its own."""
    deltas = [Delta.from_json(record) for record in order["deltas"]] * 2
    random.Random(order["seed"]).shuffle(deltas)
    with Journal.open(order["journal"]) as journal:
        for delta in deltas:
            journal.append(order["execution"], [delta])
    return {}


def recover(order: dict[str, Any]) -> dict[str, Any]:
    """Runs `aetherscript recover`."""
    return {"exit": aetherscript(["recover", "--json", *order.get("arguments", ())])}


ACTIONS = {
    "run": run,
    "foreign": foreign,
    "parallel": parallel,
    "deliver": deliver,
    "recover": recover,
}


def kill_before(owner: Any, name: str, when: Callable[..., bool] = lambda *_, **__: True) -> None:
    """Lets this process be killed when a method is called."""
    original = getattr(owner, name)

    def replaced(*args: Any, **kwargs: Any) -> Any:
        if when(*args, **kwargs):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **kwargs)

    setattr(owner, name, replaced)


def kill_after(owner: Any, name: str, when: Callable[..., bool] = lambda *_, **__: True) -> None:
    """Lets this process be killed when a method has done its work."""
    original = getattr(owner, name)

    def replaced(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if when(*args, **kwargs):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, replaced)


def _settled(status: str) -> Callable[..., bool]:
    return lambda _self, _step, _attempt, said, *_: said == status


DEATHS: dict[str, Callable[[], None]] = {
    "reserved": lambda: kill_before(StateManager, "_initialize"),
    "folder made": lambda: kill_before(Journal, "append"),
    "initialized": lambda: kill_after(StateManager, "initialize"),
    "between steps": lambda: kill_after(Execution, "settle", _settled("succeeded")),
    "retrying": lambda: kill_after(Execution, "settle", _settled("retrying")),
    "nodes ended": lambda: kill_after(Execution, "end_nodes"),
    "finalized": lambda: kill_before(
        HistoryWriter, "__call__", lambda _, change: change.replica.report is not None
    ),
    "told": lambda: kill_after(reconcile.Reconciler, "_told"),
    "joined": lambda: kill_after(reconcile.Reconciler, "_join_log"),
    "files": lambda: kill_before(reconcile, "write_history"),
    "last file": lambda: kill_after(reconcile, "write_history"),
}


def set_clock_back() -> None:
    """Sets this process' clock back by an hour as soon as a step has ended."""
    offset = 0.0
    clock, clock_ns, settle = time.time, time.time_ns, Execution.settle

    def settled(*args: Any, **kwargs: Any) -> None:
        nonlocal offset
        settle(*args, **kwargs)
        offset = -3600.0

    Execution.settle = settled
    time.time = lambda: clock() + offset
    time.time_ns = lambda: clock_ns() + int(offset * 1e9)
    defaults = StateManager.__init__.__kwdefaults__
    assert defaults is not None
    defaults["now"] = time.time


def _do(order: dict[str, Any]) -> None:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with Path(order["log"]).open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.chdir(order["directory"])
    os.environ.update(order.get("environ", {}))
    run_side.LEASE_SECONDS = order.get("lease", run_side.LEASE_SECONDS)
    if "death" in order:
        DEATHS[order["death"]]()
    if order.get("clock"):
        set_clock_back()
    outcome = ACTIONS[order["action"]](order)
    sys.stdout.flush()
    Path(order["outcome"]).write_text(json.dumps(outcome))


def main() -> None:
    """Forks a process for each line of standard input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            try:
                _do(json.loads(line))
            except BaseException:  # noqa: BLE001 - the test is told
                sys.stderr.write(f"{FAILED} {traceback.format_exc()}")
            finally:
                sys.stderr.flush()
                os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
