"""SQL statements, written with SQLAlchemy, compiled once, run on the driver's own connection.

A commit runs five of them; going through SQLAlchemy's execution for each costs more than SQLite.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from typing import Any, Protocol

from sqlalchemy import ClauseElement
from sqlalchemy.dialects import postgresql, sqlite

Inserter = Callable[..., Any]
Row = tuple[Any, ...]


@cache
def dialect(engine: str) -> Any:
    """Returns SQLAlchemy's dialect of an engine; both take named parameters."""
    if engine == "sqlite":
        return sqlite.dialect(paramstyle="named")
    return import_module("sqlalchemy.dialects.postgresql.psycopg").dialect()


_INSERTERS: Mapping[str, Inserter] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Statement:
    """A statement for both engines.

    Args:
        build: Makes it, given the engine's own `insert` (which knows ON CONFLICT).
    """

    def __init__(self, build: Callable[[Inserter], ClauseElement]):
        self._build = build
        self._compiled: dict[str, tuple[str, dict[str, Any]]] = {}

    def compiled(self, engine: str) -> tuple[str, dict[str, Any]]:
        """Returns the SQL for an engine, and the parameters which have a value of their own."""
        found = self._compiled.get(engine)
        if found is None:
            compiled = self._build(_INSERTERS[engine]).compile(dialect=dialect(engine))
            parameters: Mapping[str, Any] = compiled.params or {}
            constants = {name: value for name, value in parameters.items() if value is not None}
            found = self._compiled[engine] = (str(compiled), constants)
        return found


class Cursor(Protocol):
    """What both drivers' cursors have."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        ...

    def fetchone(self) -> Any:
        """Returns the next row, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """Returns the rest of the rows."""
        ...


class Session:
    """One database transaction.

    Args:
        execute: Runs SQL with named parameters on the driver's connection.
        engine: `sqlite` or `postgresql`.
    """

    __slots__ = ("_execute", "committed", "engine")

    def __init__(self, execute: Callable[..., Cursor], engine: str):
        self._execute = execute
        self.engine = engine
        self.committed: int | None = None

    def run(self, statement: Statement, **parameters: Any) -> int:
        """Runs a statement; returns how many rows it changed."""
        return self._cursor(statement, parameters).rowcount

    def row(self, statement: Statement, **parameters: Any) -> Row | None:
        """Returns the first row of a query, or None."""
        return self._cursor(statement, parameters).fetchone()

    def rows(self, statement: Statement, **parameters: Any) -> list[Row]:
        """Returns all rows of a query."""
        return self._cursor(statement, parameters).fetchall()

    def sql(self, sql: str, **parameters: Any) -> Cursor:
        """Runs SQL of one engine."""
        return self._execute(sql, parameters)

    def _cursor(self, statement: Statement, parameters: dict[str, Any]) -> Cursor:
        sql, constants = statement.compiled(self.engine)
        return self._execute(sql, {**constants, **parameters} if constants else parameters)
