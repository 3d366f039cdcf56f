import time

import pytest

from aether_dagster.errors import JournalError, UnknownExecution
from aether_dagster.journal import Journal
from aether_dagster.state import ids
from tests.journal.actor import actors
from tests.journal.builders import DOCUMENT, HASH, artifact, reserve

NOW = 1_689_876_543_212


def test_a_run_and_a_pipeline_have_one_execution(journal: Journal) -> None:
    first = reserve(journal, "run", "quakes", now_ms=NOW)
    again = reserve(journal, "run", "quakes", now_ms=NOW + 9_000_000)
    other = reserve(journal, "run", "tides", now_ms=NOW)
    assert (first.created, again.created, other.created) == (True, False, True)
    assert again.pipeline_id == first.pipeline_id != other.pipeline_id
    assert [e.pipeline_id for e in journal.find_run("run")] == [
        first.pipeline_id,
        other.pipeline_id,
    ]
    assert journal.find_run("another") == []


def test_an_id_is_the_time_part_of_a_ulid(journal: Journal) -> None:
    assert reserve(journal, now_ms=NOW).pipeline_id == "pipeline_" + ids.encode_suffix(NOW // 1024)


def test_ids_increase_even_when_the_clock_is_set_back(journal: Journal) -> None:
    made = [
        reserve(journal, now_ms=at).pipeline_id for at in (NOW, NOW, NOW - 3_600_000, NOW + 5000)
    ]
    assert made == sorted(set(made))


def test_the_id_of_a_pruned_execution_is_not_given_again(journal: Journal) -> None:
    gone = reserve(journal, now_ms=NOW).pipeline_id
    journal.prune([gone])
    assert reserve(journal, now_ms=NOW).pipeline_id > gone


def test_processes_which_create_at_once_get_ids_of_their_own(
    journal_url: str, journal: Journal
) -> None:
    with actors(journal_url, 3) as several:
        for number, actor in enumerate(several):
            # Two of the three race for the same runs.
            actor._connection.send(("reserve_many", f"r{number // 2}-", 20))
        made = []
        for actor in several:
            assert actor._connection.poll(60)
            made.append(actor._connection.recv())
    assert made[0] == made[1]
    assert len({*made[0], *made[2]}) == 40
    assert len(journal.executions()) == 40


def test_a_record_keeps_what_it_was_begun_with(journal: Journal) -> None:
    before = reserve(journal)
    made = journal.reserve(
        "run",
        "quakes",
        now_ms=NOW,
        config_hash=HASH,
        document={**DOCUMENT, "ü": [1, None]},
        partition="2023-07-20",
        resumed_from=before.pipeline_id,
    )
    journal.annotate(made.pipeline_id, history="file:///history/folder")
    journal.annotate(made.pipeline_id, resolved={"env": {"DEBUG": "true"}})
    journal.annotate(made.pipeline_id, resolved={"env": {"DEBUG": "false"}}, refused="closed")
    record = journal.record(made.pipeline_id)
    assert record == journal.find("run", "quakes")
    assert record.document == {**DOCUMENT, "ü": [1, None]}
    assert (record.partition, record.resumed_from) == ("2023-07-20", before.pipeline_id)
    assert (record.config_hash, record.created_at) == (HASH, NOW / 1000)
    assert record.history == "file:///history/folder"
    assert record.resolved == {"env": {"DEBUG": "false"}}
    assert record.refused == "closed"
    assert (record.status, record.head, record.committed_at) == ("refused", 0, None)


def test_annotations_are_for_executions_which_exist(journal: Journal) -> None:
    with pytest.raises(UnknownExecution):
        journal.annotate("pipeline_00000000", history="x")
    assert journal.find("run", "quakes") is None


def test_an_execution_gets_the_next_id_while_it_has_no_version(journal: Journal) -> None:
    old = reserve(journal, "run", now_ms=NOW)
    journal.annotate(old.pipeline_id, resolved={"a": 1})
    assert journal.acquire(old.pipeline_id, "me", 60)
    new = journal.renumber(old.pipeline_id, now_ms=NOW)
    assert new.pipeline_id > old.pipeline_id
    assert (new.run_id, new.resolved) == ("run", {"a": 1})
    assert (journal.lease(new.pipeline_id) or pytest.fail("no lease")).holder == "me"
    with pytest.raises(UnknownExecution):
        journal.record(old.pipeline_id)
    journal.append(new.pipeline_id, [artifact("a", "x", "1")])
    with pytest.raises(JournalError, match="cannot be renumbered"):
        journal.renumber(new.pipeline_id)


def test_lists_are_newest_first_and_by_pipeline(journal: Journal) -> None:
    made = [reserve(journal, pipeline=name).pipeline_id for name in ("a", "b", "a", "b", "a")]
    assert [e.pipeline_id for e in journal.executions()] == made[::-1]
    assert [e.pipeline_id for e in journal.executions(2)] == made[:2:-1]
    assert [e.pipeline_id for e in journal.executions(1, pipeline="b")] == [made[3]]
    assert journal.executions()[0].document is None


def test_lists_stay_cheap_with_many_executions(journal: Journal) -> None:
    made = reserve(journal)
    row = (
        "INSERT INTO aether_executions (number, run_id, pipeline, config_hash, document,"
        " created_at, head, committed_at, status) "
    )
    first = ids.pipeline_number(made.pipeline_id) + 1
    with journal._database.writing() as session:
        session.sql(
            row + "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)"
            f" SELECT {first} + i, 'many' || i, 'p' || (i / 1000), 'h', 'd', 0, 3, 0, 'succeeded'"
            " FROM n"
        )
    took = []
    for _ in range(5):
        began = time.perf_counter()
        assert len(journal.executions(20)) == 20
        assert len(journal.executions(20, pipeline="p7")) == 20
        assert journal.find("many777", "p0") is None  # its document is not there, its row is
        took.append(time.perf_counter() - began)
    assert min(took) < 0.1
