"""The code location of pipelines without a project, and jobs which other processes build anew."""

import os
from pathlib import Path

import dagster as dg
import pytest

from aether_dagster import AetherSettings
from aether_dagster.orchestration import code_location
from aether_dagster.orchestration.code_location import reconstructable_pipeline
from aether_dagster.orchestration.instance import embedded_instance
from aether_dagster.orchestration.node import node_body
from aether_dagster.project import load_pipeline
from tests.orchestration.pipelines import simple, write


def test_it_serves_the_pipelines_which_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "one", simple("one", "a"))
    write(tmp_path / "more", simple("two", "a"))
    monkeypatch.setenv("AETHERSCRIPT_PIPELINES", f"{file}{os.pathsep}{tmp_path / 'more'}")
    jobs = code_location.defs().resolve_all_job_defs()
    assert {"one", "two"} <= {job.name for job in jobs}


def test_without_names_it_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AETHERSCRIPT_PIPELINES", raising=False)
    assert not list(code_location.defs().resolve_all_asset_specs())


@pytest.mark.parametrize("as_ops", [False, True])
def test_settings_of_a_reconstructable_job_are_final(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_ops: bool
) -> None:
    monkeypatch.setenv("AETHERSCRIPT_STATE_HISTORY", "/from/environment")
    settings = AetherSettings(history="/from/a/flag")
    document = load_pipeline(write(tmp_path, simple("one", "a")))
    job = reconstructable_pipeline(document, variables={}, as_ops=as_ops, settings=settings)
    (node,) = job.get_definition().nodes
    body = node_body(node.definition)
    assert body is not None
    assert body.pipeline.settings == settings


def test_other_processes_run_its_steps(tmp_path: Path) -> None:
    text = simple("one", "a").replace("connectors: {}", "variables: {WORD: none}")
    document = load_pipeline(write(tmp_path, text.replace("message: a", "message: '${WORD}'")))
    settings = AetherSettings().anchored(tmp_path)
    job = reconstructable_pipeline(document, variables={"WORD": "child"}, settings=settings)
    with embedded_instance(tmp_path) as instance:
        config = {"execution": {"config": {"workers": 2}}}
        result = dg.execute_job(job, instance, run_config=config, raise_on_error=False)
        assert result.success
        logs = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_WORKER_STARTED)
        assert len(logs) == 1
        with dg.execute_job(job, instance, run_config=config) as opened:
            assert opened.output_for_node("one__a") == "child"
