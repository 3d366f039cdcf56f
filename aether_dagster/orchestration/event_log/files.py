"""Database files of Dagster's, made and recognized without Alembic where that can be had.

Alembic reads each of Dagster's migrations to find the newest: a tenth of a second, for every
database which is opened.
"""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import dagster
from sqlalchemy import Engine

from aether_dagster.orchestration.event_log.engines import open_engine

_REVISION = "alembic_version"


def is_stamped(file: Path, *tables: str) -> bool:
    """Tells whether a database has Dagster's tables, of whichever revision.

    Args:
        file: The database.
        tables: Tables which it must have, beside its revision.
    """
    if not file.exists():
        return False
    with closing(sqlite3.connect(file)) as connection, suppress(sqlite3.Error):
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        there = {name for (name,) in found}
        if there.issuperset((_REVISION, *tables)):
            query = f"SELECT count(*) FROM {_REVISION}"  # noqa: S608
            return connection.execute(query).fetchone()[0] > 0
    return False


def inode_of(path: str) -> int:
    """Returns which file lies at a path now; -1 where none does."""
    try:
        return os.stat(path).st_ino  # noqa: PTH116 - for its speed
    except FileNotFoundError:
        return -1


class RunFiles:
    """Makes the databases of new runs, all alike, as copies of one.

    Args:
        folder: Where they lie. The one which is copied lies there too, under a name which no run
            has, for each version of Dagster.
        make: Makes Dagster's tables in an empty database, by Dagster's own means.
    """

    def __init__(self, folder: Path, make: Callable[[Engine], None]):
        self._folder, self._make = folder, make
        self._template = folder / f".new-run-{dagster.__version__}"

    def put(self, file: Path) -> bool:
        """Makes a run's database, unless another process was faster.

        Returns:
            False where this file system does not let us; Dagster's own way is open then.
        """
        try:
            if not self._template.exists():
                self._make_template()
            copy = self._temporary()
            try:
                shutil.copyfile(self._template, copy)
                # All at once, and never over a file which somebody writes already.
                with suppress(FileExistsError):
                    os.link(copy, file)
            finally:
                copy.unlink()
        except OSError:
            return False
        return True

    def delete_locks(self, keep: str) -> None:
        """Deletes the files by which processes take turns, but for one database's."""
        for lock in self._folder.glob("*.db-lock"):
            if lock.name != f"{keep}.db-lock":
                lock.unlink(missing_ok=True)

    def _make_template(self) -> None:
        new = self._temporary()
        engine = open_engine(f"sqlite:///{new}")
        try:
            self._make(engine)
        finally:
            engine.dispose()
        new.replace(self._template)

    def _temporary(self) -> Path:
        descriptor, name = tempfile.mkstemp(prefix=".new-run-", dir=self._folder)
        os.close(descriptor)
        return Path(name)
