import multiprocessing
import sqlite3
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import psutil
import pyarrow as pa
import pytest

from aether_dagster.errors import StepFailed, StepTimeout
from aether_dagster.steps import StepContext, run_step
from aether_dagster.steps import sql_query as module_under_test

Started = Callable[[], list[psutil.Process]]


def sql(context: StepContext, query: str, timeout: float | None = None, **args: Any) -> Any:
    return run_step("sql/query", {"query": query, **args}, context, timeout=timeout)


@pytest.fixture(params=["duckdb:///file.db", "sqlite:///file.db"])
def url(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("timeout", [None, 60.0], ids=["here", "in a child"])
def test_several_statements_with_parameters_give_the_rows_of_the_last(
    context: StepContext, url: str, timeout: float | None
):
    query = """
        create table sales (day text, amount numeric(8, 2));
        insert into sales values (:day, 10.10), ('2024-01-02; :x', :amount);
        select day, amount from sales where day <> :other order by day;
    """
    parameters = {"day": "2024-01-01", "amount": 5, "other": "'quoted"}
    assert sql(context, query, timeout, url=url, parameters=parameters) == [
        {"day": "2024-01-01", "amount": 10.1},
        {"day": "2024-01-02; :x", "amount": 5},
    ]
    assert (context.directory / "file.db").exists()


def test_a_failing_statement_undoes_those_before_it(context: StepContext, url: str):
    sql(context, "create table kept (n int); insert into kept values (1)", url=url)
    with pytest.raises(StepFailed) as caught:
        sql(context, "create table gone (n int); delete from kept; select * from nowhere", url=url)
    assert "nowhere" in caught.value.message
    assert caught.value.type in ("CatalogException", "OperationalError")
    assert sql(context, "select * from kept", url=url) == [{"n": 1}]
    with pytest.raises(StepFailed, match="gone"):
        sql(context, "select * from gone", url=url)


def test_a_list_of_parameters_runs_it_once_for_each(context: StepContext, url: str):
    sql(context, "create table t (n int)", url=url)
    done = sql(
        context,
        "insert into t values (:n), (:n + 1)",
        url=url,
        parameters=[{"n": 1}, {"n": 10}],
        fetch="none",
    )
    assert done == {"rowcount": 4}
    assert sql(context, "select sum(n) as s from t", url=url, fetch="one") == {"s": 24}


@pytest.mark.parametrize("form", ["records", "arrow"])
def test_what_changes_rows_may_give_them_and_runs_once(context: StepContext, url: str, form: str):
    sql(context, "create table t (n int)", url=url)
    given = sql(context, "insert into t values (7), (8) returning n", url=url, format=form)
    assert (given if form == "records" else given.to_pylist()) == [{"n": 7}, {"n": 8}]
    assert sql(context, "select count(*) as c from t", url=url) == [{"c": 2}]


def test_a_select_which_is_not_the_last_runs_too(context: StepContext):
    query = "create sequence s; select nextval('s'); select nextval('s') as n"
    for form in ("records", "polars"):
        got = sql(context, query, format=form)
        assert (got if form == "records" else got.to_dicts()) == [{"n": 2}]


def test_one_row_or_null(context: StepContext, url: str):
    assert sql(context, "select 1 as a union all select 1", url=url, fetch="one") == {"a": 1}
    assert sql(context, "select 1 as a where 1 = 0", url=url, fetch="one") is None
    assert sql(context, "create table t (n int)", url=url) == []


@pytest.mark.parametrize(
    ("library", "kind"),
    [("arrow", pa.Table), ("pandas", pd.DataFrame), ("polars", pl.DataFrame)],
)
def test_rows_can_be_a_table(context: StepContext, url: str, library: str, kind: type):
    table = sql(context, "select 1 as a, 'x' as b union all select 2, 'y'", url=url, format=library)
    assert isinstance(table, kind)
    assert table.shape == (2, 2)


def test_more_rows_than_json_should_hold_are_refused_and_not_cut(
    context: StepContext, url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module_under_test, "MOST_RECORDS", 2)
    query = "select 1 as a union all select 2 union all select 3"
    with pytest.raises(StepFailed, match=r"more than 2 rows; add a LIMIT, or ask for `format"):
        sql(context, query, url=url)
    assert sql(context, query, url=url, format="arrow").num_rows == 3


def test_a_missing_parameter_is_named_before_anything_runs(context: StepContext):
    with pytest.raises(StepFailed, match="needs a parameter 'day'"):
        sql(context, "select :day", url="sqlite://")


def test_duckdb_reads_files_beside_the_document_and_tables_by_name(
    context: StepContext, tmp_path: Path
):
    (tmp_path / "raw.csv").write_text("id,name\n1,ann\n2,bob\n")
    query = """
        select raw.name, extra.city, frame.n from 'raw.csv' as raw
        join given on raw.id = given.id join extra on extra.id = raw.id
        join frame on frame.id = raw.id
    """
    tables = {
        "given": "raw.csv",
        "extra": [{"id": 1, "city": "Ulm"}],
        "frame": pl.DataFrame({"id": [1], "n": [7]}),
    }
    assert sql(context, query, tables=tables) == [{"name": "ann", "city": "Ulm", "n": 7}]


def test_a_table_which_is_no_known_file_is_refused(context: StepContext):
    with pytest.raises(StepFailed, match=r"'notes\.txt', and not one of \.csv"):
        sql(context, "select 1", tables={"notes": "notes.txt"})
    with pytest.raises(StepFailed, match="for DuckDB alone"):
        sql(context, "select 1", url="sqlite://", tables={"a": []})


def test_sql_comes_from_a_file(context: StepContext, tmp_path: Path):
    (tmp_path / "report.sql").write_text("select 'ä' as a")
    assert run_step("sql/query", {"file": "report.sql"}, context) == [{"a": "ä"}]
    with pytest.raises(StepFailed, match=r"nothing\.sql' cannot be read"):
        run_step("sql/query", {"file": "nothing.sql"}, context)


def test_a_connector_is_opened_once_for_an_execution(
    context: StepContext, connectors: dict[str, Mapping[str, Any]]
):
    connectors["memory"] = {"type": "sql", "url": "duckdb://"}
    sql(context, "create table t as select 1 as n", connector="memory")
    assert sql(context, "select n from t", connector="memory") == [{"n": 1}]


def test_a_duckdb_file_is_let_go_of_between_steps(
    context: StepContext, connectors: dict[str, Mapping[str, Any]]
):
    connectors["warehouse"] = {"type": "sql", "url": "duckdb:///warehouse.db"}
    sql(context, "create table t as select 1 as n", connector="warehouse")
    assert sql(context, "select n from t", 60, connector="warehouse") == [{"n": 1}]


def test_a_duckdb_file_which_another_process_holds_is_waited_for(context: StepContext):
    path = context.directory / "held.db"
    code = (
        "import duckdb, sys, time\n"
        f"held = duckdb.connect({str(path)!r})\n"
        "print('held', flush=True)\n"
        "time.sleep(1)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder, holder.stdout:
        holder.stdout.readline()
        assert sql(context, "select 1 as n", url="duckdb:///held.db") == [{"n": 1}]


def test_a_connector_of_another_type_is_refused(
    context: StepContext, connectors: dict[str, Mapping[str, Any]]
):
    connectors["api"] = {"type": "http", "url": "https://user:hunter22@host"}
    with pytest.raises(StepFailed, match="'api' is of type 'http'; sql/query needs") as caught:
        sql(context, "select 1", connector="api")
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////nowhere/hunter22x/file.db",
        "nodb://user:hunter22@host/db",
        "hunter22",
        "postgresql+psycopg://user:hunter22@127.0.0.1:9/db",
    ],
)
def test_no_error_shows_a_password(context: StepContext, url: str):
    with pytest.raises(StepFailed) as caught:
        sql(context, "select 1", url=url)
    assert "hunter22" not in f"{caught.value} {caught.value.traceback}"


def test_parameters_are_in_no_error_nor_in_its_causes(context: StepContext, url: str):
    secret = "hunter" + str(22)
    sql(context, "create table t (a int)", url=url)
    with pytest.raises(StepFailed) as caught:
        sql(context, "insert into t values (:a, :a)", url=url, parameters={"a": secret})
    assert secret not in "".join(traceback.format_exception(caught.value))


def test_a_timeout_really_ends_the_work(started: Started, context: StepContext, url: str):
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"
    start = time.monotonic()
    with pytest.raises(StepTimeout):
        sql(context, endless, 1.0, url=url)
    assert time.monotonic() - start < 10
    assert started() == []
    assert multiprocessing.active_children() == []


def test_sqlite_is_left_as_a_whole_database(context: StepContext):
    sql(context, "create table t (n int); insert into t values (1)", url="sqlite:///plain.db")
    with sqlite3.connect(context.directory / "plain.db") as plain:
        assert plain.execute("select n from t").fetchall() == [(1,)]
    plain.close()


@pytest.mark.postgres
def test_postgresql_by_url(context: StepContext, postgres_url: str):
    query = """
        create table t (day date, amount numeric, data bytea, doc jsonb);
        insert into t values (date '2024-01-02', :amount::numeric, '\\x00ff', '{"a": [1]}');
        select *, '100%' as pct from t where doc ? 'a';
    """
    assert sql(context, query, url=postgres_url, parameters={"amount": 1.5}) == [
        {"day": "2024-01-02", "amount": 1.5, "data": "AP8=", "doc": {"a": [1]}, "pct": "100%"}
    ]
    assert sql(context, "select count(*) as n from t", 60, url=postgres_url) == [{"n": 1}]
