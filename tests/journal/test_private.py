import threading
from collections.abc import Callable

import pytest

from aether_dagster.errors import JournalError, WriteConflict
from aether_dagster.journal import Journal
from aether_dagster.journal.private import Private
from tests.journal.builders import PLUGIN, artifact, reserve


def test_a_plugin_remembers_json_for_one_execution(journal: Journal, execution: str) -> None:
    other = reserve(journal).pipeline_id
    with journal.transaction(execution, PLUGIN) as tx:
        tx.private["posted"] = {"ü": [1, None, True]}
        tx.private["none"] = None
        assert dict(tx.private) == {"posted": {"ü": [1, None, True]}, "none": None}
    with journal.transaction(execution, "Notes@2.0.0") as tx:
        assert tx.private["posted"] == {"ü": [1, None, True]}
        assert tx.private["none"] is None
        assert len(tx.private) == 2
    with journal.transaction(execution, "Slack@1.0.0") as tx:
        assert dict(tx.private) == {}
    with journal.transaction(other, PLUGIN) as tx:
        assert "posted" not in tx.private


def test_it_is_no_part_of_the_state_and_no_version(journal: Journal, execution: str) -> None:
    before = journal.state(execution)
    with journal.transaction(execution, PLUGIN) as tx:
        tx.private["k"] = 1
    assert tx.version is None
    assert (journal.state(execution), journal.record(execution).head) == (before, 1)


def test_what_is_deleted_is_forgotten(journal: Journal, execution: str) -> None:
    with journal.transaction(execution, PLUGIN) as tx:
        tx.private.update(a=1, b=2)
        del tx.private["a"]
        with pytest.raises(KeyError):
            tx.private["a"]
    with journal.transaction(execution, PLUGIN) as tx:
        assert tx.private.pop("b") == 2
        with pytest.raises(KeyError):
            del tx.private["a"]
    with journal.transaction(execution, PLUGIN) as tx:
        assert list(tx.private) == []


def test_what_is_no_json_is_refused_where_it_is_written(journal: Journal, execution: str) -> None:
    with (
        pytest.raises(JournalError, match="Only JSON"),
        journal.transaction(execution, PLUGIN) as tx,
    ):
        tx.private["k"] = object()


def elsewhere(journal: Journal, execution: str, key: str) -> None:
    def write() -> None:
        with journal.transaction(execution, PLUGIN) as tx:
            tx.private[key] = "theirs"

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()


def read_key(private: Private) -> None:
    private.get("a")


def write_key(private: Private) -> None:
    private["a"] = 1


def read_all(private: Private) -> None:
    list(private)


@pytest.mark.parametrize("use", [read_key, write_key, read_all])
def test_a_key_which_was_used_conflicts(
    journal: Journal, execution: str, use: Callable[[Private], None]
) -> None:
    def attempt() -> None:
        with journal.transaction(execution, PLUGIN) as tx:
            use(tx.private)
            tx.private["mine"] = 1
            elsewhere(journal, execution, "a")

    with pytest.raises(WriteConflict, match=r"private\.a"):
        attempt()


def test_keys_of_their_own_do_not_conflict(journal: Journal, execution: str) -> None:
    with journal.transaction(execution, PLUGIN) as tx:
        read_key(tx.private)
        tx.private["mine"] = 1
        elsewhere(journal, execution, "another")
    with journal.transaction(execution, PLUGIN) as tx:
        assert dict(tx.private) == {"another": "theirs", "mine": 1}


def test_a_write_which_depends_on_the_state_conflicts_with_the_state(
    journal: Journal, execution: str
) -> None:
    def attempt() -> None:
        with journal.transaction(execution, PLUGIN) as tx:
            tx.private["copy"] = tx.get("context.artifacts.x")
            journal.append(execution, [artifact("a", "x", "1")])

    with pytest.raises(WriteConflict, match=r"context\.artifacts\.x"):
        attempt()
