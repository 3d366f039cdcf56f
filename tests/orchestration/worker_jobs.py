"""Jobs of a team's own, each under our executor and under Dagster's multiprocess executor.

`worker_jobs.py ours` or `worker_jobs.py stock` runs all of them in the folder which
`AETHER_TEST_FOLDER` names, and writes to `ours.json` or `stock.json` there, by job, the run's
status and, by step, what stands in Dagster's log in which order, what the step printed, and the
processes which ran it.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from aether_dagster import aether_executor
from aether_dagster.orchestration.instance import embedded_instance

FOLDER = Path(os.environ.get("AETHER_TEST_FOLDER", "."))
OURS, STOCK = "ours", "stock"
SIDE = "side"
POOL = "one_at_a_time"
MOST_STEPS = 3
LIMITS = [{"key": "database", "value": "small", "limit": 1}]
CONFIG: dict[str, dict[str, Any]] = {
    OURS: {"workers": 3, "tag_concurrency_limits": LIMITS},
    STOCK: {
        "max_concurrent": 3,
        "tag_concurrency_limits": LIMITS,
        # Its events are those of its default, and they come sooner.
        "start_method": {"forkserver": {"preload_modules": ["dagster"]}},
    },
}
MORE: dict[tuple[str, str], dict[str, Any]] = {
    (OURS, "everything"): {"recycle": {"steps": MOST_STEPS}},
    (OURS, "limits"): {"recycle": {"memory_mb": 1}},
    (OURS, "assets"): {"start_method": "spawn"},
}


def once(context: dg.OpExecutionContext) -> bool:
    """Tells whether this is the first attempt of this step in this run."""
    file = FOLDER / f"{context.run_id}-{context.op.name}"
    before = file.exists()
    file.touch()
    return not before


@dg.success_hook
def glad(_: dg.HookContext) -> None:
    """Follows successes."""


@dg.resource
def broken(_: dg.InitResourceContext) -> None:
    """Cannot be had."""
    raise RuntimeError("no such database")


@dg.resource
def fine(_: dg.InitResourceContext) -> Iterator[str]:
    """Is set up and torn down for each step."""
    yield "fine"


@dg.op(required_resource_keys={"fine"}, tags={"dagster/priority": "5", "team": "data"})
def good(context: dg.OpExecutionContext) -> dg.Output[int]:
    print(f"printed by {context.op.name}")  # noqa: T201 - captured
    os.system("echo printed by a child >&2")
    context.log.info("said by good")
    context.log_event(dg.AssetObservation("seen"))
    return dg.Output(1, metadata={"rows": 1})


@dg.op
def bad() -> int:
    raise dg.Failure("as it was meant to", metadata={"why": "a test"})


@dg.op
def below_bad(above: int) -> int:
    return above


@dg.op(out={"left": dg.Out(is_required=False), "right": dg.Out(is_required=False)})
def branch() -> Iterator[dg.Output[int]]:
    yield dg.Output(1, "left")


@dg.op
def skipped(above: int) -> int:
    return above


@dg.op(required_resource_keys={"broken"})
def without_resource() -> None:
    return


@dg.op
def asks_again(context: dg.OpExecutionContext) -> int:
    if once(context):
        raise dg.RetryRequested(max_retries=2, seconds_to_wait=0.2)
    return 1


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1, delay=0.1))
def raises_once(context: dg.OpExecutionContext) -> int:
    if once(context):
        raise ValueError("the first time")
    return 1


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
def raises_always() -> int:
    raise ValueError("every time")


@dg.op
def dies() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 1


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
def dies_once(context: dg.OpExecutionContext) -> int:
    if once(context):
        os._exit(3)
    return 1


@dg.op
def below_dead(above: int) -> int:
    return above


@dg.op(out=dg.DynamicOut())
def many() -> Iterator[dg.DynamicOutput[int]]:
    for number in range(3):
        yield dg.DynamicOutput(number, mapping_key=f"n{number}")


@dg.op
def each(number: int) -> int:
    return number * number


@dg.op
def together(numbers: list[int]) -> int:
    return sum(numbers)


@dg.graph
def everything() -> None:
    """What can become of a step."""
    good()
    below_bad(bad())
    _, right = branch()
    skipped(right)
    without_resource()
    asks_again()
    raises_once()
    raises_always()
    below_dead(dies())
    dies_once()
    together(many().map(each).collect())


def _limited(name: str, priority: int) -> dg.OpDefinition:
    @dg.op(name=name, tags={"database": "small", "dagster/priority": str(priority)})
    def limited() -> None:
        time.sleep(0.05)

    return limited


def _pooled(name: str) -> dg.OpDefinition:
    @dg.op(name=name, pool=POOL)
    def pooled() -> None:
        time.sleep(0.05)

    return pooled


@dg.graph
def limits() -> None:
    """Steps which must not run together."""
    for name, priority in (("low", -1), ("high", 7), ("middle", 3)):
        _limited(name, priority)()
    for name in ("pool_a", "pool_b"):
        _pooled(name)()


@dg.op
def waits(context: dg.OpExecutionContext) -> None:
    (FOLDER / f"{context.run.tags[SIDE]}-waits").touch()
    time.sleep(300)


@dg.op(retry_policy=dg.RetryPolicy(max_retries=3))
def waits_and_would_retry(context: dg.OpExecutionContext) -> None:
    (FOLDER / f"{context.run.tags[SIDE]}-waits_and_would_retry").touch()
    time.sleep(300)


@dg.op(ins={"above": dg.In(dg.Nothing)})
def after() -> None:
    return


@dg.graph
def cancelled() -> None:
    """Steps which run when the run is terminated."""
    after(waits())
    waits_and_would_retry()


@dg.asset
def upstream(context: dg.AssetExecutionContext) -> int:
    context.add_output_metadata({"rows": 3})
    return 3


@dg.asset_check(asset="upstream")
def is_three() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset
def downstream(upstream: int) -> int:
    return upstream + 1


_RESOURCES: dict[str, Any] = {"fine": fine, "broken": broken}
_GRAPHS = {"everything": everything, "limits": limits, "cancelled": cancelled}
_EXECUTORS: dict[str, dg.ExecutorDefinition] = {
    OURS: aether_executor,
    STOCK: dg.multiprocess_executor,
}


def _asset_job(executor: str) -> dg.JobDefinition:
    job = dg.define_asset_job("assets", executor_def=_EXECUTORS[executor])
    defs = dg.Definitions(assets=[upstream, downstream], asset_checks=[is_three], jobs=[job])
    return defs.resolve_job_def("assets")


def build(name: str, executor: str) -> dg.JobDefinition:
    """Builds a job."""
    if name == "assets":
        return _asset_job(executor)
    return _GRAPHS[name].to_job(
        resource_defs=_RESOURCES, hooks={glad}, executor_def=_EXECUTORS[executor]
    )


def _interrupt_when_they_run(executor: str) -> None:
    wanted = [FOLDER / f"{executor}-{name}" for name in ("waits", "waits_and_would_retry")]
    while not all(file.exists() for file in wanted):
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGINT)


def _run(instance: dg.DagsterInstance, name: str, executor: str) -> dict[str, Any]:
    job = dg.build_reconstructable_job(
        "worker_jobs", "build", reconstructable_args=(name, executor)
    )
    if name == "cancelled":
        threading.Thread(
            target=_interrupt_when_they_run, args=(executor,), daemon=True, name="interrupts"
        ).start()
    try:
        dg.execute_job(
            job,
            instance,
            run_config={
                "execution": {"config": CONFIG[executor] | MORE.get((executor, name), {})},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            tags={SIDE: executor},
            raise_on_error=False,
        )
    except BaseException as error:  # noqa: BLE001 - the test is told
        sys.stderr.write(f"{name} {executor}: {error!r}\n")
    run = instance.get_runs(limit=1)[0]
    return {
        "status": run.status.value,
        "steps": _steps(instance, run.run_id),
        "logs": _captured(instance, run.run_id),
        "workers": _workers(instance, run.run_id),
    }


def _steps(instance: dg.DagsterInstance, run_id: str) -> dict[str, list[list[Any]]]:
    told: dict[str, list[list[Any]]] = {}
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        if entry.step_key is None:
            continue
        # Paths hold the run's id.
        text = entry.user_message.replace(run_id, "RUN").replace(str(FOLDER), "FOLDER")
        said = text if event is None else event.event_type_value
        told.setdefault(entry.step_key, []).append([said, entry.timestamp])
    return told


def _captured(instance: dg.DagsterInstance, run_id: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED):
        assert entry.dagster_event is not None
        captured = entry.dagster_event.logs_captured_data
        data = instance.compute_log_manager.get_log_data(
            [run_id, "compute_logs", captured.file_key]
        )
        [step] = captured.step_keys or []
        found[step] = [(data.stdout or b"").decode(), (data.stderr or b"").decode()]
    return found


def _workers(instance: dg.DagsterInstance, run_id: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_WORKER_STARTED):
        event = entry.dagster_event
        assert event is not None
        found.setdefault(event.step_key or "", []).append(
            str(event.engine_event_data.metadata["pid"].value)
        )
    return found


def main(executor: str) -> None:
    """Runs everything once."""
    told: dict[str, dict[str, Any]] = {}
    with embedded_instance(FOLDER) as instance:
        instance.event_log_storage.set_concurrency_slots(POOL, 1)
        for name in (*_GRAPHS, "assets"):
            told[name] = _run(instance, name, executor)
    (FOLDER / f"{executor}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
