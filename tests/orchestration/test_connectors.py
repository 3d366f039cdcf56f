"""Connectors as resources of the process which connects."""

from pathlib import Path

import dagster as dg
import pytest

from aether_dagster import AetherSettings
from aether_dagster.orchestration.code_location import reconstructable_pipeline
from aether_dagster.orchestration.connectors import connector_keys
from aether_dagster.orchestration.instance import embedded_instance
from aether_dagster.project import load_pipeline
from aether_dagster.script import Connector, Document, Pipeline, Step
from tests.orchestration.pipelines import write

ASKS = """
    version: "2.1"
    metadata: {name: asks}
    connectors:
      api:
        type: http
        url: "http://localhost:1"
        headers: {Authorization: "${secrets.TOKEN_OF_API}"}
    pipeline:
      steps:
        - {id: ask, type: python/call, args: {callable: "asking:ask"}}
"""
ASKING = """
def ask(context):
    return len(context.connection("api")["headers"]["Authorization"])
"""


@pytest.mark.parametrize(
    ("type", "args", "keys"),
    [
        ("core/echo", {"message": 1}, set[str]()),
        ("shell/run", {"command": "true"}, set[str]()),
        ("sql/query", {"query": "select 1", "connector": "one"}, {"aether_p_one"}),
        ("sql/query", {"query": "select 1"}, set[str]()),
        ("python/call", {"callable": "m:f"}, {"aether_p_one", "aether_p_two_b"}),
    ],
)
def test_a_step_requires_the_connectors_which_it_may_open(
    type: str, args: dict[str, object], keys: set[str]
) -> None:
    step = Step(id="s", type=type, args=args)
    connectors = {n: Connector(type="sql", url="sqlite://") for n in ("one", "two-b")}
    pipeline = Pipeline(name="p", steps=[step], connectors=connectors)
    assert connector_keys(Document.from_pipeline(pipeline), step) == keys


def run(folder: Path, **settings: str) -> tuple[dg.JobExecutionResult, str]:
    """Runs the document; returns also everything which Dagster stored of the run."""
    (folder / "asking.py").write_text(ASKING)
    document = load_pipeline(write(folder, ASKS))
    final = AetherSettings(**settings).anchored(folder)
    job = reconstructable_pipeline(document, variables={}, settings=final)
    with embedded_instance(folder) as instance:
        result = dg.execute_job(job, instance, raise_on_error=False)
        stored = [dg.serialize_value(record) for record in instance.all_logs(result.run_id)]
        return result, "\n".join([*stored, dg.serialize_value(result.dagster_run)])


def test_a_step_gets_its_connector_with_secrets_of_the_deployments_store_and_none_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_TOKEN_OF_API", "hush-hush")
    result, stored = run(tmp_path, secret_store="env://TEAM_")
    assert result.success
    preview = f"{len('hush-hush')}"
    assert preview in stored
    assert "hush-hush" not in stored


def test_a_secret_which_is_missing_where_it_connects_fails_the_resource(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEAM_TOKEN_OF_API", raising=False)
    result, stored = run(tmp_path, secret_store="env://TEAM_")
    kinds = {event.event_type for event in result.all_events}
    assert not result.success
    assert dg.DagsterEventType.RESOURCE_INIT_FAILURE in kinds
    assert dg.DagsterEventType.STEP_START not in kinds
    assert "${secrets.TOKEN_OF_API} is not in the secret store" in stored
