"""What plugins check of outputs, as Dagster's asset checks."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import dagster as dg
import pytest

from aether_dagster import AetherSettings, PluginError, aether_assets, build_defs
from aether_dagster.crypto import Key
from aether_dagster.orchestration.instance import embedded_instance
from tests.orchestration.pipelines import write

EXAMPLE = Path(__file__).parents[2] / "examples" / "data-validator"
CHECKED = """
    version: "2.1"
    metadata: {name: checked}
    plugins: [{name: DataValidator, version: ^1.4.0}]
    variables: {PLACE: %s}
    context: {artifacts: {data_rules: "${PLACE}/rules.json"}}
    pipeline:
      steps:
        - {id: good, type: core/echo, args: {message: [{id: 1, amount: 2}]}}
        - {id: bad, type: core/echo, args: {message: [{id: 1}, {id: 1}]}}
        - {id: free, type: core/echo}
"""
RULES = {
    "good": {"min_rows": 1, "columns": ["id", "amount"], "ranges": {"amount": [0, 10]}},
    "bad": {"max_rows": 5, "unique": ["id"]},
}
OWN = """
    from aethersdk import OutputCheck, Plugin

    class Own(Plugin):
        def output_checks(self, step):
            if step.name == "first":
                yield OutputCheck("warns", lambda value: ["it is s3cret"], severity="warn")
                yield OutputCheck("breaks", lambda value: value.nothing)
            if step.name == "blocked":
                yield OutputCheck("stops", lambda value: [f"{value} is odd"], blocking=True)
            if step.name == "wrong":
                yield OutputCheck("a name", lambda value: [])
"""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with embedded_instance(tmp_path_factory.mktemp("instance")) as instance:
        yield instance


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """The plugin of a test's folder is no other test's."""
    before = list(sys.path)
    yield
    sys.path[:] = before
    for name in [name for name in sys.modules if name.partition(".")[0] == "data_validator"]:
        del sys.modules[name]


def with_rules(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLE, tmp_path / "plugins" / "data-validator")
    (tmp_path / "rules.json").write_text(json.dumps(RULES))
    return write(tmp_path, CHECKED % tmp_path)


def with_own(tmp_path: Path, *steps: str) -> Path:
    """A document whose steps a plugin in `plugins/own` checks."""
    folder = tmp_path / "plugins" / "own"
    folder.mkdir(parents=True)
    module = f"own_{tmp_path.name}".replace("-", "_")
    (folder / f"{module}.py").write_text(dedent(OWN))
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "Own"\nversion = "2.0.0"\n'
        f'[project.entry-points."aetherscript.plugins"]\nown = "{module}:Own"\n'
    )
    lines = "".join(f"    - {step}\n" for step in steps)
    text = 'version: "2.1"\nmetadata: {name: own}\nplugins: [{name: Own}]\npipeline:\n  steps:\n'
    return write(tmp_path, text + lines)


def run(
    assets: dg.Definitions, instance: dg.DagsterInstance
) -> tuple[dg.ExecuteInProcessResult, dict[str, dg.AssetCheckEvaluation]]:
    """Runs all assets; returns the checks' evaluations by `step/check`."""
    job = assets.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    found = result.get_asset_check_evaluations()
    return result, {f"{each.asset_key.path[-1]}/{each.check_name}": each for each in found}


def test_each_kind_of_rule_is_a_check_with_its_result_also_of_what_is_refused(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    definitions = build_defs(with_rules(tmp_path))
    (spec,) = [
        spec
        for assets in definitions.assets or ()
        if isinstance(assets, dg.AssetsDefinition)
        for spec in assets.check_specs
        if spec.name == "DataValidator_ranges"
    ]
    assert (spec.asset_key.path, spec.description) == (
        ["checked", "good"],
        "ranges: {'amount': [0, 10]}",
    )
    result, checks = run(definitions, instance)
    assert not result.success
    assert {name: each.passed for name, each in checks.items()} == {
        "good/DataValidator_min_rows": True,
        "good/DataValidator_columns": True,
        "good/DataValidator_ranges": True,
        "bad/DataValidator_max_rows": True,
        "bad/DataValidator_unique": False,
    }
    assert checks["bad/DataValidator_unique"].description == (
        "id has 1 values which stand there before"
    )
    made = {event.asset_key.path[-1] for event in result.get_asset_materialization_events()}
    assert made == {"good", "free"}, "the state hook has refused the output of the other"
    assert checks["good/DataValidator_columns"].target_materialization_data is not None
    job = definitions.resolve_implicit_global_asset_job_def()
    good = [dg.AssetKey(["checked", "good"])]
    alone = job.execute_in_process(instance=instance, asset_selection=good)
    assert all(each.passed for each in alone.get_asset_check_evaluations())
    assert len(alone.get_asset_check_evaluations()) == 3


def test_without_rules_there_are_no_checks(tmp_path: Path) -> None:
    file = with_rules(tmp_path)
    (tmp_path / "rules.json").unlink()
    assert not list(build_defs(file).resolve_asset_graph().asset_check_keys)
    (tmp_path / "rules.json").write_text("{broken")
    with pytest.raises(PluginError, match=r"DataValidator@1\.4\.0: output_checks of step 'good'"):
        build_defs(file)


def test_warnings_failures_of_checks_and_checks_which_block(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = with_own(
        tmp_path,
        "{id: first, type: core/echo, args: {message: '${secrets.WORD}'}}",
        "{id: blocked, type: core/echo, args: {message: 3}, dependsOn: [first]}",
        "{id: below, type: core/echo, dependsOn: [blocked]}",
    )
    monkeypatch.setenv("WORD", "s3cret")
    settings = AetherSettings(secret_store="env://")
    result, checks = run(build_defs(file, settings=settings), instance)
    warned, broken, stopped = (
        checks[f"{each}"] for each in ("first/Own_warns", "first/Own_breaks", "blocked/Own_stops")
    )
    assert warned.severity == dg.AssetCheckSeverity.WARN
    assert warned.description == "it is ***"
    assert str(broken.description).startswith("The check itself failed: AttributeError")
    assert (stopped.passed, stopped.description) == (False, "3 is odd")
    made = {event.asset_key.path[-1] for event in result.get_asset_materialization_events()}
    assert made == {"first", "blocked"}, "it was stored, and stopped what is below"


def test_a_check_which_is_none_is_told_with_its_plugin_and_step(tmp_path: Path) -> None:
    file = with_own(tmp_path, "{id: wrong, type: core/echo}")
    with pytest.raises(PluginError, match=r"Own@2\.0\.0: output_checks of step 'wrong' of 'own'"):
        build_defs(file)


def test_of_sealed_state_dagster_is_told_only_whether_checks_passed(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETHERSCRIPT_STATE_KEY", Key.generate().text())
    _, checks = run(build_defs(with_rules(tmp_path)), instance)
    refused = checks["bad/DataValidator_unique"]
    assert not refused.passed
    assert "sealed" in str(refused.description)
    assert "id has" not in str(refused.description)


def test_a_function_around_steps_leaves_the_checks_to_us(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    def around(context: dg.OpExecutionContext, node: Any) -> Iterator[Any]:
        (output,) = node.run()
        yield dg.Output(output.value, output.output_name)

    assets = aether_assets(pipeline=with_rules(tmp_path))(around)
    _, checks = run(dg.Definitions(assets=assets), instance)
    assert checks["good/DataValidator_min_rows"].passed
    assert not checks["bad/DataValidator_unique"].passed
