"""Databases by URL: DuckDB by its own driver, every other through SQLAlchemy (spec 2)."""

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy import event, exc

from aether_dagster.errors import StepFailed
from aether_dagster.steps.statements import Statement

LOCK_SECONDS = 30.0

_CHUNK_ROWS = 10_000
_TABLE_METHODS = {"arrow": "to_arrow_table", "pandas": "df", "polars": "pl"}


@dataclass(frozen=True)
class Result:
    """What one statement gave.

    Args:
        columns: Names of the columns; None for a statement which gives no rows.
        rows: Its rows, as many as were asked for.
        rowcount: How many rows it changed; None where that is not known.
        table: Its rows as the table which was asked for, where the driver makes one itself.
    """

    columns: tuple[str, ...] | None = None
    rows: Sequence[Sequence[Any]] = ()
    rowcount: int | None = None
    table: Any = None


class Session(Protocol):
    """A transaction on a database."""

    def execute(
        self, statement: Statement, parameters: Mapping[str, Any], form: str | None, limit: int
    ) -> Result:
        """Run one statement.

        Args:
            statement: The statement.
            parameters: Values for its names, and maybe more.
            form: `records`, or the library of the table which its rows shall become; None where
                they are not wanted.
            limit: Of `records`, one more than this is fetched at most.
        """
        ...


class Database(Protocol):
    """A database which statements can be run on."""

    is_duckdb: bool

    def transaction(self) -> Any:
        """Begin a Session in a context manager; an exception rolls it back."""
        ...

    def close(self) -> None:
        """Close its connections."""
        ...


def open_database(url: str, options: Mapping[str, Any], directory: Path) -> Database:
    """Open a database by its SQLAlchemy URL.

    Args:
        url: For instance `duckdb:///x.duckdb`, `sqlite:///x.db`, `postgresql+psycopg://…`. A
            relative file is relative to `directory`.
        options: For SQLAlchemy's `create_engine`; for DuckDB its settings and `read_only`.
        directory: The document's folder.

    Raises:
        StepFailed: The URL cannot be read, or its driver is not installed. It is not shown.
    """
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "duckdb":
            return _DuckDb(parsed.database or ":memory:", {**parsed.query, **options}, directory)
        return _SqlAlchemy(parsed, options, directory)
    except ModuleNotFoundError as error:
        message = f"The database's driver {error.name!r} is not installed."
        raise StepFailed("ModuleNotFoundError", message, "") from None
    except exc.NoSuchModuleError as error:
        raise StepFailed("NoSuchModuleError", f"Unknown kind of database: {error}", "") from None
    except exc.ArgumentError:
        message = "The database's URL cannot be read; it is of the form 'dialect://…'."
        raise StepFailed("ArgumentError", message, "") from None


class _SqlAlchemy:
    is_duckdb = False

    def __init__(self, url: sa.URL, options: Mapping[str, Any], directory: Path):
        is_sqlite = url.get_backend_name() == "sqlite"
        if is_sqlite and url.database and not url.database.startswith((":", "file:")):
            url = url.set(database=str(directory / url.database))
        self._engine = sa.create_engine(url, **{**options, "hide_parameters": True})
        if is_sqlite:
            _begin_truly(self._engine)

    @contextmanager
    def transaction(self) -> Generator[Session]:
        try:
            with self._engine.begin() as connection:
                yield _SqlAlchemySession(connection)
        except exc.DBAPIError as error:
            raise _failed(error.orig or error) from error
        except exc.SQLAlchemyError as error:
            raise _failed(error) from error

    def close(self) -> None:
        self._engine.dispose()


class _SqlAlchemySession:
    def __init__(self, connection: sa.Connection):
        self._connection = connection

    def execute(
        self, statement: Statement, parameters: Mapping[str, Any], form: str | None, limit: int
    ) -> Result:
        values = {name: parameters[name] for name in statement.names}
        found = self._connection.execute(sa.text(statement.sqlalchemy()), values)
        if not found.returns_rows:
            return Result(rowcount=found.rowcount if found.rowcount >= 0 else None)
        columns = tuple(found.keys())
        if form is None:
            found.close()
            return Result(columns)
        rows = found.fetchmany(limit + 1) if form == "records" else found.fetchall()
        found.close()
        return Result(columns, [tuple(row) for row in rows])


class _DuckDb:
    is_duckdb = True

    def __init__(self, database: str, options: Mapping[str, Any], directory: Path):
        import duckdb

        in_memory = database.startswith(":memory:")
        is_file = not in_memory and not database.startswith(("md:", "motherduck:"))
        config = dict(options)
        self._connection = _connect(
            str(directory / database) if is_file else database,
            read_only=str(config.pop("read_only", False)).lower() == "true",
            config={"file_search_path": str(directory), **config},
        )
        self._error = duckdb.Error

    @contextmanager
    def transaction(self) -> Generator[Session]:
        # Threads may share a database, but not a cursor.
        cursor = self._connection.cursor()
        try:
            cursor.begin()
            yield DuckDbSession(cursor)
            cursor.commit()
        except self._error as error:
            raise _failed(error) from error
        finally:
            # What was not committed is rolled back.
            cursor.close()

    def close(self) -> None:
        self._connection.close()


class DuckDbSession:
    """A transaction on DuckDB, which can also be given tables to read by name.

    Args:
        cursor: A cursor of a DuckDB connection, in a transaction.
    """

    def __init__(self, cursor: Any):
        self.cursor = cursor

    def execute(
        self, statement: Statement, parameters: Mapping[str, Any], form: str | None, limit: int
    ) -> Result:
        """Run one statement, which DuckDB's own parser may see as several; see `Session`."""
        result = Result()
        parts = self.cursor.extract_statements(statement.duckdb())
        for number, part in enumerate(parts, 1):
            values = {name: parameters[name] for name in part.named_parameters & {*parameters}}
            wanted = form if number == len(parts) else None
            if wanted in _TABLE_METHODS and part.type.name == "SELECT":
                # A relation is run by what is asked of it, and each time it is asked.
                relation = self.cursor.sql(part, params=values or None)
                return Result((), table=getattr(relation, _TABLE_METHODS[wanted])())
            self.cursor.execute(part, values or None)
            result = self._result(part, wanted, limit)
        return result

    def _result(self, part: Any, form: str | None, limit: int) -> Result:
        columns = tuple(column[0] for column in self.cursor.description or ())
        only_reads = {kind.name for kind in part.expected_result_type} == {"QUERY_RESULT"}
        if not only_reads and columns in ((), ("Count",)):
            row = self.cursor.fetchone() if columns else None
            return Result(rowcount=row[0] if row else None)
        if form is None:
            # DuckDB runs a statement as far as its rows are read.
            while self.cursor.fetchmany(_CHUNK_ROWS):
                continue
            return Result(columns)
        many = form == "records"
        rows = self.cursor.fetchmany(limit + 1) if many else self.cursor.fetchall()
        return Result(columns, rows)


def _connect(database: str, *, read_only: bool, config: dict[str, Any]) -> Any:
    import duckdb

    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return duckdb.connect(database, read_only=read_only, config=config)
        except duckdb.IOException as error:
            # Another step's process may hold the file, and lets go of it when its step ends.
            if "lock" not in str(error) or time.monotonic() > deadline:
                raise _failed(error) from error
        except duckdb.Error as error:
            raise _failed(error) from error
        time.sleep(0.05)


def _begin_truly(engine: sa.Engine) -> None:
    # By itself sqlite3 begins a transaction before some statements only, and never before DDL.
    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None

    def begun(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begun)


def _failed(error: BaseException) -> StepFailed:
    return StepFailed(type(error).__name__, str(error).strip(), "")
