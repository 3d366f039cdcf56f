"""Another process which does with a journal what a test says, one thing at a time."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from aether_dagster.errors import WriteConflict
from aether_dagster.journal import Journal
from tests.journal.builders import PLUGIN, artifact

# A server which has imported the journal forks them, so that each is there within milliseconds.
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(
    ["pytest", "tests.journal.actor", "aether_dagster.journal.postgres"]
)


class Actor:
    """The face of the other process, in the test."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self._connection.send((name, *arguments))
            assert self._connection.poll(30), f"no answer to {name}{arguments}"
            answer = self._connection.recv()
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return call


@contextmanager
def actors(url: str, number: int) -> Iterator[list[Actor]]:
    started: list[tuple[Any, Connection]] = []
    for _ in range(number):
        ours, theirs = FORKSERVER.Pipe()
        process = FORKSERVER.Process(target=_act, args=(theirs, url), daemon=True)
        process.start()
        theirs.close()
        started.append((process, ours))
    try:
        yield [Actor(connection) for _, connection in started]
    finally:
        for process, connection in started:
            connection.close()
            process.join(10)
            assert process.exitcode == 0


def _act(connection: Connection, url: str) -> None:
    with Journal.open(url) as journal:
        part = _Part(journal)
        while True:
            try:
                name, *arguments = connection.recv()
            except EOFError:
                return
            try:
                connection.send(getattr(part, name)(*arguments))
            except Exception as error:  # noqa: BLE001 - the test is told
                connection.send(AssertionError(f"{name}: {error!r}"))


class _Part:
    """What the process can do. A transaction stays open from `begin` to `commit` or `abandon`."""

    def __init__(self, journal: Journal):
        self._journal = journal
        self._transaction: Any = None

    def pid(self) -> int:
        return os.getpid()

    def begin(self, pipeline_id: str, actor: str = PLUGIN) -> int:
        self._transaction = self._journal.transaction(pipeline_id, actor)
        return self._transaction.__enter__().base

    def get(self, path: str) -> Any:
        return self._transaction.get(path)

    def set(self, path: str, value: str) -> None:
        self._transaction.set(path, value)

    def delete(self, path: str) -> None:
        self._transaction.delete(path)

    def remember(self, key: str, value: Any) -> None:
        self._transaction.private[key] = value

    def recall(self, key: str) -> Any:
        return self._transaction.private.get(key)

    def commit(self) -> int | list[str] | None:
        """The version, or the keys of the conflict."""
        try:
            self._transaction.__exit__(None, None, None)
        except WriteConflict as conflict:
            return list(conflict.keys)
        return self._transaction.version

    def abandon(self) -> None:
        error = RuntimeError("the plugin failed")
        self._transaction.__exit__(RuntimeError, error, None)

    def artifacts(self, pipeline_id: str) -> dict[str, str]:
        return self._journal.state(pipeline_id)["context"]["artifacts"]

    def increment(self, pipeline_id: str, path: str, times: int) -> None:
        def once(tx: Any) -> None:
            tx.set(path, str(int(tx.get(path, "0")) + 1))

        for _ in range(times):
            self._journal.transact(pipeline_id, once, PLUGIN, attempts=100)

    def append_many(self, pipeline_id: str, prefix: str, times: int) -> list[int]:
        return [
            self._journal.append(pipeline_id, [artifact(f"{prefix}{i}", prefix, str(i))])
            for i in range(times)
        ]

    def append_at(self, pipeline_id: str, delta_id: str, delay: float) -> float:
        """Appends after so many seconds; returns when it was committed, by the shared clock."""
        time.sleep(delay)
        self._journal.append(pipeline_id, [artifact(delta_id, "late", delta_id)])
        return time.monotonic()

    def reserve_many(self, prefix: str, times: int) -> list[str]:
        return [
            self._journal.reserve(f"{prefix}{i}", "p", config_hash="h", document={}).pipeline_id
            for i in range(times)
        ]
