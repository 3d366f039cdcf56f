"""The step type `sql/query` (spec 2)."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from aether_dagster.errors import StepFailed
from aether_dagster.steps.context import StepContext
from aether_dagster.steps.databases import Database, DuckDbSession, Result, Session, open_database
from aether_dagster.steps.rows import records
from aether_dagster.steps.statements import split

MOST_RECORDS = 100_000

_READERS = {
    ".csv": "read_csv",
    ".tsv": "read_csv",
    ".parquet": "read_parquet",
    ".json": "read_json",
    ".jsonl": "read_json",
    ".ndjson": "read_json",
}


def query(args: Mapping[str, Any], context: StepContext) -> Any:
    """Run SQL in one transaction and give the rows of its last statement.

    Returns:
        By `fetch` and `format`: a list of JSON mappings or one of them (see `rows`), a table, or
        `{"rowcount"}`.

    Raises:
        StepFailed: The database refuses; its type is the driver's exception. Or more than 100 000
            rows would have become JSON.
    """
    text = args["query"] if args["file"] is None else _read(context.directory / args["file"])
    given: Any = args["parameters"]
    batches = cast("list[Mapping[str, Any]]", given if isinstance(given, list) else [given])
    with _database(args, context) as database:
        names = {name for batch in batches for name in batch}
        statements = split(text, names, strict=not database.is_duckdb)
        form = None if args["fetch"] == "none" else args["format"]
        changed = 0
        result = Result()
        with database.transaction() as session:
            _give_tables(session, args["tables"], context.directory)
            for number, batch in enumerate(batches, 1):
                for place, statement in enumerate(statements, 1):
                    is_last = (number, place) == (len(batches), len(statements))
                    result = session.execute(
                        statement, batch, form if is_last else None, MOST_RECORDS
                    )
                    changed += result.rowcount or 0
            if form is None:
                return {"rowcount": changed}
            value = _records(result) if form == "records" else _table(result, form)
    if args["fetch"] == "one":
        return (value[0] if value else None) if form == "records" else value[:1]
    return value


@contextmanager
def _database(args: Mapping[str, Any], context: StepContext) -> Generator[Database]:
    name = args["connector"]
    if name is None:
        database = open_database(args["url"] or "duckdb:///:memory:", {}, context.directory)
        try:
            yield database
        finally:
            database.close()
        return
    settings = context.connection(name)
    if settings["type"] != "sql" or not settings.get("url"):
        raise StepFailed(
            "InvalidConnector",
            f"The connector {name!r} is of type {settings['type']!r}; sql/query needs one of type "
            "'sql' with a 'url'.",
            "",
        )
    options: Mapping[str, Any] = settings.get("options") or {}

    def open_it() -> Database:
        return open_database(settings["url"], options, context.directory)

    if context.connections is not None and _can_be_shared(settings["url"]):
        yield context.connections.get(f"sql {name}", open_it)
        return
    database = open_it()
    try:
        yield database
    finally:
        database.close()


def _can_be_shared(url: str) -> bool:
    # A process which has a DuckDB file open keeps every other process out of it.
    return not url.startswith("duckdb:") or url in ("duckdb://", "duckdb:///", "duckdb:///:memory:")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"The query's file {str(path)!r} cannot be read: {error.strerror}."
        raise StepFailed(type(error).__name__, message, "") from error


def _give_tables(session: Session, tables: Mapping[str, Any], directory: Path) -> None:
    if not tables:
        return
    if not isinstance(session, DuckDbSession):
        raise StepFailed("InvalidArguments", "`tables` of sql/query are for DuckDB alone.", "")
    for name, source in tables.items():
        if isinstance(source, str):
            _give_file(session, name, directory / source)
        else:
            rows: Any = source
            if isinstance(source, list):
                rows = import_module("pyarrow").Table.from_pylist(cast("list[Any]", source))
            session.cursor.register(name, rows)


def _give_file(session: DuckDbSession, name: str, path: Path) -> None:
    suffixes = [suffix for suffix in path.suffixes if suffix in _READERS]
    if not suffixes:
        known = ", ".join(_READERS)
        message = f"The table {name!r} is a file {path.name!r}, and not one of {known}."
        raise StepFailed("InvalidArguments", message, "")
    quoted_name = name.replace('"', '""')
    quoted_path = str(path).replace("'", "''")
    session.cursor.execute(
        f'CREATE OR REPLACE TEMP VIEW "{quoted_name}" AS '  # noqa: S608 - both are quoted
        f"SELECT * FROM {_READERS[suffixes[-1]]}('{quoted_path}')"
    )


def _records(result: Result) -> list[dict[str, Any]]:
    if len(result.rows) > MOST_RECORDS:
        raise StepFailed(
            "TooManyRows",
            f"The query gives more than {MOST_RECORDS} rows; add a LIMIT, or ask for "
            "`format: arrow`, `pandas` or `polars`.",
            "",
        )
    return records(result.columns or (), result.rows)


def _table(result: Result, library: str) -> Any:
    if result.table is not None:
        return result.table
    by_column: dict[str, list[Any]] = {
        column: [row[number] for row in result.rows]
        for number, column in enumerate(result.columns or ())
    }
    if library == "arrow":
        return import_module("pyarrow").table(by_column)
    return import_module(library).DataFrame(by_column)
