"""Brings a journal's tables up to date when it is opened, once, whoever opens it first."""

from sqlalchemy import bindparam, select

from aether_dagster.errors import JournalError
from aether_dagster.journal.database import Database
from aether_dagster.journal.schema import SCHEMA_VERSION, facts, migration
from aether_dagster.journal.statement import Session, Statement, dialect

_f = facts.c
_VERSION = Statement(lambda _: select(_f.value).where(_f.name == "schema"))
_SET = Statement(
    lambda insert: (
        statement := insert(facts).values(name=bindparam("name"), value=bindparam("value"))
    ).on_conflict_do_update(index_elements=["name"], set_={"value": statement.excluded.value})
)
_EXISTS = {
    "sqlite": "SELECT 1 FROM sqlite_master WHERE name = 'aether_journal'",
    # Not to_regclass: its answer may be from before the lock.
    "postgresql": "SELECT 1 FROM pg_tables"
    " WHERE tablename = 'aether_journal' AND schemaname = ANY(current_schemas(false))",
}
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('aether_journal'))"


def migrate(database: Database) -> None:
    """Makes or changes the tables where that is needed.

    Raises:
        JournalError: The journal is of a newer version, or would have to be changed but was
            opened for reading only.
    """
    with database.reading() as session:
        found = _found(session)
    if found > SCHEMA_VERSION:
        raise JournalError(
            f"The journal {database.label} has schema version {found}; this aether-dagster knows "
            f"{SCHEMA_VERSION}. Upgrade aether-dagster to open it."
        )
    if found == SCHEMA_VERSION:
        return
    if database.read_only:
        raise JournalError(
            f"The journal {database.label} has no tables of schema version {SCHEMA_VERSION} yet; "
            "open it once for writing."
        )
    with database.writing() as session:
        if database.engine == "postgresql":
            session.sql(_ONE_AT_A_TIME)
        found = _found(session)
        for statement in migration(database.engine, dialect(database.engine), found):
            session.sql(statement)
        if found == 0:
            session.run(_SET, name="last_number", value=-1)
        session.run(_SET, name="schema", value=SCHEMA_VERSION)


def _found(session: Session) -> int:
    if session.sql(_EXISTS[session.engine]).fetchone() is None:
        return 0
    row = session.row(_VERSION)
    return 0 if row is None else row[0]
