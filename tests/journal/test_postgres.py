import logging
import traceback

import psycopg
import pytest
from sqlalchemy.engine import make_url

from aether_dagster.errors import JournalError
from aether_dagster.journal import Journal, tail
from tests.journal.builders import artifact, initialization, reserve
from tests.postgres import PostgresServer

pytestmark = pytest.mark.postgres

SECRET = "hunter2-Straße"
ENCODED = "hunter2-Stra%C3%9Fe"


def everything_about(error: BaseException) -> str:
    return repr(error) + "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://me:{ENCODED}@127.0.0.1:1/db",
        f"postgresql+psycopg://me@127.0.0.1:1/db?password={ENCODED}",
        f"postgresql://me:{ENCODED}@127.0.0.1:1/db?connect_timeout=1",
        f"postgresql+psycopg://me:{ENCODED}@127.0.0.1:{ENCODED}/db",
        f"mysql://me:{ENCODED}@127.0.0.1/db",
        f"://me:{ENCODED}@",
    ],
)
def test_a_password_is_never_said(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(JournalError) as caught:
        Journal.open(url)
    said = everything_about(caught.value) + caplog.text
    assert SECRET not in said
    assert ENCODED not in said


def test_an_open_journal_hides_its_password(
    postgres_server: PostgresServer, postgres_schema: str
) -> None:
    url = postgres_schema.replace("postgres@/", f"postgres:{ENCODED}@/")
    with Journal.open(url) as journal:
        assert SECRET not in repr(journal) + journal.label
        assert "***" in repr(journal)
        error = journal._database._error(psycopg.OperationalError(f'user "x", "{SECRET}"'))
        assert SECRET not in everything_about(error)
        with Journal.open(journal.url) as again:
            assert again.executions() == []


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_any_name_of_the_driver_will_do(postgres_schema: str, scheme: str) -> None:
    url = postgres_schema.replace("postgresql+psycopg", scheme)
    with Journal.open(url) as journal:
        assert reserve(journal).created


def test_a_session_which_the_server_ended_is_replaced(
    postgres_database: PostgresServer, postgres_schema: str
) -> None:
    with Journal.open(postgres_schema) as journal:
        execution = reserve(journal).pipeline_id
        journal.append(execution, [initialization(execution, "load")])
        cursor = journal.tail(timeout=0).cursor
        with psycopg.connect(postgres_database.conninfo("both_engines"), autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert journal.append(execution, [artifact("a", "x", "1")]) == 2
        assert [v.number for v in journal.tail(cursor, timeout=5).versions] == [2]
        assert journal.append(execution, [artifact("b", "x", "1")]) == 3


def test_executions_do_not_wait_for_each_other(postgres_schema: str) -> None:
    with Journal.open(postgres_schema) as journal, Journal.open(postgres_schema) as other:
        a, b = reserve(journal).pipeline_id, reserve(journal).pipeline_id
        with journal._database.writing() as session:
            session.sql(
                "SELECT 1 FROM aether_executions WHERE run_id = %(run)s FOR UPDATE",
                run=other.record(a).run_id,
            )
            assert other.append(b, [artifact("a", "x", "1")]) == 1


def test_the_journal_lives_beside_the_tables_of_others(
    postgres_database: PostgresServer, postgres_schema: str
) -> None:
    schema = postgres_schema.rpartition("%3D")[2]
    with psycopg.connect(postgres_database.conninfo("both_engines"), autocommit=True) as admin:
        admin.execute(f"CREATE TABLE {schema}.runs (id int)".encode())
        Journal.open(postgres_schema).close()
        tables = admin.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", [schema]
        ).fetchall()
    assert all(name == "runs" or name.startswith("aether_") for (name,) in tables)
    assert len(tables) > 5


def test_a_read_only_journal_writes_nothing(postgres_schema: str) -> None:
    with Journal.open(postgres_schema) as journal:
        execution = reserve(journal).pipeline_id
        with Journal.open(postgres_schema, read_only=True) as reader:
            cursor = reader.cursor()
            with pytest.raises(JournalError, match="opened for reading only"):
                reader.append(execution, [artifact("a", "x", "1")])
            journal.append(execution, [artifact("a", "x", "1")])
            assert len(reader.tail(cursor, timeout=5).versions) == 1


def test_who_rests_between_two_tails_does_not_keep_the_server_waiting(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    database = str(make_url(postgres_url).database)
    with (
        Journal.open(postgres_url) as journal,
        psycopg.connect(postgres_server.conninfo(database), autocommit=True) as others,
    ):
        journal.tail(timeout=0)
        # More than the buffers of a connection hold.
        for _ in range(200):
            others.execute("SELECT pg_notify('aether_journal', repeat('x', 7900))")
        stuck = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite'"
        assert others.execute(stuck).fetchone() == (0,)
        created = reserve(journal)
        journal.append(created.pipeline_id, [initialization(created.pipeline_id)])
        assert len(journal.tail(timeout=5).versions) == 1


def test_what_is_new_is_found_without_reading_all_there_is(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    database = str(make_url(postgres_url).database)
    Journal.open(postgres_url).close()
    with psycopg.connect(postgres_server.conninfo(database), autocommit=True) as server:
        server.execute(
            "INSERT INTO aether_versions (execution, number, committed_at, late, deltas, place) "
            "SELECT 1, n, 0, false, '[]', n::text::xid8 FROM generate_series(1, 20000) AS n"
        )
        server.execute("ANALYZE aether_versions")
        # So many may be newer by what the server knows of the table.
        between = {"done": "15000:15000:", "target": "20001:20001:", "execution": -1, "number": 0}
        explained = f"EXPLAIN {tail._BETWEEN_SNAPSHOTS}"
        plan = server.execute(explained, {**between, "limit": 1000}).fetchall()
    assert not [line for (line,) in plan if "Seq Scan" in line]
