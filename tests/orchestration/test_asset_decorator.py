"""A function of the user's around each step."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from aether_dagster import AetherSettings, ScriptError, aether_assets
from aether_dagster.orchestration.asset_decorator import AetherNode
from aether_dagster.orchestration.instance import embedded_instance
from tests.orchestration.pipelines import TINY, write

_CALLS: list[str] = []


def around(context: dg.OpExecutionContext, node: AetherNode) -> Iterator[dg.Output[Any]]:
    _CALLS.append(f"before {node.step.id}")
    for output in node.run():
        yield dg.Output(output.value, output.output_name, metadata={"seen": node.document.name})
    _CALLS.append(f"after {node.step.id}")


def test_it_runs_around_each_step_and_brings_its_resources(tmp_path: Path) -> None:
    _CALLS.clear()
    # An absolute path stays as it is.
    settings = AetherSettings().anchored(tmp_path)
    assets = aether_assets(pipeline=write(tmp_path), settings=settings)(around)

    @dg.asset(ins={"mean": dg.AssetIn(["tiny_one", "second_step"])})
    def theirs(mean: float) -> None:
        _CALLS.append(f"theirs {mean}")

    definitions = dg.Definitions(assets=[*assets, theirs])
    job = definitions.resolve_implicit_global_asset_job_def()
    with embedded_instance(tmp_path) as instance:
        selection = [dg.AssetKey(["tiny_one", s]) for s in ("first", "second_step")]
        result = job.execute_in_process(instance=instance, asset_selection=[*selection, theirs.key])
    assert result.success
    steps = [call for call in _CALLS if not call.startswith("theirs")]
    assert steps == ["before first", "after first", "before second-step", "after second-step"]
    assert "theirs 1.5" in _CALLS
    (event,) = result.asset_materializations_for_node("tiny_one__first")
    assert event.metadata["seen"].value == "tiny-one"


def test_a_relative_document_lies_beside_the_module(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=str(Path(__file__).parent / "none.aether.yaml")):
        aether_assets(pipeline="none.aether.yaml")(around)


def test_a_wrong_document_is_told_where_it_is_decorated(tmp_path: Path) -> None:
    file = write(tmp_path, TINY.replace("core/echo", "core/eco"))
    with pytest.raises(ScriptError, match="core/eco"):
        aether_assets(pipeline=file)(around)
