"""A step which an engine has run again, because the word of its end was lost."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.api import create_execution_plan, execute_plan_iterator
from dagster._core.execution.retries import RetryMode

from aether_dagster import AetherSettings
from aether_dagster.journal import Journal
from aether_dagster.orchestration.code_location import reconstructable_pipeline
from aether_dagster.orchestration.instance import embedded_instance
from aether_dagster.project import load_pipeline
from tests.journals import journal_url
from tests.orchestration.pipelines import write
from tests.orchestration.scenarios import document

STEPS = """\
    - {id: fine, type: python/call, args: {callable: "counted:fine"}}
    - {id: bad, type: python/call, args: {callable: "counted:bad"}}
"""
CODE = """
from pathlib import Path

def note(word):
    with Path("ran").open("a") as file:
        file.write(word)

def fine():
    note("fine ")
    return {"rows": [1, 2]}

def bad():
    note("bad ")
    raise ValueError("row 7 is bad")
"""


@pytest.mark.parametrize("step", ["fine", "bad"])
def test_an_attempt_which_ended_is_told_again_and_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, document(STEPS))
    write(tmp_path, CODE, "counted.py")
    settings = AetherSettings(journal=journal_url(tmp_path))
    pipeline = load_pipeline(tmp_path / "tiny.aether.yaml")
    job = reconstructable_pipeline(pipeline, variables={}, settings=settings)
    with embedded_instance(tmp_path) as instance:
        run_id = dg.execute_job(job, instance, raise_on_error=False).run_id
        with Journal.open(journal_url(tmp_path)) as journal:
            (record,) = journal.executions()
            before = journal.state(record.pipeline_id)
        assert sorted(Path("ran").read_text().split()) == ["bad", "fine"]

        run = instance.get_run_by_id(run_id)
        assert run is not None
        plan = create_execution_plan(job, run.run_config, step_keys_to_execute=[f"tiny__{step}"])
        events = list(
            execute_plan_iterator(plan, job, run, instance, retry_mode=RetryMode.DEFERRED)
        )
        assert sorted(Path("ran").read_text().split()) == ["bad", "fine"]
        if step == "fine":
            assert any(event.is_step_success for event in events)
        else:
            (failure,) = [event for event in events if event.is_step_failure]
            error = failure.step_failure_data.error
            assert error is not None
            assert "ValueError: row 7 is bad" in error.to_string()
        with Journal.open(journal_url(tmp_path)) as journal:
            assert journal.record(record.pipeline_id).head == record.head
            assert journal.state(record.pipeline_id) == before
