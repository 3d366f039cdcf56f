"""What Dagster's log says of a run's end, and of steps which lie deep in a job's graphs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import JobFailureData, RunFailureReason
from dagster_shared.error import SerializableErrorInfo

from aether_dagster import AetherSettings, build_defs
from aether_dagster.manager.ending import RunEnd
from aether_dagster.orchestration.evidence import evidence_deltas, read_log, run_end
from aether_dagster.orchestration.io_manager import aether_io_manager
from aether_dagster.project import load_pipeline
from tests.journals import journal_url
from tests.orchestration.pipelines import simple, write


@dg.job
def nothing() -> None:
    pass


@dg.op
def fails() -> None:
    raise ValueError("no")


@dg.job
def failing() -> None:
    fails()


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def end_of(instance: dg.DagsterInstance, run_id: str) -> RunEnd:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    events = {dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.STEP_FAILURE}
    return run_end(run, instance.get_records_for_run(run_id, of_type=events).records)


Report = Callable[[dg.DagsterInstance, dg.DagsterRun], object]


def _fail(reason: str) -> Report:
    error = SerializableErrorInfo("no disk\n", [], "OSError")
    data = JobFailureData(error, RunFailureReason(reason))
    return lambda instance, run: instance.report_run_failed(run, "It failed.", data)


@pytest.mark.parametrize(
    ("report", "end"),
    [
        pytest.param(
            lambda instance, run: instance.report_run_failed(run, "died"),
            RunEnd(lost=True),
            id="failed from outside",
        ),
        pytest.param(
            lambda instance, run: instance.report_run_canceled(run),
            RunEnd(cancelled=True),
            id="cancelled",
        ),
        pytest.param(
            lambda instance, run: instance.report_run_canceling(run),
            RunEnd(cancelled=True),
            id="cancelling when it died",
        ),
        pytest.param(_fail("RUN_WORKER_RESTART"), RunEnd(lost=True), id="its process restarted"),
        pytest.param(_fail("UNEXPECTED_TERMINATION"), RunEnd(cancelled=True), id="interrupted"),
        pytest.param(_fail("STEP_FAILURE"), RunEnd(), id="a step failed, which says why"),
        pytest.param(_fail("RUN_EXCEPTION"), RunEnd(error="no disk"), id="an exception"),
    ],
)
def test_a_run_which_did_not_end_by_itself(
    report: Report, end: RunEnd, instance: dg.DagsterInstance
) -> None:
    run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED)
    report(instance, run)
    assert end_of(instance, run.run_id) == end


def test_a_run_which_ended_by_itself(instance: dg.DagsterInstance) -> None:
    succeeded = nothing.execute_in_process(instance=instance)
    assert end_of(instance, succeeded.run_id) == RunEnd()
    failed = failing.execute_in_process(instance=instance, raise_on_error=False)
    assert end_of(instance, failed.run_id) == RunEnd(), "the failed steps say why"


def test_a_step_is_known_by_its_tags_wherever_it_lies_in_a_job(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    file = write(tmp_path, simple("tiny", "first", "tiny__first"), "tiny.aether.yaml")
    settings = AetherSettings(journal=journal_url(tmp_path, "state.db"))
    job = build_defs(file, as_ops=True, settings=settings).resolve_job_def("tiny")
    graph = dg.GraphDefinition(name="outer", node_defs=[job.graph])
    result = graph.execute_in_process(
        instance=instance, resources={"aether_io_manager": aether_io_manager}
    )
    log = read_log(instance, result.dagster_run, load_pipeline(file))
    assert log.steps == {"tiny.first": "first", "tiny.tiny__first": "tiny__first"}
    deltas = evidence_deltas([*log.records, *log.records], log.steps, "pipeline_00000000")
    kinds = [
        (name, evidence.kind)
        for delta in deltas
        for name, node in delta.nodes.items()
        for evidence in node.evidence.values()
    ]
    assert kinds == [
        ("first", "start"),
        ("first", "success"),
        ("tiny__first", "start"),
        ("tiny__first", "success"),
    ]
    assert len({delta.id for delta in deltas}) == len(deltas), "the same event has the same id"


def test_what_an_event_holds_is_masked_and_cut(instance: dg.DagsterInstance) -> None:
    result = failing.execute_in_process(instance=instance, raise_on_error=False)
    records = instance.get_records_for_run(result.run_id).records

    def redact(error: dict[str, Any]) -> dict[str, Any]:
        return {**error, "message": "***" * 10_000}

    deltas = evidence_deltas(records, {"fails": "a"}, "pipeline_00000000", redact)
    (error,) = [
        evidence.error
        for delta in deltas
        for evidence in delta.nodes["a"].evidence.values()
        if evidence.error is not None
    ]
    assert error["type"] == "ValueError"
    assert error["message"].startswith("***")
    assert len(error["message"]) <= 2_048
