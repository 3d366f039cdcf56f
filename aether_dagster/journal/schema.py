"""The journal's tables, and how an older journal becomes this one.

`place` is where a tail finds what is new. On SQLite it is the order of commits, for one writer
commits at a time. On PostgreSQL no number can be that, so it is the committing transaction's id,
which a snapshot of the server compares with those it has seen.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.types import UserDefinedType

SCHEMA_VERSION = 3

# Only INTEGER is an alias of SQLite's rowid.
_Number = BigInteger().with_variant(Integer(), "sqlite")

_metadata = MetaData()
_postgres_metadata = MetaData()

facts = Table(
    "aether_journal",
    _metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

executions = Table(
    "aether_executions",
    _metadata,
    Column("number", _Number, primary_key=True, autoincrement=False),
    Column("run_id", Text, nullable=False),
    Column("pipeline", Text, nullable=False),
    Column("partition_key", Text),
    Column("resumed_from", Text),
    Column("config_hash", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("head", Integer, nullable=False),
    Column("committed_at", BigInteger, nullable=False),
    Column("finalized", Integer),
    Column("status", Text, nullable=False),
    Column("nodes", Text),
    Column("ended_at", Float),
    Column("history", Text),
    Column("refused", Text),
    UniqueConstraint("run_id", "pipeline"),
    Index("aether_executions_by_pipeline", "pipeline", "number"),
    Index("aether_executions_by_document", "document"),
)
Index(
    "aether_executions_unfinished",
    executions.c.number,
    sqlite_where=executions.c.finalized.is_(None),
    postgresql_where=executions.c.finalized.is_(None),
)

# Large and written once, so not in the row which every commit rewrites; many executions share one.
documents = Table(
    "aether_documents",
    _metadata,
    Column("digest", Text, primary_key=True),
    Column("document", Text, nullable=False),
)

resolutions = Table(
    "aether_resolutions",
    _metadata,
    Column("execution", _Number, primary_key=True, autoincrement=False),
    Column("resolved", Text, nullable=False),
)

delta_ids = Table(
    "aether_delta_ids",
    _metadata,
    Column("execution", BigInteger, nullable=False),
    Column("id", Text, nullable=False),
    PrimaryKeyConstraint("execution", "id"),
    sqlite_with_rowid=False,
)

checkpoints = Table(
    "aether_checkpoints",
    _metadata,
    Column("execution", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("replica", LargeBinary, nullable=False),
    PrimaryKeyConstraint("execution", "version"),
)

payload_keys = Table(
    "aether_payload_keys",
    _metadata,
    Column("execution", _Number, primary_key=True, autoincrement=False),
    Column("sealed", Text, nullable=False),
    info={"since": 2},
)

history_files = Table(
    "aether_history_files",
    _metadata,
    Column("execution", BigInteger, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("prev", Text),
    Column("link", Text, nullable=False),
    Column("sha256", Text),
    PrimaryKeyConstraint("execution", "seq"),
    UniqueConstraint("execution", "name"),
    info={"since": 2},
)

private = Table(
    "aether_private",
    _metadata,
    Column("execution", BigInteger, nullable=False),
    Column("plugin", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("value", Text),
    Column("revision", Integer, nullable=False),
    PrimaryKeyConstraint("execution", "plugin", "key"),
)

leases = Table(
    "aether_leases",
    _metadata,
    Column("execution", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("expires", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    PrimaryKeyConstraint("execution", "name"),
)

# The outbox: how far each hook was told of an execution, and every call of a hook.
hook_cursors = Table(
    "aether_hook_cursors",
    _metadata,
    Column("execution", BigInteger, nullable=False),
    Column("hook", Text, nullable=False),
    Column("plugin", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("part", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("retry_at", Float, nullable=False),
    Column("done", Boolean, nullable=False),
    PrimaryKeyConstraint("execution", "hook"),
    info={"since": 2},
)
_open_cursors = Index(
    "aether_hook_cursors_open",
    hook_cursors.c.execution,
    hook_cursors.c.hook,
    sqlite_where=hook_cursors.c.done.is_(False),
    postgresql_where=hook_cursors.c.done.is_(False),
)

hook_calls = Table(
    "aether_hook_calls",
    _metadata,
    Column("number", _Number, primary_key=True),
    Column("execution", BigInteger, nullable=False),
    Column("called_at", Float, nullable=False),
    Column("event", Text, nullable=False),
    Column("hook", Text, nullable=False),
    Column("plugin", Text, nullable=False),
    Column("node", Text),
    Column("delivery", Text),
    Column("outcome", Text),
    Column("milliseconds", Float),
    Column("detail", Text),
    Index("aether_hook_calls_by_execution", "execution", "number"),
    info={"since": 2},
    # Or a number freed by pruning is given again, and who remembers it steps over the new call.
    sqlite_autoincrement=True,
)
_triggered_calls = Index(
    "aether_hook_calls_triggered",
    hook_calls.c.hook,
    hook_calls.c.number,
    sqlite_where=hook_calls.c.outcome == "triggered",
    postgresql_where=hook_calls.c.outcome == "triggered",
)


class TransactionId(UserDefinedType[Any]):
    """PostgreSQL's 64-bit transaction id, which never wraps around."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Returns the type's name."""
        return "XID8"


def _versions(metadata: MetaData, place: Column[Any], *more: Any) -> Table:
    return Table(
        "aether_versions",
        metadata,
        place,
        Column("execution", BigInteger, nullable=False),
        Column("number", Integer, nullable=False),
        Column("committed_at", BigInteger, nullable=False),
        Column("late", Boolean, nullable=False),
        Column("deltas", Text, nullable=False),
        *more,
        # Without it a place freed by pruning is given again, and tails would step over it.
        sqlite_autoincrement=True,
    )


versions = _versions(
    _metadata,
    Column("place", Integer, primary_key=True),
    UniqueConstraint("execution", "number"),
)

_postgres_versions = _versions(
    _postgres_metadata,
    Column("place", TransactionId, nullable=False),
    PrimaryKeyConstraint("execution", "number"),
    Index("aether_versions_by_place", "place"),
)

OF_ONE_EXECUTION = (
    versions,
    delta_ids,
    checkpoints,
    resolutions,
    payload_keys,
    history_files,
    private,
    leases,
    hook_cursors,
    hook_calls,
)


def _tables(engine: str) -> list[Table]:
    ours = [table for table in _metadata.sorted_tables if table is not versions]
    return [*ours, _postgres_versions if engine == "postgresql" else versions]


def migration(engine: str, dialect: Any, found: int) -> Sequence[str]:
    """Returns the statements which bring a journal's tables to `SCHEMA_VERSION`.

    Args:
        engine: `sqlite` or `postgresql`.
        dialect: SQLAlchemy's dialect of it.
        found: The version which the journal says it has; 0 for none.
    """
    statements: list[str] = []
    for table in _tables(engine):
        if found < table.info.get("since", 1):
            statements += _create(table, dialect)
    if found == 2:
        statements += _to_version_3(engine, dialect)
    return statements


def _create(table: Table, dialect: Any) -> list[str]:
    indexes = sorted(table.indexes, key=lambda index: str(index.name))
    made = [CreateTable(table), *map(CreateIndex, indexes)]
    return [str(statement.compile(dialect=dialect)) for statement in made]


def _to_version_3(engine: str, dialect: Any) -> list[str]:
    """Open cursors and calls which triggered are found by an index; calls keep their numbers."""
    reopened = [
        "DROP INDEX aether_hook_cursors_open",
        str(CreateIndex(_open_cursors).compile(dialect=dialect)),
    ]
    if engine == "postgresql":
        return [*reopened, str(CreateIndex(_triggered_calls).compile(dialect=dialect))]
    return [
        *reopened,
        "ALTER TABLE aether_hook_calls RENAME TO aether_hook_calls_2",
        "DROP INDEX aether_hook_calls_by_execution",
        *_create(hook_calls, dialect),
        "INSERT INTO aether_hook_calls SELECT * FROM aether_hook_calls_2",
        "DROP TABLE aether_hook_calls_2",
    ]
