"""Resumes an execution from a command line (spec 6, `--resume`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from aether_dagster.errors import NothingToResume, SealError, SettingsError, StateError, UnknownKey
from aether_dagster.journal import ExecutionRecord, Journal
from aether_dagster.manager.resumption import ResumePlan, find_resumable, plan_resume
from aether_dagster.orchestration.compat import ReconstructableJob
from aether_dagster.orchestration.partitions import begin_partition, dimension_tags
from aether_dagster.orchestration.reconcile import Reconciler
from aether_dagster.orchestration.reexecution import PARENT_TAG, ROOT_TAG, resumed_from_tag
from aether_dagster.orchestration.run_job import run_job
from aether_dagster.orchestration.runtime import journal_of, key_ring, value_store
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.script import Document
from aether_dagster.values import ValueRef, ValueStore

_ENDED = ("ended", "already")


@dataclass(frozen=True)
class Resumed:
    """An execution which is going to be resumed.

    Args:
        record: It.
        plan: What runs and what is taken over.
    """

    record: ExecutionRecord
    plan: ResumePlan


def prepare_resume(
    instance: dg.DagsterInstance,
    settings: AetherSettings,
    document: Document,
    wanted: str,
    selected: Sequence[str] | None,
    partition: str | None = None,
) -> Resumed:
    """Finds the execution which is to be resumed, brings it to its end, and plans.

    Args:
        instance: Dagster's instance.
        settings: The settings of the new execution.
        document: The document as it is now.
        wanted: As `find_resumable` takes it.
        selected: The steps which may run; None as for `plan_resume`.
        partition: As `find_resumable` takes it.

    Raises:
        SettingsError: It cannot be told which execution is meant, or there is a key and what it
            left is plain.
        StateError: It still runs, or nothing proves that it died, or it never began.
        NothingToResume: Every step succeeded.
        UnknownKey: It is sealed with another key, or there is none.
    """
    keys = key_ring(settings)
    journal, values = _stores(instance, settings)
    record = find_resumable(journal, wanted, document.name, partition)
    reconciler = Reconciler(
        instance, journal, values, settings.history, keys, settings.secret_store
    )
    record = _brought_to_its_end(reconciler, journal, record)
    before = journal.replica(record.pipeline_id)
    plan = plan_resume(record, before, document, selected, values.holds)
    if not plan.runs:
        raise NothingToResume(record.pipeline_id)
    try:
        _open_one(values, [before.outcome(step).value for step in plan.reused])
    except UnknownKey:
        raise
    except SealError as error:
        raise SettingsError(
            f"What {record.pipeline_id} left cannot be taken over with a key: {error} If it ran "
            "without one, resume it without one, or start a new run."
        ) from error
    return Resumed(record, plan)


def preview_resume(
    instance: dg.DagsterInstance,
    settings: AetherSettings,
    document: Document,
    wanted: str,
    selected: Sequence[str] | None,
    partition: str | None = None,
) -> Resumed:
    """Plans as `prepare_resume` does, and changes nothing; the plan may be empty."""
    journal, values = _stores(instance, settings)
    record = find_resumable(journal, wanted, document.name, partition)
    before = journal.replica(record.pipeline_id)
    return Resumed(record, plan_resume(record, before, document, selected, values.holds))


def execute_resumed(
    job: ReconstructableJob,
    instance: dg.DagsterInstance,
    resumed: Resumed,
    *,
    run_config: Mapping[str, Any],
    asset_selection: Sequence[dg.AssetKey],
) -> str:
    """Runs the steps which are to run, as a re-execution of the run which is resumed.

    Args:
        job: The pipeline's job.
        instance: Dagster's instance.
        resumed: What is resumed.
        run_config: As for `dg.execute_job`.
        asset_selection: The assets of the steps which run.

    Returns:
        The id of Dagster's run.
    """
    record = resumed.record
    # Without its run in this instance, the tag alone leads to the execution.
    parent = instance.get_run_by_id(record.run_id)
    root = record.run_id if parent is None else parent.root_run_id or parent.run_id
    tags = {
        PARENT_TAG: record.run_id,
        ROOT_TAG: root,
        resumed_from_tag(record.pipeline): record.pipeline_id,
    }
    if record.partition is not None:
        tags |= {} if parent is None else dimension_tags(parent)
        tags |= begin_partition(instance, record.pipeline, record.partition)
    return run_job(
        job,
        instance,
        run_config=run_config,
        asset_selection=asset_selection,
        tags=tags,
        root=None if parent is None else root,
        parent=None if parent is None else parent.run_id,
    )


def _stores(instance: dg.DagsterInstance, settings: AetherSettings) -> tuple[Journal, ValueStore]:
    keys = key_ring(settings)
    journal = journal_of(settings.journal_url(instance), keys)
    return journal, value_store(settings.artifacts_url(instance), keys)


def _brought_to_its_end(
    reconciler: Reconciler, journal: Journal, record: ExecutionRecord
) -> ExecutionRecord:
    if record.finalized is not None and journal.lease(record.pipeline_id) is None:
        return record
    found = reconciler.reconcile(record.pipeline_id)
    if found.verdict == "alive":
        raise StateError(
            f"{record.pipeline_id} still runs: {found.reason} Wait for its end, or cancel it."
        )
    if found.verdict == "removed":
        raise StateError(
            f"{record.pipeline_id} died before its first step, so there is nothing to resume: "
            "start a new run."
        )
    if found.verdict not in _ENDED:
        raise StateError(
            f"{record.pipeline_id} has not ended, and may still run. {found.reason} Say so with "
            f"`aetherscript recover --force {record.pipeline_id}`, then resume it."
        )
    return journal.record(record.pipeline_id)


def _open_one(values: ValueStore, references: Sequence[Mapping[str, Any] | None]) -> None:
    """Opens the smallest of the values, so that a wrong key is told before anything runs."""
    refs = [ValueRef.from_json(each) for each in references if each is not None]
    held = [ref for ref in refs if values.holds(ref)]
    if held:
        values.get(min(held, key=lambda ref: ref.bytes))
