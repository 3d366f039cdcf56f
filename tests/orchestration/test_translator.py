"""The words of a document in Dagster."""

from pathlib import Path

import dagster as dg
import pytest

from aether_dagster import DagsterAetherTranslator, build_defs
from aether_dagster.orchestration.translator import step_kinds
from aether_dagster.script import Connector, Document, Pipeline, Step
from tests.orchestration.pipelines import order, specs, write


@pytest.mark.parametrize(
    ("type", "args", "kind"),
    [
        ("core/echo", {"message": 1}, None),
        ("python/call", {"callable": "json:dumps"}, "python"),
        ("python/script", {"code": "1"}, "python"),
        ("shell/run", {"command": "true"}, "shell"),
        ("http/request", {"url": "http://localhost"}, "http"),
        ("sql/query", {"query": "select 1"}, "duckdb"),
        ("sql/query", {"query": "select 1", "url": "sqlite:///x.db"}, "sqlite"),
        ("sql/query", {"query": "select 1", "connector": "pg"}, "postgresql"),
        ("sql/query", {"query": "select 1", "connector": "env"}, "sql"),
    ],
)
def test_kinds_are_aetherscript_and_what_the_step_is_of(
    type: str, args: dict[str, object], kind: str | None
) -> None:
    connectors = {
        "pg": Connector(type="sql", url="postgresql+psycopg://localhost/x"),
        "env": Connector(type="sql", url="${WAREHOUSE_URL}"),
    }
    step = Step(id="s", type=type, args=args)
    document = Document.from_pipeline(Pipeline(name="p", steps=[step], connectors=connectors))
    assert step_kinds(document, step) == {"aetherscript", *([kind] if kind else [])}


class Finance(DagsterAetherTranslator):
    def get_asset_spec(self, document: Document, step: Step) -> dg.AssetSpec:
        spec = super().get_asset_spec(document, step)
        foreign = [dg.AssetKey("exchange_rates")] if step.id == "first" else []
        return spec.replace_attributes(
            key=spec.key.with_prefix("finance"),
            group_name="money",
            tags={**spec.tags, "audited": "yes"},
            deps=foreign,
        )


def test_a_translator_changes_keys_groups_and_tags_and_adds_dependencies(tmp_path: Path) -> None:
    definitions = build_defs(write(tmp_path), translator=Finance())
    found = specs(definitions)
    spec = found["finance/tiny_one/second_step"]
    assert (spec.group_name, spec.tags["audited"]) == ("money", "yes")
    assert [dep.asset_key for dep in spec.deps] == [dg.AssetKey(["finance", "tiny_one", "first"])]
    foreign = found["finance/tiny_one/first"].deps
    assert [dep.asset_key for dep in foreign] == [dg.AssetKey("exchange_rates")]


def test_a_step_waits_for_a_foreign_asset_which_its_spec_names(tmp_path: Path) -> None:
    @dg.asset
    def exchange_rates() -> None: ...

    ours = build_defs(write(tmp_path), translator=Finance())
    merged = dg.Definitions.merge(ours, dg.Definitions(assets=[exchange_rates]))
    job = merged.resolve_implicit_global_asset_job_def()
    assert order(job, "exchange_rates", "tiny_one__first")
