"""Writes an execution's state history as its versions come, and says so when it cannot."""

from collections.abc import Callable

from aether_dagster.errors import SnapshotError
from aether_dagster.manager.follower import Change
from aether_dagster.snapshot import HistoryStore, Projection


class HistoryWriter:
    """An observer which writes the files of one execution's folder (spec 3).

    Args:
        store: The history.
        folder: The execution's folder in it.
        on_error: Called once, with what went wrong, when the history could not be written. The
            pipeline's own work goes on; no later file is written, so that the folder never shows
            a gap as if it were whole.

    Attributes:
        error: What went wrong, or None.
    """

    def __init__(self, store: HistoryStore, folder: str, on_error: Callable[[SnapshotError], None]):
        self._store = store
        self._folder = folder
        self._on_error = on_error
        self._projection = Projection()
        self.error: SnapshotError | None = None

    def __call__(self, change: Change) -> None:
        """Writes the files which a version makes due."""
        if self.error is not None or change.version.late:
            return
        try:
            for file in self._projection.fold(change.version.number, change.version.deltas):
                self._store.write(self._folder, file.name, file.data)
        except SnapshotError as error:
            self.fail(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the history is not whole
            self.fail(SnapshotError(f"{type(error).__name__}: {error}"))

    def fail(self, error: SnapshotError) -> None:
        """Gives the history up; only the first reason is told."""
        if self.error is None:
            self.error = error
            self._on_error(error)
