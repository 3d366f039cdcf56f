import pytest

from aether_dagster.crypto import Chain, ChainLink
from aether_dagster.errors import JournalError, UnknownExecution
from aether_dagster.journal import Journal
from tests.journal.builders import reserve


def chain(*names: str) -> list[ChainLink]:
    made = Chain("pipeline_01H3XYZ9")
    for name in names:
        made.add(name, name.encode())
    return made.links


def test_recorded_files_are_read_back_in_order(journal: Journal, execution: str) -> None:
    links = chain("a", "b", "c")
    journal.record_files(execution, links[:2], known=0)
    journal.record_files(execution, links[2:], known=2)
    assert journal.history_files(execution) == links


def test_what_was_never_written_gives_way(journal: Journal, execution: str) -> None:
    journal.record_files(execution, chain("a", "b", "c"), known=0)
    again = chain("a", "x", "y", "z")
    journal.record_files(execution, again[1:], known=3)
    assert journal.history_files(execution) == again


def test_two_writers_do_not_record_side_by_side(journal: Journal, execution: str) -> None:
    links = chain("a", "b", "c")
    journal.record_files(execution, links[:1], known=0)
    for links_of_another, known in (
        (chain("x"), 0),
        (links[1:2], 0),
        (links[2:], 1),
        (chain("other", "b")[1:], 1),
    ):
        with pytest.raises(JournalError, match="by another process"):
            journal.record_files(execution, links_of_another, known=known)
    assert journal.history_files(execution) == links[:1]


def test_executions_do_not_see_each_others_files(journal: Journal, execution: str) -> None:
    other = reserve(journal).pipeline_id
    journal.record_files(execution, chain("a"), known=0)
    assert journal.history_files(other) == []
    journal.record_files(other, chain("a"), known=0)
    journal.prune([other])
    assert len(journal.history_files(execution)) == 1


def test_an_unknown_execution_has_no_files(journal: Journal) -> None:
    with pytest.raises(UnknownExecution):
        journal.history_files("pipeline_00000000")
