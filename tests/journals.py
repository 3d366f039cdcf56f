"""Where tests keep their journals: in files, or in PostgreSQL with `pytest --journal=postgresql`.

The journal of a directory is found by the directory's name alone, by any process of a test.
"""

import hashlib
import os
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path

import psycopg

SERVER = "AETHER_TEST_POSTGRES"
"""Environment variable: the folder of the server's socket, where journals are in PostgreSQL."""
DATABASE = "journals"
EMBEDDED = ".aether/aether_journal.db"


def journal_url(directory: Path, file: str = EMBEDDED) -> str:
    """Returns the URL of a directory's journal.

    Args:
        directory: Where a run's embedded instance lies, or a test keeps its files.
        file: Where in it a journal in a file lies.
    """
    folder = os.environ.get(SERVER)
    return f"sqlite:///{directory / file}" if folder is None else _schema(folder, str(directory))


def journal_environment(directory: Path) -> dict[str, str]:
    """Returns what a process needs in its environment to use the journal of a directory."""
    return {"AETHERSCRIPT_JOURNAL": journal_url(directory)} if SERVER in os.environ else {}


def dump(url: str) -> str:
    """Returns all that a journal holds, as text."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
            return "".join(database.iterdump())
    conninfo = url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(conninfo) as connection:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        tables = [row[0] for row in connection.execute(query.encode())]
        rows = [
            row[0]
            for table in tables
            for row in connection.execute(f"SELECT t::text FROM {table} AS t".encode())
        ]
    return "".join(rows)


@cache
def _schema(folder: str, directory: str) -> str:
    # A plugin of pytest, which nobody may import before pytest does.
    from tests.postgres import PostgresServer

    server = PostgresServer(Path(folder))
    schema = "of_" + hashlib.sha256(directory.encode()).hexdigest()[:20]
    with psycopg.connect(server.conninfo(DATABASE), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
    return server.url(DATABASE) + f"&options=-csearch_path%3D{schema}"
