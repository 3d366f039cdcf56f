"""Which executions somebody still has to end, found without reading all there are."""

import time

from aether_dagster.journal import Journal
from tests.journal.builders import initialization, report, reserve


def test_what_has_no_report_or_whose_lease_was_not_let_go_is_unfinished(journal: Journal) -> None:
    ids = [reserve(journal).pipeline_id for _ in range(5)]
    reserved, running, finalized, ended, released = ids
    for pipeline_id in ids[1:]:
        journal.append(pipeline_id, [initialization(pipeline_id, "load")])
    for pipeline_id in (finalized, ended, released):
        journal.append(pipeline_id, [report()])
    journal.acquire(finalized, "its keeper", 30)
    journal.acquire(ended, "a plugin", 30, name="outbox")
    journal.acquire(released, "its keeper", 30)
    journal.release(released, "its keeper")

    found = journal.unfinished()
    assert [record.pipeline_id for record in found] == [reserved, running, finalized]
    assert found == list(reversed(journal.executions()))[:3]


def test_many_ended_executions_cost_nothing(journal: Journal) -> None:
    pipeline_id = reserve(journal).pipeline_id
    _fill(journal, 100_000)
    took = []
    for _ in range(5):
        began = time.perf_counter()
        assert [record.pipeline_id for record in journal.unfinished()] == [pipeline_id]
        took.append(time.perf_counter() - began)
    assert min(took) < 0.05


def _fill(journal: Journal, number: int) -> None:
    """Adds ended executions, many at once."""
    with journal._database.writing() as session:
        columns = (
            "run_id, pipeline, config_hash, document, created_at, head, committed_at, finalized,"
            " status"
        )
        values = "'r' || n, 'p', 'h', 'd', 1, 2, 1, 2, 'succeeded'"
        source = {
            "sqlite": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s"
            f" WHERE n < {number}) SELECT n, {values} FROM s",
            "postgresql": f"SELECT n, {values} FROM generate_series(1, {number}) AS s(n)",
        }[session.engine]
        session.sql(f"INSERT INTO aether_executions (number, {columns}) {source}")
