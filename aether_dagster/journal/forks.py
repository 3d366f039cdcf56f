"""Forks: before the process forks, everything which must not be inherited comes to rest."""

import os
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """What has something which a forked child must not share."""

    def before_fork(self) -> None:
        """Comes to rest."""
        ...

    def after_fork_in_parent(self) -> None:
        """Goes on."""
        ...

    def after_fork_in_child(self) -> None:
        """Begins anew, with nothing of the parent's."""
        ...


class _Forks:
    def __init__(self) -> None:
        self.watched: weakref.WeakSet[Forkable] = weakref.WeakSet()
        self._one_at_a_time = threading.Lock()
        self._resting: list[Forkable] = []

    def before(self) -> None:
        self._one_at_a_time.acquire()
        self._resting = list(self.watched)
        for each in self._resting:
            each.before_fork()

    def after_in_parent(self) -> None:
        resting, self._resting = self._resting, []
        for each in resting:
            each.after_fork_in_parent()
        self._one_at_a_time.release()

    def after_in_child(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._resting = []
        for each in list(self.watched):
            each.after_fork_in_child()


_forks = _Forks()
os.register_at_fork(
    before=_forks.before,
    after_in_parent=_forks.after_in_parent,
    after_in_child=_forks.after_in_child,
)


def watch(each: Forkable) -> None:
    """Has it told of forks for as long as it lives."""
    _forks.watched.add(each)
