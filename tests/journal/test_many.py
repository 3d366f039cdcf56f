"""What is done often costs the same in a journal of very many executions as in a small one."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aether_dagster.journal import Journal, executions, outbox, unfinished
from aether_dagster.journal.statement import Statement
from tests.journal.builders import artifact, initialization, reserve
from tests.journal.many import HOOKS, add_ended

FEW, MANY = 50, 4000
_STEPS_AT_ONCE = 10


class Counted:
    """A journal in a file which counts the steps of SQLite's machine."""

    def __init__(self, path: Path, count: int):
        self.journal = Journal.open(path)
        add_ended(self.journal, count)
        self.oldest = self.journal.executions()[-1]
        self.open = reserve(self.journal).pipeline_id
        self.journal.append(self.open, [initialization(self.open, "load")])
        self.steps = 0
        (self._connection,) = self.journal._database._open
        assert isinstance(self._connection, sqlite3.Connection)
        self._connection.execute("ANALYZE")

    def measure(self, work: Callable[["Counted"], object]) -> int:
        work(self)  # pages are read, statements compiled
        self.steps = 0
        self._connection.set_progress_handler(self._count, _STEPS_AT_ONCE)
        work(self)
        self._connection.set_progress_handler(None, 0)
        return self.steps

    def _count(self) -> None:
        self.steps += _STEPS_AT_ONCE


@pytest.fixture(scope="module")
def few_and_many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Counted, Counted]]:
    folder = tmp_path_factory.mktemp("many")
    both = Counted(folder / "few.db", FEW), Counted(folder / "many.db", MANY)
    yield both
    for counted in both:
        counted.journal.close()


WORK: dict[str, Callable[[Counted], object]] = {
    "the newest": lambda c: c.journal.executions(20),
    "the newest of a pipeline": lambda c: c.journal.executions(2, pipeline="pipeline-7"),
    "one": lambda c: c.journal.record(c.oldest.pipeline_id),
    "that of a run": lambda c: c.journal.find(c.oldest.run_id, c.oldest.pipeline),
    "those of a run": lambda c: c.journal.find_run(c.oldest.run_id),
    "those which have not ended": lambda c: c.journal.unfinished(),
    "what hooks were not told": lambda c: c.journal.outbox.behind(),
    "what a hook was not told": lambda c: c.journal.outbox.behind(HOOKS[0]),
    "the triggers of a hook": lambda c: c.journal.outbox.triggered(HOOKS[0], 0),
    "the ledger": lambda c: c.journal.outbox.calls(c.oldest.pipeline_id),
    "a cursor": lambda c: c.journal.cursor(),
    "a tail": lambda c: c.journal.tail(c.journal.cursor(), timeout=0),
    "a state": lambda c: c.journal.state(c.oldest.pipeline_id),
    "a new one": lambda c: reserve(c.journal),
    "a version": lambda c: c.journal.append(c.open, [artifact(str(c.steps), "x", "1")]),
    "a lease": lambda c: c.journal.acquire(c.open, "me", 60),
}


@pytest.mark.parametrize("what", WORK)
def test_it_costs_the_same_among_many(what: str, few_and_many: tuple[Counted, Counted]) -> None:
    few, many = (counted.measure(WORK[what]) for counted in few_and_many)
    assert many <= 1.5 * few + 5 * _STEPS_AT_ONCE


@pytest.mark.postgres
def test_no_table_is_scanned_in_postgresql(postgres_schema: str) -> None:
    statements: dict[str, tuple[Statement, dict[str, object]]] = {
        "newest": (executions._NEWEST, {"limit": 20}),
        "of a pipeline": (executions._NEWEST_OF_PIPELINE, {"limit": 20, "pipeline": "pipeline-7"}),
        "of a run": (executions._OF_RUN, {"run_id": "copy-7"}),
        "not ended": (unfinished._UNFINISHED, {"lease": "execution"}),
        "not told": (outbox._OPEN_ALL, {}),
        "not told to a hook": (outbox._OPEN_OF_HOOK, {"hook": HOOKS[0]}),
        "triggers": (outbox._TRIGGERED, {"hook": HOOKS[0], "after": 0}),
        "ledger": (outbox._CALLS, {"execution": 1}),
    }
    with Journal.open(postgres_schema) as journal:
        add_ended(journal, MANY)
        with journal._database._lent() as connection:
            connection.execute("ANALYZE")
            for what, (statement, parameters) in statements.items():
                sql, constants = statement.compiled("postgresql")
                rows = connection.execute(f"EXPLAIN {sql}", {**constants, **parameters})
                plan = "\n".join(row[0] for row in rows.fetchall())
                # There are as many leases as executions which run, and one document here.
                scans = re.findall(r"Seq Scan on aether_(\w+)", plan)
                assert {*scans} <= {"leases", "documents"}, f"{what}:\n{plan}"
        newest = journal.tail(journal.cursor(), timeout=0)
        assert newest.versions == []


def test_what_is_copied_is_what_a_journal_holds(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "state.db") as journal:
        oldest = add_ended(journal, 30)
        records = journal.executions()
        assert len({record.run_id for record in records}) == len(records) == 30
        assert records[-1].pipeline_id == oldest
        for record in (records[0], records[-1]):
            assert len(journal.versions(record.pipeline_id)) == record.finalized == 6
            assert journal.state(record.pipeline_id)["nodes"]["plot"]["status"] == "succeeded"
            assert len(journal.outbox.calls(record.pipeline_id)) == 6
        assert reserve(journal).pipeline_id > records[0].pipeline_id
