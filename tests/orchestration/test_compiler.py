"""Documents become definitions."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest

from aether_dagster import (
    AetherPipelineComponent,
    Pipeline,
    ScriptError,
    Step,
    aether_executor,
    build_defs,
)
from aether_dagster.orchestration.compiler import compile_documents
from aether_dagster.orchestration.node import node_body
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.script import parse_document
from tests.orchestration.pipelines import TINY, order, simple, specs, write


@pytest.fixture
def recursion_limit() -> Iterator[int]:
    before = sys.getrecursionlimit()
    yield before
    sys.setrecursionlimit(before)


def test_a_step_becomes_an_asset_with_all_that_the_document_says(tmp_path: Path) -> None:
    file = write(tmp_path)
    found = specs(build_defs(file))
    assert sorted(found) == ["tiny_one/first", "tiny_one/second_step", "tiny_one/third"]
    spec = found["tiny_one/first"]
    assert spec.description == "Say two numbers"
    assert spec.owners == ["team:data", "ada@example.com"]
    assert spec.tags["criticality"] == "high"
    assert found["tiny_one/third"].kinds == {"aetherscript", "sqlite"}
    assert spec.group_name == "tiny_one"
    metadata = found["tiny_one/second_step"].metadata
    assert (metadata["aether/step"], metadata["aether/type"]) == ("second-step", "python/call")
    assert metadata["aether/config_hash"] == parse_document(file.read_text()).config_hash


def test_an_asset_refers_to_its_steps_line_of_the_document(tmp_path: Path) -> None:
    file = write(tmp_path)
    lines = file.read_text().splitlines()
    for spec in specs(build_defs(file)).values():
        (reference,) = spec.metadata["dagster/code_references"].code_references
        assert reference.file_path == str(file)
        assert f"id: {spec.metadata['aether/step']}" in lines[reference.line_number - 1]


def test_only_the_step_which_changed_gets_a_new_code_version(tmp_path: Path) -> None:
    before = specs(build_defs(write(tmp_path / "a")))
    after = specs(build_defs(write(tmp_path / "b", TINY.replace("select 1", "select 2"))))
    changed = [key for key in before if before[key].code_version != after[key].code_version]
    assert changed == ["tiny_one/third"]


@pytest.mark.parametrize("as_ops", [False, True])
def test_order_without_data_never_reaches_an_io_manager(tmp_path: Path, as_ops: bool) -> None:
    job = build_defs(write(tmp_path), as_ops=as_ops).resolve_job_def("tiny_one")
    bodies = [(node, node_body(node.definition)) for node in job.nodes]
    nodes = {body.step.id: node for node, body in bodies if body is not None}
    assert order(job, nodes["first"].name, nodes["second-step"].name)
    assert order(job, nodes["second-step"].name, nodes["third"].name)
    data = nodes["second-step"].definition.input_def_named("first")
    waits = nodes["third"].definition.input_def_named("second_step")
    assert not data.dagster_type.is_nothing
    assert waits.dagster_type.is_nothing


def test_steps_become_ops_of_a_graph_job_and_no_assets(tmp_path: Path) -> None:
    definitions = build_defs(write(tmp_path), as_ops=True)
    job = definitions.resolve_job_def("tiny_one")
    assert sorted(node.name for node in job.nodes) == ["first", "second_step", "third"]
    assert not list(definitions.resolve_all_asset_specs())


@pytest.mark.parametrize("as_ops", [False, True])
def test_the_job_brings_executor_tags_retries_and_resources(tmp_path: Path, as_ops: bool) -> None:
    file = write(tmp_path)
    job = build_defs(file, as_ops=as_ops).resolve_job_def("tiny_one")
    assert job.executor_def is aether_executor
    config_hash = parse_document(file.read_text()).config_hash
    assert job.run_tags["aether/tiny-one.config_hash"] == config_hash
    assert job.description == "A tiny pipeline"
    by_step = {node.definition.tags["aether/step"]: node.definition for node in job.nodes}
    assert by_step["second-step"].retry_policy == dg.RetryPolicy(max_retries=2)
    assert by_step["first"].retry_policy is None
    assert by_step["third"].required_resource_keys == {"aether_tiny_one_store"}
    assert by_step["first"].required_resource_keys == set()


def test_neither_executor_nor_io_manager_is_among_the_definitions(tmp_path: Path) -> None:
    definitions = build_defs(write(tmp_path))
    assert definitions.executor is None
    assert set(definitions.resources or {}) == {"aether_io_manager", "aether_tiny_one_store"}


def test_pipelines_merge_with_a_teams_own_executor_and_io_manager(tmp_path: Path) -> None:
    @dg.asset
    def theirs() -> int:
        return 1

    team = dg.Definitions(
        assets=[theirs],
        executor=dg.multiprocess_executor,
        resources={"io_manager": dg.InMemoryIOManager()},
    )
    one = build_defs(write(tmp_path / "one"))
    two = build_defs(write(tmp_path / "two", simple("two", "first", "last")), as_ops=True)
    merged = dg.Definitions.merge(one, team, two)
    dg.Definitions.validate_loadable(merged)
    assert merged.resolve_job_def("tiny_one").executor_def is aether_executor
    assert merged.resolve_job_def("two").executor_def is aether_executor
    assert merged.executor is dg.multiprocess_executor


TEAM = """
import dagster as dg
from aether_dagster import build_defs

@dg.asset
def theirs() -> int:
    return 1

@dg.definitions
def defs() -> dg.Definitions:
    team = dg.Definitions(
        assets=[theirs],
        executor=dg.multiprocess_executor,
        resources={"io_manager": dg.InMemoryIOManager()},
    )
    return dg.Definitions.merge(build_defs("one"), team, build_defs("two", as_ops=True))
"""
PROJECT = """
[tool.dg]
directory_type = "project"
project = {root_module = "team", defs_module = "team", code_location_target_module = "team"}
cli = {telemetry = {enabled = false}}
"""


def test_dg_loads_pipelines_merged_with_a_teams_own_executor_and_io_manager(tmp_path: Path) -> None:
    write(tmp_path / "one")
    write(tmp_path / "two", simple("two", "first", "last"))
    write(tmp_path, PROJECT, "pyproject.toml")
    write(tmp_path / "team", TEAM, "__init__.py")
    dg_command = Path(sys.executable).parent / "dg"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AETHERSCRIPT_", "DAGSTER_"))}
    listed = subprocess.run(
        [dg_command, "list", "defs", "--json"],
        cwd=tmp_path,
        env=kept | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.returncode == 0, listed.stderr
    found = json.loads(listed.stdout)
    assert {"theirs", "tiny_one/first"} <= {asset["asset_key"] for asset in found["assets"]}
    assert {"tiny_one", "two"} <= {job["name"] for job in found["jobs"]}


def test_a_folder_gives_every_pipeline_below_it(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b" / "c", simple("other", "x"), "other.aether.yaml")
    assert {key.partition("/")[0] for key in specs(build_defs(tmp_path))} == {"tiny_one", "other"}


def test_all_problems_of_all_documents_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, simple("p", "a").replace("core/echo", "core/eco"), "1.aether.yaml")
    write(tmp_path, simple("q", "a").replace("message", "mesage"), "2.aether.yaml")
    with pytest.raises(ScriptError) as caught:
        build_defs(tmp_path)
    places = [(Path(problem.file).name, problem.line) for problem in caught.value.problems]
    assert places == [("1.aether.yaml", 6), ("2.aether.yaml", 6)]


def test_python_and_its_yaml_compile_to_the_same(tmp_path: Path) -> None:
    pipeline = Pipeline(
        name="py",
        steps=[
            Step(id="a", type="core/echo", args={"message": 1}),
            Step(id="b", type="core/echo", args={"message": "${steps.a.output}"}),
        ],
    )
    written = specs(build_defs(write(tmp_path, pipeline.to_yaml())))
    for key, spec in specs(build_defs(pipeline)).items():
        assert spec.code_version == written[key].code_version
        assert spec.metadata["aether/config_hash"] == written[key].metadata["aether/config_hash"]


def test_variables_override_the_documents(tmp_path: Path) -> None:
    text = simple("p", "a").replace("connectors: {}", "variables: {SIZE: 1}")
    file = write(tmp_path, text.replace("message: a", "message: '${SIZE}'"))
    before, after = (specs(build_defs(file, variables=v))["p/a"] for v in (None, {"SIZE": "2"}))
    assert before.code_version != after.code_version


def test_environment_overrides_settings_only_where_they_are_not_final(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path, simple("p", "a"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AETHERSCRIPT_STATE_HISTORY", "from-environment")
    given = AetherSettings(history=str(tmp_path / "given"))

    def history(definitions: dg.Definitions) -> str | None:
        (node,) = definitions.resolve_job_def("p").nodes
        body = node_body(node.definition)
        assert body is not None
        return body.pipeline.settings.history

    assert history(build_defs(file, settings=given)) == f"{tmp_path}/from-environment"
    document = parse_document(file.read_text(), file=str(file))
    assert history(compile_documents([document], settings=given)) == given.history


def test_a_chain_longer_than_pythons_recursion_limit_compiles(recursion_limit: int) -> None:
    names = [f"s{number}" for number in range(recursion_limit + 200)]
    document = parse_document(simple("chain", *names))
    definitions = compile_documents([document], settings=AetherSettings())
    job = definitions.resolve_job_def("chain")
    assert len(job.nodes) == len(names)
    assert sys.getrecursionlimit() > recursion_limit


def test_a_flat_pipeline_leaves_the_recursion_limit_alone(
    tmp_path: Path, recursion_limit: int
) -> None:
    build_defs(write(tmp_path))
    assert sys.getrecursionlimit() == recursion_limit


@pytest.mark.parametrize("as_ops", [False, True])
def test_jobs_run_under_the_executor_which_is_given_wrapped_once(
    tmp_path: Path, as_ops: bool
) -> None:
    write(tmp_path, simple("one", "only"))
    configured = dg.multiprocess_executor.configured({"max_concurrent": 3}, name="three")
    for given in (configured, aether_executor.wrapping(configured)):
        defs = build_defs(tmp_path, as_ops=as_ops, executor=given)
        assert defs.resolve_job_def("one").executor_def.name == "aether_three"
    for given in (None, aether_executor, aether_executor.configured({"workers": 2})):
        defs = build_defs(tmp_path, as_ops=as_ops, executor=given)
        assert defs.resolve_job_def("one").executor_def.name == "aether"


def test_a_component_says_its_executor_in_a_subclass(tmp_path: Path) -> None:
    write(tmp_path, simple("one", "only"))

    class Parallel(AetherPipelineComponent):
        @property
        def executor(self) -> dg.ExecutorDefinition:
            return dg.multiprocess_executor

    context = SimpleNamespace(path=tmp_path, project_root=tmp_path)
    defs = Parallel(pipeline="tiny.aether.yaml").build_defs(context)
    assert defs.resolve_job_def("one").executor_def.name == "aether_multiprocess"
