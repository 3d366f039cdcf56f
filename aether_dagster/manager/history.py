"""Writes an execution's state history from its versions, and says so when it cannot."""

from collections.abc import Callable, Iterable

from aether_dagster.crypto import Chain, KeyRing
from aether_dagster.errors import SnapshotError
from aether_dagster.journal import Journal
from aether_dagster.manager.follower import Change
from aether_dagster.snapshot import HistoryStore, Projection, SnapshotFile

# How many files are open at once while they are written.
_AT_ONCE = 64


class HistoryFiles:
    """The files of one execution's folder, as its one writer issues them (spec 3).

    Each is given its place in the chain, recorded in the journal, and only then written: whatever
    is killed in between, the journal knows every file which there can be. What was recorded last
    and never written is issued again.

    Args:
        journal: Where they are recorded.
        pipeline_id: The execution.
        store: The history.
        folder: The execution's folder in it.
        keys: Seal the files; None for a plain history.

    Raises:
        UnknownKey: The folder was begun with a key and there is none now.
        SnapshotError: The folder cannot be listed.
    """

    def __init__(
        self,
        journal: Journal,
        pipeline_id: str,
        store: HistoryStore,
        folder: str,
        keys: KeyRing | None = None,
    ):
        self._journal, self._pipeline_id = journal, pipeline_id
        self._store, self._folder = store, folder
        links = journal.history_files(pipeline_id)
        self._recorded = len(links)
        present = set(store.names(folder)) if links else set[str]()
        chain = Chain(pipeline_id, keys, links)
        while chain.links and chain.links[-1].name not in present:
            chain.links.pop()
        self._chain = chain
        self._issued = {link.name for link in chain.links}

    @property
    def head(self) -> str | None:
        """The link of the last file; None where there is none."""
        return self._chain.head

    def close(self) -> None:
        """Ends what writes the files."""
        self._store.close()

    def issue(self, files: Iterable[SnapshotFile]) -> None:
        """Writes those of the files which are not there yet.

        Raises:
            SnapshotError: A file cannot be written.
            JournalError: They cannot be recorded; somebody else may write the history.
        """
        new = [
            self._chain.add(file.name, file.data) for file in files if file.name not in self._issued
        ]
        if not new:
            return
        links = [link for link, _ in new]
        self._journal.record_files(self._pipeline_id, links, known=self._recorded)
        self._recorded = len(self._chain.links)
        self._issued.update(link.name for link in links)
        for written in range(0, len(new), _AT_ONCE):
            batch = [(link.name, data) for link, data in new[written : written + _AT_ONCE]]
            self._store.write_all(self._folder, batch)


class HistoryWriter:
    """An observer which writes the files of one execution's folder (spec 3).

    Args:
        files: The execution's files.
        on_error: Called once, with what went wrong, when the history could not be written. The
            pipeline's own work goes on; no later file is written, so that the folder never shows
            a gap as if it were whole.

    Attributes:
        error: What went wrong, or None.
    """

    def __init__(self, files: HistoryFiles, on_error: Callable[[SnapshotError], None]):
        self._files = files
        self._on_error = on_error
        self._projection = Projection()
        self._due: list[SnapshotFile] = []
        self.error: SnapshotError | None = None

    @property
    def head(self) -> str | None:
        """The link of the last file; None where there is none."""
        return self._files.head

    def __call__(self, change: Change) -> None:
        """Writes the files which a version makes due, with those of the versions read with it."""
        if self.error is not None:
            return
        try:
            if not change.version.late:
                version = change.version
                self._due += self._projection.see(change.replica, version.number, version.deltas)
            if not change.more:
                due, self._due = self._due, []
                self._files.issue(due)
        except SnapshotError as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the history is not whole
            self.fail(SnapshotError(f"{type(error).__name__}: {error}"))

    def close(self) -> None:
        """Ends what writes the files; it is called no more."""
        self._files.close()

    def fail(self, error: SnapshotError) -> None:
        """Gives the history up; only the first reason is told."""
        if self.error is None:
            self.error = error
            self._on_error(error)
