import time

import pytest

from aether_dagster.errors import JournalError
from aether_dagster.journal import Journal
from aether_dagster.journal.schema import SCHEMA_VERSION
from tests.journal.actor import FORKSERVER
from tests.journal.builders import artifact


def test_opening_again_keeps_what_is_there(
    journal_url: str, journal: Journal, execution: str
) -> None:
    with Journal.open(journal_url) as other:
        assert other.state(execution) == journal.state(execution)


def test_a_journal_of_a_newer_version_is_left_alone(journal_url: str, journal: Journal) -> None:
    with journal._database.writing() as session:
        session.sql("UPDATE aether_journal SET value = 99 WHERE name = 'schema'")
    with pytest.raises(JournalError, match=f"schema version 99.*knows {SCHEMA_VERSION}.*Upgrade"):
        Journal.open(journal_url)


def test_a_reader_makes_no_tables(journal_url: str) -> None:
    with pytest.raises(JournalError, match=r"could be read|open it once for writing"):
        Journal.open(journal_url, read_only=True)
    Journal.open(journal_url).close()
    with Journal.open(journal_url, read_only=True) as reader:
        assert reader.executions() == []


def _open(url: str, start: float, answers: object) -> None:
    time.sleep(max(0, start - time.monotonic()))
    try:
        with Journal.open(url) as journal:
            made = journal.reserve("run", "p", config_hash="h", document={})
            journal.append(made.pipeline_id, [artifact("a", "x", "1")])
            answers.put(made.pipeline_id)  # type: ignore[attr-defined]
    except Exception as error:  # noqa: BLE001 - the test is told
        answers.put(repr(error))  # type: ignore[attr-defined]


def test_processes_which_open_a_new_journal_at_once_make_its_tables_once(journal_url: str) -> None:
    answers = FORKSERVER.SimpleQueue()
    start = time.monotonic() + 0.5
    processes = [
        FORKSERVER.Process(target=_open, args=(journal_url, start, answers)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    found = {answers.get() for _ in processes}
    for process in processes:
        process.join()
    with Journal.open(journal_url) as journal:
        assert found == {execution.pipeline_id for execution in journal.executions()}
