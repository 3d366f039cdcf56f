"""The PostgreSQL which the other tests stand on."""

import psycopg
import pytest

from tests.postgres import PostgresServer

pytestmark = pytest.mark.postgres


def _tables(server: PostgresServer, database: str) -> list[str]:
    with psycopg.connect(server.conninfo(database)) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return [name for (name,) in rows]


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_gets_an_empty_database(
    postgres_server: PostgresServer, postgres_url: str, turn: int
) -> None:
    database = postgres_url.split("@/")[1].split("?", 1)[0]
    assert _tables(postgres_server, database) == []
    with psycopg.connect(postgres_server.conninfo(database)) as connection:
        connection.execute("CREATE TABLE left_behind (turn int)")
    assert _tables(postgres_server, database) == ["left_behind"]


def test_a_database_url_opens_with_sqlalchemy(postgres_url: str) -> None:
    import sqlalchemy

    engine = sqlalchemy.create_engine(postgres_url)
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
    engine.dispose()
