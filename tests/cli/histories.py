"""Histories as runs leave them, with their journal, and without the seconds of a run."""

from dataclasses import dataclass
from pathlib import Path

from aether_dagster.crypto import ChainLink, KeyRing
from aether_dagster.journal import Journal
from aether_dagster.manager.history import HistoryFiles
from aether_dagster.snapshot import HistoryStore, Projection, folder_name
from tests.snapshot.folders import START, deltas


@dataclass(frozen=True)
class Kept:
    """An execution which was kept in a journal and a history."""

    pipeline_id: str
    folder: str
    links: list[ChainLink]

    @property
    def names(self) -> list[str]:
        return [link.name for link in self.links]


def keep(
    url: str,
    keys: KeyRing | None = None,
    *,
    journal: Path | str = ".aether/aether_journal.db",
    start: float = START,
    ended: bool = True,
    steps: tuple[str, ...] = ("load", "plot"),
) -> Kept:
    """Commits the versions of an execution and writes its files, as a run's process does."""
    Path(".aether").mkdir(exist_ok=True)
    with Journal.open(journal, keys=keys) as opened:
        record = opened.reserve(
            f"run-{len(opened.executions())}",
            "quakes",
            now_ms=int(start * 1000),
            config_hash="e3b0c44298fc1cd",
            document={"metadata": {"name": "quakes"}},
        )
        store, folder = HistoryStore(url), folder_name(start, record.pipeline_id)
        store.create(folder)
        opened.annotate(record.pipeline_id, history=f"{store.url.rstrip('/')}/{folder}")
        files = HistoryFiles(opened, record.pipeline_id, store, folder, keys)
        projection = Projection()
        found = deltas(record.pipeline_id, steps)
        for number, delta in enumerate(found if ended else found[:-1], start=1):
            opened.append(record.pipeline_id, [delta], now_ms=int(start * 1000) + number * 1000)
            files.issue(projection.fold(number, [delta]))
        return Kept(record.pipeline_id, folder, opened.history_files(record.pipeline_id))
