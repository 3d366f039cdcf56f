"""What both engines share: connections which belong to one process, and transactions on them."""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, ClassVar, TypeVar

from aether_dagster.errors import JournalError
from aether_dagster.journal import forks
from aether_dagster.journal.payloads import Payloads
from aether_dagster.journal.statement import Session
from aether_dagster.journal.wakeup import Mailbox

T = TypeVar("T")
_FORK_PATIENCE = 5.0

# In a forked child: the parent's connections, never used and, by being held here, never closed.
_inherited: list[Any] = []


class Database(ABC):
    """A journal's database in this process.

    Args:
        label: How messages name it; holds no password.
        read_only: Refuse to write.
    """

    engine: ClassVar[str]
    errors: ClassVar[type[Exception]]

    def __init__(self, label: str, read_only: bool):
        self.label = label
        self.read_only = read_only
        self.payloads = Payloads(None)
        self._pid = os.getpid()
        self._guard = threading.Condition()
        self._idle: list[Any] = []
        self._open: set[Any] = set()
        self._borrowers: list[int] = []
        self._forking = False
        self._mailboxes: list[Mailbox] = []
        self.closed = False
        forks.watch(self)

    @abstractmethod
    def writing(self) -> AbstractContextManager[Session]:
        """One write transaction: committed on leaving, rolled back where an error leaves it."""

    @abstractmethod
    def wake(self) -> None:
        """Wakes whoever waits at a mailbox."""

    @abstractmethod
    def prune_space(self) -> None:
        """Gives back the space of what was deleted."""

    @abstractmethod
    def now(self, session: Session) -> float:
        """Returns seconds by the clock which leases are kept by."""

    @contextmanager
    def reading(self) -> Generator[Session]:
        """One snapshot of the database, for as many queries as it takes."""
        with self._transaction(self._begin_reading) as session:
            yield session

    def put(self, statement: Callable[[Session], T]) -> T:
        """Commits one statement, with nothing else.

        Args:
            statement: Runs it on the session.
        """
        with self.writing() as session:
            return statement(session)

    def look(self, query: Callable[[Session], T]) -> T:
        """Returns what one query finds, which needs no transaction around it.

        Args:
            query: Asks the session once; called again where the connection has lost its server.
        """
        while True:
            connection, fresh = self._borrow()
            try:
                found = query(Session(connection.execute, self.engine, self.payloads))
            except self.errors as error:
                self._discard(connection)
                if fresh:
                    raise self._error(error) from None
            except BaseException:
                self._give_back(connection)
                raise
            else:
                self._give_back(connection)
                return found

    @contextmanager
    def mailbox(self) -> Generator[Mailbox]:
        """What is woken by commits, for one thread at a time."""
        self._check()
        with self._guard:
            found = self._mailboxes.pop() if self._mailboxes else None
        mailbox = found or self._new_mailbox()
        try:
            yield mailbox
        finally:
            if not self.closed and os.getpid() == self._pid:
                mailbox.rest()
            if mailbox.usable and not self.closed and os.getpid() == self._pid:
                with self._guard:
                    self._mailboxes.append(mailbox)
            else:
                mailbox.close()

    def close(self) -> None:
        """Closes what this process opened; what is in use is closed when it is given back."""
        self.closed = True
        if os.getpid() != self._pid:
            return
        with self._guard:
            mailboxes, self._mailboxes = self._mailboxes, []
            self._close_idle()
        for mailbox in mailboxes:
            mailbox.close()

    @abstractmethod
    def _connect(self) -> Any:
        """Returns a new connection, which commits nothing of itself."""

    @abstractmethod
    def _begin_reading(self, connection: Any) -> None: ...

    @abstractmethod
    def _new_mailbox(self) -> Mailbox: ...

    @abstractmethod
    def _before_commit(self, session: Session) -> None:
        """Called inside a transaction which committed a version."""

    @abstractmethod
    def _leave_inherited(self, connection: Any) -> None:
        """Called in a forked child for each connection of its parent."""

    @contextmanager
    def _transaction(self, begin: Any) -> Generator[Session]:
        connection, session = None, None
        try:
            connection = self._begin(begin)
            session = Session(connection.execute, self.engine, self.payloads)
            yield session
            if session.committed is not None:
                self._before_commit(session)
            connection.execute("COMMIT")
        except BaseException as error:
            if connection is not None:
                connection = self._roll_back(connection)
            if isinstance(error, self.errors):
                # What the driver said is in the message, but for the passwords in it.
                raise self._error(error) from None
            raise
        finally:
            if connection is not None:
                self._give_back(connection)

    def _begin(self, begin: Any) -> Any:
        while True:
            connection, fresh = self._borrow()
            try:
                begin(connection)
            except BaseException as error:
                self._discard(connection)
                # One which lay idle may have lost its server; a new one says what is wrong.
                if fresh or not isinstance(error, self.errors):
                    raise
            else:
                return connection

    def _roll_back(self, connection: Any) -> Any:
        try:
            connection.execute("ROLLBACK")
        except self.errors:
            self._discard(connection)
            return None
        return connection

    @contextmanager
    def _lent(self) -> Generator[Any]:
        """A connection for statements which may not be inside a transaction."""
        connection, _ = self._borrow()
        try:
            yield connection
        except self.errors as error:
            raise self._error(error) from None
        finally:
            self._give_back(connection)

    def _error(self, error: Exception) -> JournalError:
        return JournalError(f"The journal {self.label} cannot be used: {error}")

    def _borrow(self) -> tuple[Any, bool]:
        self._check()
        with self._guard:
            while self._forking:
                self._guard.wait()
            self._borrowers.append(threading.get_ident())
            if self._idle:
                return self._idle.pop(), False
        try:
            connection = self._connect()
        except BaseException:
            self._returned()
            raise
        self._open.add(connection)
        return connection, True

    def _give_back(self, connection: Any) -> None:
        if os.getpid() != self._pid:
            return
        with self._guard:
            if not self.closed:
                self._idle.append(connection)
                connection = None
            self._returned()
        if connection is not None:
            self._open.discard(connection)
            connection.close()

    def _discard(self, connection: Any) -> None:
        self._open.discard(connection)
        with suppress(self.errors):
            connection.close()
        self._returned()

    def _returned(self) -> None:
        with self._guard:
            self._borrowers.remove(threading.get_ident())
            if self._forking:
                self._guard.notify_all()

    def _close_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            self._open.discard(connection)
            connection.close()

    def _check(self) -> None:
        if os.getpid() != self._pid:
            self.after_fork_in_child()
        if self.closed:
            raise JournalError(f"The journal {self.label} is closed; open it again.")

    def before_fork(self) -> None:
        """Waits until no thread is inside a transaction, and lets none begin one."""
        self._guard.acquire()
        self._forking = True
        # This thread may be inside one itself: a signal handler forks anywhere.
        if threading.get_ident() not in self._borrowers:
            self._guard.wait_for(lambda: not self._borrowers, _FORK_PATIENCE)

    def after_fork_in_parent(self) -> None:
        """Lets transactions begin again."""
        self._forking = False
        self._guard.notify_all()
        self._guard.release()

    def after_fork_in_child(self) -> None:
        """Begins anew, with nothing of the parent's."""
        self._pid = os.getpid()
        self._guard = threading.Condition()
        self._forking = False
        _inherited.extend(self._open)
        for connection in self._open:
            self._leave_inherited(connection)
        for mailbox in self._mailboxes:
            mailbox.leave()
        self._idle, self._open, self._borrowers, self._mailboxes = [], set(), [], []
