"""Runs a pipeline from a command line: no daemon, no server, no set-up (spec 6)."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from aether_dagster.errors import StateError
from aether_dagster.journal import Journal
from aether_dagster.manager import Change
from aether_dagster.manager.resumption import ResumePlan
from aether_dagster.orchestration.code_location import reconstructable_pipeline
from aether_dagster.orchestration.compat import ReconstructableJob
from aether_dagster.orchestration.declared import check_partition
from aether_dagster.orchestration.instance import open_instance
from aether_dagster.orchestration.interrupts import second_interrupt_kills
from aether_dagster.orchestration.partitions import begin_partition
from aether_dagster.orchestration.resume import (
    Resumed,
    execute_resumed,
    prepare_resume,
    preview_resume,
)
from aether_dagster.orchestration.run_job import run_job
from aether_dagster.orchestration.run_side import Watch, watched
from aether_dagster.orchestration.runtime import key_ring
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.orchestration.translator import DagsterAetherTranslator
from aether_dagster.project import load_pipeline
from aether_dagster.script import Document


@dataclass(frozen=True)
class RunRequest:
    """What to run and where to keep its state.

    Args:
        pipeline: Path of the pipeline document.
        variables: Overrides of its `variables`, by name.
        select: The steps to run; all where None, or those which the resumed execution covered.
        workers: Processes which run steps; 1 runs them in this process.
        settings: Where state, history and values go.
        directory: Where the embedded instance lies when DAGSTER_HOME is not set.
        resume: The execution whose outputs are taken over: its pipeline id, the beginning of it,
            or `latest`.
        partition: The partition which is run; that of the resumed execution where None.
        document: The pipeline, where the caller has read it with these variables already.
    """

    pipeline: Path
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    select: tuple[str, ...] | None = None
    workers: int = 1
    settings: AetherSettings = field(default_factory=AetherSettings)
    directory: Path = field(default_factory=Path.cwd)
    resume: str | None = None
    partition: str | None = None
    document: Document | None = None


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Args:
        pipeline_id: The execution.
        status: `succeeded`, `failed` or `cancelled`.
        document: The final state document.
        report: The final report.
        history_folder: Path or URL of the execution's state history, where one is kept.
        history_error: Why the history is incomplete, if it is.
        dagster_run_id: Dagster's run.
        hook_error: Why a state hook failed whose failures count, if one did.
        undelivered: How many deliveries to state hooks are left in the outbox.
    """

    pipeline_id: str
    status: str
    document: Mapping[str, Any]
    report: Mapping[str, Any]
    history_folder: str | None
    history_error: str | None
    dagster_run_id: str
    hook_error: str | None = None
    undelivered: int = 0


def run_pipeline(
    request: RunRequest,
    *,
    on_change: Callable[[Change], None],
    on_resume: Callable[[ResumePlan], None] | None = None,
) -> RunOutcome:
    """Runs a pipeline to its end in this process, as a run of the Dagster instance.

    An interrupt cancels it: running nodes are ended and the state is finalized as cancelled. A
    second one ends the process.

    Args:
        request: What to run.
        on_change: Called from one thread, in order, with each version of the execution.
        on_resume: Called before the run begins with what it takes over, where it resumes.

    Raises:
        ScriptError: The document is wrong.
        SettingsError: It cannot be told which execution is to be resumed, or the pipeline has no
            such partition.
        NothingToResume: Every step of it succeeded.
        JournalError: The journal cannot be used.
        SnapshotError: The history folder cannot be created.
        StateError: The execution could not begin, or the one to be resumed has not ended.
        SealError: What is to be taken over cannot be opened with the keys which are given.
    """
    document = request.document or load_pipeline(request.pipeline, variables=request.variables)
    if request.partition is not None:
        check_partition(document, request.partition)
    settings = request.settings.anchored(request.directory)
    watch = Watch(on_change)
    token = watched.set(watch)
    try:
        with open_instance(os.environ, request.directory) as instance, second_interrupt_kills():
            if request.resume is None:
                run_id = _run(request, instance, document, settings)
            else:
                resumed = prepare_resume(
                    instance, settings, document, request.resume, request.select, request.partition
                )
                if on_resume is not None:
                    on_resume(resumed.plan)
                run_id = execute_resumed(
                    _job(request, document, settings, resumed.record.partition),
                    instance,
                    resumed,
                    run_config=_run_config(request),
                    asset_selection=_selection(document, tuple(resumed.plan.runs)) or (),
                )
            if watch.error is not None:
                raise watch.error
            return _outcome(instance, settings, run_id, document.name, watch)
    finally:
        watched.reset(token)


def preview(request: RunRequest) -> Resumed:
    """Returns what a run would resume and take over; changes nothing.

    Args:
        request: What to run; it says what to resume.

    Raises:
        As `run_pipeline`.
    """
    assert request.resume is not None
    document = request.document or load_pipeline(request.pipeline, variables=request.variables)
    settings = request.settings.anchored(request.directory)
    with open_instance(os.environ, request.directory) as instance:
        return preview_resume(
            instance, settings, document, request.resume, request.select, request.partition
        )


def _run(
    request: RunRequest,
    instance: dg.DagsterInstance,
    document: Document,
    settings: AetherSettings,
) -> str:
    key = request.partition
    return run_job(
        _job(request, document, settings, key),
        instance,
        run_config=_run_config(request),
        asset_selection=_selection(document, request.select),
        tags={} if key is None else begin_partition(instance, document.name, key),
    )


def _job(
    request: RunRequest, document: Document, settings: AetherSettings, partition: str | None
) -> ReconstructableJob:
    return reconstructable_pipeline(
        document,
        variables=dict(request.variables),
        settings=settings,
        partitioned=partition is not None,
        compiled_here=True,
    )


def _run_config(request: RunRequest) -> dict[str, Any]:
    return {
        "execution": {"config": {"workers": request.workers}},
        # Dagster's own log goes to the instance; on the terminal stands the state.
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }


def _selection(document: Document, select: tuple[str, ...] | None) -> list[dg.AssetKey] | None:
    if select is None:
        return None
    translator = DagsterAetherTranslator()
    return [translator.get_asset_spec(document, document.step(step)).key for step in select]


def _outcome(
    instance: dg.DagsterInstance,
    settings: AetherSettings,
    run_id: str,
    pipeline: str,
    watch: Watch,
) -> RunOutcome:
    if watch.ended is not None:
        record, replica = watch.ended.record, watch.ended.replica
    else:
        with Journal.open(settings.journal_url(instance), keys=key_ring(settings)) as journal:
            found = journal.find(run_id, pipeline)
            if found is None:
                raise StateError(
                    f"Dagster's run {run_id} left no execution of {pipeline!r}; its log says why: "
                    "see it with 'aetherscript ui'."
                )
            record, replica = found, journal.replica(found.pipeline_id)
    report = dict(replica.report or {})
    return RunOutcome(
        pipeline_id=record.pipeline_id,
        status=str(report.get("status", "failed")),
        document=replica.document(),
        report=report,
        history_folder=record.history,
        history_error=watch.history_error,
        dagster_run_id=run_id,
        hook_error=watch.hook_error,
        undelivered=watch.undelivered,
    )
