"""The journal in PostgreSQL: commits of one execution wait for each other, those of two do not."""

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from sqlalchemy.engine import URL

from aether_dagster.errors import JournalError
from aether_dagster.journal.database import Database
from aether_dagster.journal.schema import OF_ONE_EXECUTION, documents, executions
from aether_dagster.journal.statement import Session, dialect
from aether_dagster.journal.url import shown
from aether_dagster.journal.wakeup import Mailbox, NoMailbox

_CHANNEL = "aether_journal"
_NOTIFY = f"SELECT pg_notify('{_CHANNEL}', '')"
_WITHOUT_NOTIFICATIONS = 0.25
_TABLES = ", ".join(table.name for table in (executions, documents, *OF_ONE_EXECUTION))


class PostgresDatabase(Database):
    """A PostgreSQL database; the journal's tables may stand beside others in it.

    Args:
        url: Its URL.
        read_only: Refuse to write; a hot standby serves as well.
    """

    engine = "postgresql"
    errors = psycopg.Error

    def __init__(self, url: URL, read_only: bool):
        super().__init__(shown(url), read_only)
        self._secrets = [secret for secret in (url.password, url.query.get("password")) if secret]
        _, self._arguments = dialect(self.engine).create_connect_args(url)

    @contextmanager
    def writing(self) -> Generator[Session]:
        """See `Database.writing`."""
        if self.read_only:
            raise JournalError(f"The journal {self.label} was opened for reading only.")
        with self._transaction(_begin_writing) as session:
            yield session

    def now(self, session: Session) -> float:
        """Returns the server's time, which all hosts share."""
        return session.sql("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()[0]

    def prune_space(self) -> None:
        """Lets the server use the space of deleted rows again."""
        with self._lent() as connection:
            connection.execute(f"VACUUM {_TABLES}")

    def _connect(self) -> Any:
        return psycopg.connect(**self._arguments, autocommit=True)

    def _begin_reading(self, connection: Any) -> None:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def wake(self) -> None:
        """See `Database.wake`."""
        if not self.read_only:  # a standby cannot notify
            self.look(self._before_commit)

    def _before_commit(self, session: Session) -> None:
        session.sql(_NOTIFY)

    def _new_mailbox(self) -> Mailbox:
        try:
            connection = self._connect()
        except psycopg.Error as error:
            raise self._error(error) from None
        listener = _Listener(connection)
        listener.clear()
        if not listener.usable:
            # A standby cannot listen.
            connection.close()
            return NoMailbox(_WITHOUT_NOTIFICATIONS)
        return listener

    def _leave_inherited(self, connection: Any) -> None:
        _leave(connection)

    def _error(self, error: Exception) -> JournalError:
        text = str(error).strip()
        for secret in self._secrets:
            text = text.replace(str(secret), "***")
        return JournalError(f"The journal {self.label} cannot be used: {text}")


class _Listener:
    """A connection which is told of commits.

    Only while somebody waits: a server's process which cannot get rid of what nobody reads is in
    the way of all who drop a database, and of the queue from which others are told.
    """

    def __init__(self, connection: Any):
        self._connection = connection
        self._listening = False
        self.usable = True

    def clear(self) -> None:
        if not self._listening:
            self._listening = True
            self._execute(f"LISTEN {_CHANNEL}")
        self._receive(0, None)

    def wait(self, seconds: float) -> None:
        self._receive(seconds, 1)

    def rest(self) -> None:
        if self._listening:
            self._listening = False
            self._execute("UNLISTEN *")

    def close(self) -> None:
        self._connection.close()

    def leave(self) -> None:
        _leave(self._connection)
        _inherited.append(self._connection)

    def _execute(self, sql: str) -> None:
        try:
            self._connection.execute(sql)
        except psycopg.Error:
            self.usable = False

    def _receive(self, seconds: float, stop_after: int | None) -> None:
        try:
            for _ in self._connection.notifies(timeout=seconds, stop_after=stop_after):
                pass
        except psycopg.Error:
            # The query which follows says what is wrong, if it still is.
            self.usable = False


_inherited: list[Any] = []


def _leave(connection: Any) -> None:
    # The server must see its client's end when the parent ends, and hear nothing from the child:
    # the descriptor stays, for libpq knows its number, but leads nowhere.
    with suppress(psycopg.Error, OSError):
        nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(nowhere, connection.fileno(), inheritable=False)
        os.close(nowhere)


def _begin_writing(connection: Any) -> None:
    connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
