"""Steps among assets which are none of theirs: their values by reference, before and after."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from aether_dagster import AetherIOManager, ScriptError, build_defs
from aether_dagster.orchestration.code_location import load_repository
from aether_dagster.orchestration.instance import embedded_instance
from aether_dagster.orchestration.settings import AetherSettings
from tests.orchestration.pipelines import simple, specs, write

TAKES = """
    version: "2.1"
    metadata: {name: takes}
    pipeline:
      steps:
        - id: convert
          type: core/echo
          args: {message: ["${assets.raw/rates.eur[0]}", "as ${assets.orders} orders"]}
        - {id: last, type: core/echo, args: {message: "${steps.convert.output[1]}"}}
"""
OTHER = """
    version: "2.1"
    metadata: {name: other}
    pipeline:
      steps:
        - {id: last-one, type: core/echo, args: {message: "${assets.takes/last}!"}}
"""


@dg.asset(key_prefix="raw")
def rates() -> dict[str, Any]:
    return {"eur": [1.1]}


@dg.asset
def orders() -> int:
    return 7


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with embedded_instance(tmp_path_factory.mktemp("instance")) as instance:
        yield instance


def run(
    job: dg.JobDefinition, instance: dg.DagsterInstance, *keys: list[str]
) -> dg.ExecuteInProcessResult:
    selection = [dg.AssetKey(key) for key in keys] or None
    return job.execute_in_process(
        instance=instance, asset_selection=selection, raise_on_error=False
    )


def output(result: dg.ExecuteInProcessResult, node: str) -> Any:
    (made,) = result.asset_materializations_for_node(node)
    return made.metadata["aether/output"].value


def test_a_step_takes_the_value_of_an_asset_which_is_not_ours(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    given: list[Any] = []

    @dg.asset(ins={"last": dg.AssetIn(["takes", "last"])})
    def theirs(last: str) -> None:
        given.append(last)

    ours = build_defs(write(tmp_path, TAKES))
    resources = {"io_manager": dg.FilesystemIOManager(base_dir=str(tmp_path / "values"))}
    team = dg.Definitions(assets=[rates, orders, theirs], resources=resources)
    other = build_defs(write(tmp_path, OTHER, "other.aether.yaml"))
    definitions = dg.Definitions.merge(ours, team, other)
    deps = specs(definitions)["takes/convert"].deps
    assert {dep.asset_key.to_user_string() for dep in deps} == {"raw/rates", "orders"}
    job = definitions.resolve_implicit_global_asset_job_def()
    result = run(job, instance)
    assert result.success
    assert output(result, "takes__convert") == [1.1, "as 7 orders"]
    assert output(result, "other__last_one") == "as 7 orders!"
    assert given == ["as 7 orders"]
    # Each by itself later, from what was stored.
    alone = run(job, instance, ["takes", "convert"])
    assert output(alone, "takes__convert") == [1.1, "as 7 orders"]
    assert output(run(job, instance, ["other", "last_one"]), "other__last_one") == "as 7 orders!"


def test_a_command_line_takes_the_value_which_was_stored_last(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETHERSCRIPT_ARTIFACTS", str(tmp_path / "artifacts"))
    file = write(tmp_path, TAKES)
    settings = AetherSettings(artifacts=str(tmp_path / "artifacts")).to_json()
    job = load_repository(str(file), {}, as_ops=False, settings=settings).get_job("takes")
    missing = run(job, instance)
    (failure,) = missing.filter_events(lambda event: event.is_step_failure)
    assert "was stored by AetherIOManager" in str(failure.step_failure_data.error)
    team = dg.Definitions(assets=[rates, orders], resources={"io_manager": AetherIOManager()})
    assert run(team.resolve_implicit_global_asset_job_def(), instance).success
    assert output(run(job, instance), "takes__convert") == [1.1, "as 7 orders"]


def test_ops_and_steps_of_the_same_pipeline_are_refused_by_line(tmp_path: Path) -> None:
    file = write(tmp_path, TAKES)
    with pytest.raises(ScriptError, match=r"tiny\.aether\.yaml:7:.*an op waits for no asset"):
        build_defs(file, as_ops=True)
    text = simple("p", "a", "b").replace("message: b", "message: '${assets.p/a}'")
    with pytest.raises(ScriptError, match=r"7:.*write \$\{steps\.a\.output\}"):
        build_defs(write(tmp_path, text))
