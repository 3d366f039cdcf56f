"""Names which documents of one code location would share in Dagster."""

from pathlib import Path

import pytest

from aether_dagster.errors import ScriptError
from aether_dagster.orchestration.compiler import build_defs
from aether_dagster.script.names import DAGSTER_RESERVED
from tests.orchestration.pipelines import simple, write


def problems(folder: Path) -> list[str]:
    with pytest.raises(ScriptError) as caught:
        build_defs(folder)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def test_the_language_refuses_exactly_the_names_which_dagster_reserves() -> None:
    # Private, and here only to notice when Dagster changes its list.
    from dagster._core.definitions.utils import DISALLOWED_NAMES

    assert DAGSTER_RESERVED == DISALLOWED_NAMES


def test_two_pipelines_of_one_name_are_told_once_by_place(tmp_path: Path) -> None:
    write(tmp_path, simple("same-name", "a", "b"), "one.aether.yaml")
    write(tmp_path, simple("same_name", "a"), "two.aether.yaml")
    (problem,) = problems(tmp_path)
    assert problem.startswith("two.aether.yaml:2:18: Pipeline 'same_name' and pipeline 'same-name'")
    assert problem.endswith("are both 'same_name' in Dagster; rename one")


def test_steps_of_two_pipelines_may_have_one_name(tmp_path: Path) -> None:
    write(tmp_path, simple("one", "extract"), "one.aether.yaml")
    write(tmp_path, simple("two", "extract"), "two.aether.yaml")
    jobs = build_defs(tmp_path).resolve_all_job_defs()
    assert {"one", "two"} <= {job.name for job in jobs}


def test_an_op_cannot_have_the_name_of_another_pipelines_op_or_job(tmp_path: Path) -> None:
    write(tmp_path, simple("a", "b__c", "d"), "1.aether.yaml")
    write(tmp_path, simple("a__b", "c"), "2.aether.yaml")
    write(tmp_path, simple("a__d", "x"), "3.aether.yaml")
    found = problems(tmp_path)
    assert "2.aether.yaml:6:12: Step 'c' of pipeline 'a__b' and step 'b__c'" in found[0]
    assert "3.aether.yaml:2:18: Pipeline 'a__d' and step 'd' of pipeline 'a'" in found[1]


def test_a_connectors_resource_cannot_take_the_io_managers_key(tmp_path: Path) -> None:
    connectors = "{manager: {type: http, url: 'http://localhost'}}"
    write(tmp_path, simple("io", "a", connectors=connectors))
    (problem,) = problems(tmp_path)
    assert "Connector 'manager' of pipeline 'io' and a resource of AetherScript" in problem


def test_an_owner_whom_dagster_refuses_is_told_by_line(tmp_path: Path) -> None:
    write(tmp_path, simple("p", "a").replace("{name: p}", '{name: p, owners: ["x@y.technology"]}'))
    (problem,) = problems(tmp_path)
    assert problem.startswith("tiny.aether.yaml:2:")
    assert "Dagster refuses the owner 'x@y.technology'" in problem
