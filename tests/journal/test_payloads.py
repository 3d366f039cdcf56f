from pathlib import Path

import pytest

from aether_dagster.crypto import Key, KeyRing
from aether_dagster.errors import NotSealed, SealError, Tampered, UnknownKey
from aether_dagster.journal import Journal
from tests.journal.builders import PLUGIN, X, artifact, initialization, outcome, reserve

OLD, NEW = Key.generate(), Key.generate()
MARK = "a value which nobody else may read"


def begin(journal: Journal) -> str:
    pipeline_id = reserve(journal).pipeline_id
    journal.annotate(pipeline_id, resolved={"variables": {"v": MARK}})
    journal.append(pipeline_id, [initialization(pipeline_id, "load", "plot")])
    journal.append(pipeline_id, [outcome("d1", "load", 1, "executing")])
    journal.append(pipeline_id, [outcome("d2", "load", 1, "succeeded", {"rows": MARK})])
    with journal.transaction(pipeline_id, PLUGIN) as tx:
        tx.set(X, MARK)
        tx.private["seen"] = MARK
    return pipeline_id


@pytest.fixture
def sealed(journal_url: str) -> str:
    with Journal.open(journal_url, keys=KeyRing([OLD])) as journal:
        return begin(journal)


def every_text(url: str) -> str:
    with Journal.open(url) as journal, journal._database.reading() as session:
        names = ["versions", "resolutions", "private", "checkpoints", "payload_keys"]
        rows = [session.sql(f"SELECT * FROM aether_{name}").fetchall() for name in names]
    return repr(rows)


def test_what_is_kept_of_a_sealed_execution_is_read_back_with_the_key(
    journal_url: str, sealed: str
) -> None:
    with Journal.open(journal_url, keys=KeyRing([NEW, OLD])) as journal:
        state = journal.state(sealed)
        assert state["nodes"]["load"]["output_payload"] == {"rows": MARK}
        assert state["context"]["artifacts"] == {"x": MARK}
        assert journal.record(sealed).resolved == {"variables": {"v": MARK}}
        assert [version.number for version in journal.versions(sealed)] == [1, 2, 3, 4]
        assert len(journal.tail(pipeline_id=sealed, timeout=0).versions) == 4
        assert len(journal.tail(timeout=0).versions) == 4
        with journal.transaction(sealed, PLUGIN) as tx:
            assert tx.private["seen"] == MARK


def test_no_payload_of_a_sealed_execution_is_in_the_database(journal_url: str, sealed: str) -> None:
    text = every_text(journal_url)
    assert MARK not in text
    assert "output_payload" not in text
    with Journal.open(journal_url) as journal:
        begin(journal)
    assert MARK in every_text(journal_url)


def test_no_payload_is_in_the_files_of_a_journal_in_sqlite(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "state.db", keys=KeyRing([OLD])) as journal:
        pipeline_id = begin(journal)
        for number in range(600):
            journal.append(pipeline_id, [artifact(f"a{number}", "x", MARK)])
        assert journal.replica(pipeline_id).version == 604
        for path in tmp_path.iterdir():
            assert MARK.encode() not in path.read_bytes(), path


def test_without_the_key_executions_are_listed_and_not_opened(
    journal_url: str, sealed: str
) -> None:
    with Journal.open(journal_url) as journal:
        (record,) = journal.executions()
        assert (record.pipeline_id, record.head) == (sealed, 4)
        for read in (journal.state, journal.versions, journal.record):
            with pytest.raises(UnknownKey, match="no key was given"):
                read(sealed)
        with pytest.raises(UnknownKey, match="no key was given"):
            journal.append(sealed, [artifact("more", "x", "y")])
    with (
        Journal.open(journal_url, keys=KeyRing([NEW])) as journal,
        pytest.raises(UnknownKey, match=f"{OLD.id}.*{NEW.id}"),
    ):
        journal.state(sealed)


def test_an_execution_begun_plain_stays_plain_whatever_keys_there_are(journal_url: str) -> None:
    with Journal.open(journal_url) as journal:
        plain = begin(journal)
    with Journal.open(journal_url, keys=KeyRing([OLD])) as journal:
        journal.append(plain, [artifact("more", "x", "other")])
    with Journal.open(journal_url) as journal:
        assert journal.state(plain)["context"]["artifacts"] == {"x": "other"}


def test_a_payload_put_in_anothers_place_is_found(journal_url: str, sealed: str) -> None:
    with Journal.open(journal_url) as journal, journal._database.writing() as session:
        session.sql(
            "UPDATE aether_versions SET deltas = (SELECT v.deltas FROM aether_versions v "
            "WHERE v.number = 2 AND v.execution = aether_versions.execution) WHERE number = 3"
        )
    with (
        Journal.open(journal_url, keys=KeyRing([OLD])) as journal,
        pytest.raises(Tampered, match=rf"{sealed} \(version 3\).*another place"),
    ):
        journal.versions(sealed)


def test_a_plain_payload_put_into_a_sealed_execution_is_not_taken(
    journal_url: str, sealed: str
) -> None:
    with Journal.open(journal_url) as journal, journal._database.writing() as session:
        session.sql("UPDATE aether_versions SET deltas = '[]' WHERE number = 2")
    with (
        Journal.open(journal_url, keys=KeyRing([OLD])) as journal,
        pytest.raises(NotSealed, match="version 2"),
    ):
        journal.versions(sealed)


def test_a_changed_payload_is_found(journal_url: str, sealed: str) -> None:
    with Journal.open(journal_url) as journal, journal._database.writing() as session:
        session.sql("UPDATE aether_versions SET deltas = replace(deltas, 'tag', 'gat')")
    with (
        Journal.open(journal_url, keys=KeyRing([OLD])) as journal,
        pytest.raises(SealError, match="version 1"),
    ):
        journal.versions(sealed)


def test_a_renumbered_execution_keeps_a_key_of_its_own(journal_url: str) -> None:
    with Journal.open(journal_url, keys=KeyRing([OLD])) as journal:
        pipeline_id = journal.renumber(reserve(journal).pipeline_id).pipeline_id
        journal.append(pipeline_id, [initialization(pipeline_id, "load")])
    with Journal.open(journal_url) as journal, pytest.raises(UnknownKey):
        journal.state(pipeline_id)
    with Journal.open(journal_url, keys=KeyRing([OLD])) as journal:
        assert list(journal.state(pipeline_id)["nodes"]) == ["load"]


def test_a_rotation_gives_every_execution_to_the_new_key_alone(
    journal_url: str, sealed: str
) -> None:
    with Journal.open(journal_url, keys=KeyRing([OLD])) as journal:
        other = begin(journal)
    with Journal.open(journal_url) as journal:
        begin(journal)
    with Journal.open(journal_url, keys=KeyRing([NEW, OLD])) as journal:
        assert journal.rekey() == (2, 2)
        assert journal.rekey() == (0, 2)
    with Journal.open(journal_url, keys=KeyRing([NEW])) as journal:
        assert journal.state(sealed)["context"]["artifacts"] == {"x": MARK}
        assert journal.state(other)["context"]["artifacts"] == {"x": MARK}
    with Journal.open(journal_url, keys=KeyRing([OLD])) as journal, pytest.raises(UnknownKey):
        journal.state(sealed)


def test_pruning_takes_the_key_too(journal_url: str, sealed: str) -> None:
    with Journal.open(journal_url) as journal:
        journal.prune([sealed])
        with journal._database.reading() as session:
            assert session.sql("SELECT * FROM aether_payload_keys").fetchall() == []
