"""A team's code location, whose jobs run on other hosts: copied to each of the tests' hosts."""

import os
from pathlib import Path

import dagster as dg

from aether_dagster import build_defs


def _executor() -> dg.ExecutorDefinition:
    if os.environ["FLEET_EXECUTOR"] == "kubernetes":
        from dagster_k8s import k8s_job_executor

        return k8s_job_executor
    if os.environ["FLEET_EXECUTOR"] == "docker":
        from dagster_docker import docker_executor

        return docker_executor
    if os.environ["FLEET_EXECUTOR"] == "dask":
        from dagster_dask import dask_executor

        cluster = {"existing": {"address": {"env": "FLEET_SCHEDULER"}}}
        return dask_executor.configured({"cluster": cluster})
    from dagster_celery import celery_executor

    broker = {"env": "FLEET_BROKER"}
    return celery_executor.configured({"broker": broker, "backend": broker})


defs = build_defs(Path(__file__).parent, executor=_executor())
