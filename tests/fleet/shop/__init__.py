"""The code location of the deployment which the tests put together: three pipelines on celery."""

from pathlib import Path

import dagster as dg
from dagster_celery import celery_executor

from aether_dagster import build_defs

BROKER = {"env": "FLEET_BROKER"}

defs: dg.Definitions = build_defs(
    Path(__file__).parent,
    executor=celery_executor.configured({"broker": BROKER, "backend": BROKER}),
)
