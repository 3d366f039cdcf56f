"""A partitioned pipeline: one execution, one state and one set of values for each partition."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from aether_dagster import AetherSettings, DagsterAetherTranslator, build_defs
from aether_dagster.errors import SettingsError
from aether_dagster.journal import Journal
from aether_dagster.orchestration import code_location
from aether_dagster.orchestration.declared import check_partition
from aether_dagster.orchestration.instance import embedded_instance
from aether_dagster.project import load_pipeline
from tests.journals import journal_url
from tests.orchestration.pipelines import write

DAYS = dg.DailyPartitionsDefinition("2024-05-01", end_date="2024-05-04")
DAILY = """
    version: "2.1"
    metadata: {name: daily}
    pipeline:
      steps:
        - {id: day, type: core/echo, args: {message: "day ${PARTITION_KEY}"}}
        - {id: seen, type: core/echo, args: {message: ["${steps.day.output}"]}}
"""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with embedded_instance(tmp_path_factory.mktemp("instance")) as instance:
        yield instance


def run(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    *keys: str | list[str],
    partition: str | None = None,
    tags: dict[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    """Materializes assets as the UI does from the asset graph; all of them unless named."""
    job = definitions.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(key) for key in keys] or None,
        partition_key=partition,
        tags=tags,
        raise_on_error=False,
    )


def output(result: dg.ExecuteInProcessResult, step: str) -> Any:
    """What Dagster's UI shows of a step's output."""
    (made,) = result.asset_materializations_for_node(f"daily__{step}")
    return made.metadata["aether/output"].value


def daily(
    tmp_path: Path,
    text: str = DAILY,
    partitions_def: dg.PartitionsDefinition | None = DAYS,
    **more: Any,
) -> dg.Definitions:
    settings = AetherSettings(journal=journal_url(tmp_path))
    return build_defs(
        write(tmp_path, text), settings=settings, partitions_def=partitions_def, **more
    )


def test_each_partition_has_an_execution_and_values_of_its_own(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    definitions = daily(tmp_path)
    for day in ("2024-05-01", "2024-05-02"):
        assert run(definitions, instance, partition=day).success
    with Journal.open(journal_url(tmp_path)) as journal:
        found = {record.partition: record for record in journal.executions()}
        states = {day: journal.state(each.pipeline_id) for day, each in found.items()}
    assert sorted(found) == ["2024-05-01", "2024-05-02"]
    for day, state in states.items():
        assert state["nodes"]["seen"]["output_payload"] == [f"day {day}"]
    # Of the first one again: it loads that day's value, and not the one which was stored last.
    again = run(definitions, instance, ["daily", "seen"], partition="2024-05-01")
    assert output(again, "seen") == ["day 2024-05-01"]
    missing = run(definitions, instance, ["daily", "seen"], partition="2024-05-03")
    assert not missing.success
    (failure,) = missing.filter_events(lambda event: event.is_step_failure)
    assert "left no value of partition '2024-05-03'" in str(failure.step_failure_data.error)


def test_assets_of_others_take_the_partitions_which_dagster_maps_them_to(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    given: dict[str, Any] = {}
    earlier = dg.TimeWindowPartitionMapping(
        start_offset=-1, end_offset=-1, allow_nonexistent_upstream_partitions=True
    )
    of_day = dg.AssetIn(["daily", "day"])
    of_past = dg.AssetIn(["daily", "day"], partition_mapping=earlier)

    @dg.asset(partitions_def=DAYS, ins={"day": of_day})
    def same(day: Any) -> None:
        given["same"] = day

    @dg.asset(partitions_def=DAYS, ins={"day": of_past})
    def after(day: Any) -> None:
        given["after"] = day

    @dg.asset(ins={"day": of_day})
    def all_days(day: Any) -> None:
        given["all"] = day

    theirs = dg.Definitions(assets=[same, after, all_days])
    definitions = dg.Definitions.merge(daily(tmp_path), theirs)
    both = [["daily", "day"], ["daily", "seen"], ["same"], ["after"]]
    assert run(definitions, instance, *both, partition="2024-05-01").success
    assert given == {"same": "day 2024-05-01", "after": None}
    assert run(definitions, instance, *both, partition="2024-05-02").success
    assert given == {"same": "day 2024-05-02", "after": "day 2024-05-01"}
    assert run(definitions, instance, ["daily", "day"], partition="2024-05-03").success
    # By themselves, in a run which has nothing of the pipeline.
    assert run(definitions, instance, "after", partition="2024-05-02").success
    assert run(definitions, instance, "all_days").success
    assert given["after"] == "day 2024-05-01"
    assert given["all"] == {f"2024-05-0{n}": f"day 2024-05-0{n}" for n in (1, 2, 3)}


def test_a_step_without_partitions_stands_beside_those_which_have_them(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    class Mixed(DagsterAetherTranslator):
        def get_asset_spec(self, document: Any, step: Any) -> dg.AssetSpec:
            spec = super().get_asset_spec(document, step)
            days = DAYS if step.id == "seen" else None
            return spec.replace_attributes(partitions_def=days)

    text = DAILY.replace("day ${PARTITION_KEY}", "same")
    definitions = daily(tmp_path, text, None, translator=Mixed())
    assert run(definitions, instance, ["daily", "day"]).success
    alone = run(definitions, instance, ["daily", "seen"], partition="2024-05-02")
    assert output(alone, "seen") == ["same"]
    job = definitions.resolve_job_def("daily")
    assert job.execute_in_process(instance=instance, partition_key="2024-05-03").success


def test_a_run_of_several_partitions_at_once_is_refused_before_its_first_step(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    tags = {
        "dagster/asset_partition_range_start": "2024-05-01",
        "dagster/asset_partition_range_end": "2024-05-03",
    }
    result = run(daily(tmp_path), instance, tags=tags)
    assert not result.success
    (failure,) = result.filter_events(lambda event: event.is_step_failure)
    assert "launch the backfill as multiple runs" in str(failure.step_failure_data.error)
    with Journal.open(journal_url(tmp_path)) as journal:
        assert journal.executions() == []
    one = run(
        daily(tmp_path),
        instance,
        tags=dict.fromkeys(tags, "2024-05-03"),
    )
    assert output(one, "seen") == ["day 2024-05-03"]


def test_keys_of_several_dimensions_and_jobs_of_ops(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    regions = dg.StaticPartitionsDefinition(["eu", "us"])
    grid = dg.MultiPartitionsDefinition({"day": DAYS, "region": regions})
    definitions = daily(tmp_path, partitions_def=grid)
    key = dg.MultiPartitionKey({"day": "2024-05-01", "region": "eu"})
    assert output(run(definitions, instance, partition=key), "seen") == ["day 2024-05-01|eu"]
    ops = daily(tmp_path, partitions_def=regions, as_ops=True)
    job = ops.resolve_job_def("daily")
    assert job.execute_in_process(instance=instance, partition_key="us").success
    with Journal.open(journal_url(tmp_path)) as journal:
        (ran,) = [record for record in journal.executions() if record.partition == "us"]
        state = journal.state(ran.pipeline_id)
    assert state["nodes"]["seen"]["output_payload"] == ["day us"]


COMPONENT = """
type: aether_dagster.AetherPipelineComponent
attributes: {{pipeline: {pipeline}, {partitions}}}
---
type: team.Another
attributes: {{pipeline: another.aether.yaml, partitions_def: {{type: static, partition_keys: [x]}}}}
"""
STATIC = "partitions_def: {type: static, partition_keys: [us-east, us-west, eu]}"
DATES = "partitions_def: {type: daily, start_date: 2024-05-01, end_date: 2024-05-04}"


@pytest.mark.parametrize(
    ("partitions", "key", "said"),
    [
        (STATIC, "eu", None),
        (STATIC, "us-wets", "'daily' has no partition 'us-wets'; did you mean us-west?"),
        (STATIC, "jp", "'daily' has no partition 'jp': they are us-east, us-west, eu."),
        (f"translation: {{{STATIC}}}", "jp", "'daily' has no partition 'jp': they are us-east,"),
        (DATES, "2024-05-02", None),
        (DATES, "2024-05-04", "no partition '2024-05-04': they are 2024-05-01 to 2024-05-03."),
        (DATES, "tomorrow", "no partition 'tomorrow': they are 2024-05-01 to 2024-05-03."),
        ('partitions_def: "{{ days }}"', "anything", None),
        ("as_ops: false", "anything", None),
        ("partitions_def: {type: yearly}", "2024", "defs.yaml cannot be read:"),
        ("partitions_def: [", "2024", "defs.yaml cannot be read:"),
    ],
)
def test_a_command_line_runs_the_partitions_which_the_component_beside_declares(
    tmp_path: Path, partitions: str, key: str, said: str | None
) -> None:
    file = write(tmp_path, DAILY)
    for pipeline in (file.name, "."):
        text = COMPONENT.format(pipeline=pipeline, partitions=partitions)
        (tmp_path / "defs.yaml").write_text(text)
        if said is None:
            check_partition(load_pipeline(file), key)
            continue
        with pytest.raises(SettingsError) as raised:
            check_partition(load_pipeline(file), key)
        assert said in str(raised.value)


def test_a_pipeline_without_partitions_is_not_run_for_one(tmp_path: Path) -> None:
    document = load_pipeline(write(tmp_path, DAILY.replace("${PARTITION_KEY}", "always")))
    with pytest.raises(SettingsError, match="'daily' is not partitioned: no step of it names"):
        check_partition(document, "2024-05-01")


def test_the_ui_of_documents_has_the_partitions_which_were_run(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(code_location.PIPELINES_VARIABLE, str(write(tmp_path, DAILY)))
    monkeypatch.setenv("AETHERSCRIPT_JOURNAL", journal_url(tmp_path))
    definitions = code_location.defs()
    job = definitions.resolve_job_def("daily")
    assert job.partitions_def == dg.DynamicPartitionsDefinition(name="aether/daily")
    instance.add_dynamic_partitions("aether/daily", ["north"])
    assert output(run(definitions, instance, partition="north"), "seen") == ["day north"]
