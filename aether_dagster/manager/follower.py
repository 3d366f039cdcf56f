"""Follows one execution's journal in a thread of its own, version by version."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from aether_dagster.errors import JournalError
from aether_dagster.journal import Journal, Version
from aether_dagster.state import Replica
from aether_dagster.state.replica import Path

# How long one wait for the journal takes at most, in seconds; a wake-up ends it at once.
_WAIT = 0.5
# How long it gathers what is committed next, in seconds: reading versions one by one, and writing
# their files one by one, costs a run more. Below the 200 ms in which spec 3 wants a file.
_GATHER = 0.15
# How many versions observers may treat as one.
_AT_ONCE = 64


@dataclass(frozen=True)
class Change:
    """One version as it was folded.

    Args:
        pipeline_id: The execution.
        version: Its number and deltas.
        replica: The state after it; shared, to be read before the observer returns.
        paths: The leaves of the state document which it changed.
        more: Another one follows at once, so that an observer may put off its work till then.
    """

    pipeline_id: str
    version: Version
    replica: Replica
    paths: frozenset[Path]
    more: bool = False


Observer = Callable[[Change], None]


class Follower:
    """Gives every version of an execution to its observers, in order, in one thread.

    Args:
        journal: Where to read.
        pipeline_id: Which execution.
        observers: Called with each change. One which raises is not called again; `failures`
            keeps its exception.
        tick: Called at least twice a second, between changes.
    """

    def __init__(
        self,
        journal: Journal,
        pipeline_id: str,
        observers: Sequence[Observer],
        tick: Callable[[], None],
    ):
        self._journal = journal
        self._tick = tick
        self._pipeline_id = pipeline_id
        self._observers = list(observers)
        self._replica = Replica()
        self._followed = 0
        self._reached = threading.Condition()
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self.failures: list[Exception] = []
        self._thread = threading.Thread(target=self._run, name=f"follow {pipeline_id}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def drain(self, version: int, timeout: float) -> bool:
        """Waits until all observers have had this version.

        Args:
            version: The version to wait for.
            timeout: How long the observers may go without having had another one, in seconds: a
                long execution takes its time, and a stuck one is given up.

        Returns:
            False when time ran out first.
        """
        self._hurry.set()
        try:
            with self._reached:
                while self._followed < version:
                    before = self._followed
                    self._reached.wait_for(partial(self._beyond, before), timeout)
                    if self._followed == before:
                        return False
                return True
        finally:
            self._hurry.clear()

    def _beyond(self, version: int) -> bool:
        return self._followed > version

    def stop(self) -> None:
        """Ends the thread; what is not yet followed stays in the journal."""
        self._stop.set()
        self._hurry.set()
        with suppress(JournalError):  # it looks by itself, a little later
            self._journal.wake()
        self._thread.join()

    def _run(self) -> None:
        cursor: str | None = None
        while not self._stop.is_set():
            try:
                tail = self._journal.tail(
                    cursor, _WAIT, self._pipeline_id, given_up=self._stop.is_set
                )
                cursor = tail.cursor
                self._fold(tail.versions)
                self._tick()
                if tail.versions:
                    self._hurry.wait(_GATHER)
            except JournalError:
                # It may answer later; whoever needs a version waits for it no longer than he said.
                self._stop.wait(_WAIT)

    def _fold(self, versions: Sequence[Version]) -> None:
        # A tail may give a version twice.
        new = [version for version in versions if version.number > self._replica.version]
        for count, version in enumerate(new, 1):
            more = count < len(new) and count % _AT_ONCE != 0
            paths: set[Path] = set()
            if not version.late:
                for delta in version.deltas:
                    paths |= self._replica.apply(delta)
            self._replica.version = version.number
            change = Change(self._pipeline_id, version, self._replica, frozenset(paths), more)
            for observer in list(self._observers):
                try:
                    observer(change)
                except Exception as error:  # noqa: BLE001 - a display must not end a run
                    self.failures.append(error)
                    self._observers.remove(observer)
            if not more:
                with self._reached:
                    self._followed = version.number
                    self._reached.notify_all()
