"""SQL statements, written with SQLAlchemy, compiled once, run on the driver's own connection.

A commit runs five of them; going through SQLAlchemy's execution for each costs more than SQLite.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from sqlalchemy import ClauseElement, Table, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.compiler import SQLCompiler

if TYPE_CHECKING:
    from aether_dagster.journal.payloads import Payloads

# How many rows one statement inserts: each number of rows is compiled once.
_ROWS = 16

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
            statement = self._build(_INSERTERS[engine])
            compiled = cast(SQLCompiler, statement.compile(dialect=dialect(engine)))
            # Whether it is required tells a parameter from a value which is None.
            constants = {
                name: bind.value for name, bind in compiled.binds.items() if not bind.required
            }
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
        payloads: Seals and opens what is stored.
    """

    __slots__ = ("_execute", "committed", "engine", "payloads")

    def __init__(self, execute: Callable[..., Cursor], engine: str, payloads: "Payloads"):
        self._execute = execute
        self.engine = engine
        self.payloads = payloads
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


def insert_rows(session: Session, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts rows, many by one statement.

    Args:
        session: The transaction.
        table: The table.
        rows: Values by column, the same columns in each.
    """
    for first in range(0, len(rows), _ROWS):
        some = rows[first : first + _ROWS]
        values = {f"{name}_{n}": value for n, row in enumerate(some) for name, value in row.items()}
        session.run(_insert_of(table, tuple(some[0]), len(some)), **values)


@cache
def _insert_of(table: Table, columns: Sequence[str], rows: int) -> Statement:
    return Statement(
        lambda insert: insert(table).values(
            [{name: bindparam(f"{name}_{row}") for name in columns} for row in range(rows)]
        )
    )
