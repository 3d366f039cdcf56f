"""The code location of `test_starts.py`, copied beside its documents: pipelines in a team."""

from pathlib import Path
from typing import Any

import dagster as dg

from aether_dagster import DagsterAetherTranslator, Step, aether_executor, build_defs
from aether_dagster.script import Document

HERE = Path(__file__).parent
TINY = dg.AssetSelection.groups("tiny")
DAYS = dg.StaticPartitionsDefinition([f"day-{n}" for n in range(10)])


class WhenMissing(DagsterAetherTranslator):
    """Materializes assets as soon as they are missing."""

    def get_asset_spec(self, document: Document, step: Step) -> dg.AssetSpec:
        spec = super().get_asset_spec(document, step)
        missing = dg.AutomationCondition.missing() & ~dg.AutomationCondition.in_progress()
        return spec.replace_attributes(automation_condition=missing)


@dg.schedule(
    job_name="tiny",
    cron_schedule="* * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def each_minute() -> dg.RunRequest | dg.SkipReason:
    """Asks for a run; once is enough for a test."""
    if (HERE / "scheduled").exists():
        return dg.SkipReason("It has asked before.")
    (HERE / "scheduled").touch()
    return dg.RunRequest(tags={"started": "schedule"})


@dg.sensor(
    job_name="tiny",
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def at_once() -> dg.RunRequest:
    """Asks for a run."""
    return dg.RunRequest(run_key="once", tags={"started": "sensor"})


automatic = dg.AutomationConditionSensorDefinition(
    "automatic_sensor",
    target="*",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=5,
)


def tiny_job(name: str, executor: dg.ExecutorDefinition) -> Any:
    """Tiny's assets under an executor."""
    return dg.define_asset_job(name, TINY, executor_def=executor)


defs = dg.Definitions.merge(
    build_defs(HERE / "tiny.aether.yaml"),
    build_defs(HERE / "flaky.aether.yaml"),
    build_defs(HERE / "daily.aether.yaml", partitions_def=DAYS),
    build_defs(HERE / "automatic.aether.yaml", translator=WhenMissing()),
    dg.Definitions(
        executor=aether_executor,
        schedules=[each_minute],
        sensors=[at_once, automatic],
        jobs=[
            tiny_job("in_process", dg.in_process_executor),
            tiny_job("multiprocess", dg.multiprocess_executor),
            tiny_job("wrapped", aether_executor.wrapping(dg.multiprocess_executor)),
        ],
    ),
)
