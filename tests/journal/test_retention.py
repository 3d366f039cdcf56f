from pathlib import Path

import pytest

from aether_dagster.crypto import ChainLink
from aether_dagster.errors import UnknownExecution
from aether_dagster.journal import Journal
from aether_dagster.journal.outbox import CallEnd, HookCursor
from aether_dagster.journal.schema import OF_ONE_EXECUTION, documents, executions
from tests.journal.builders import PLUGIN, artifact, reserve


def filled(journal: Journal, run_id: str, kilobytes: int) -> str:
    made = journal.reserve(run_id, "p", config_hash="h", document={"run": run_id[:1]})
    journal.annotate(made.pipeline_id, resolved={"a": 1})
    journal.record_files(made.pipeline_id, [ChainLink(0, "a.json", None, "l", None)], known=0)
    journal.acquire(made.pipeline_id, "me", 60)
    journal.outbox.register([HookCursor(made.pipeline_id, "a.A", "a@1.0.0", "file:/a.py")])
    journal.outbox.begin_call(made.pipeline_id, event="e", hook="a.A", plugin="a@1.0.0")
    for i in range(kilobytes):
        journal.append(made.pipeline_id, [artifact(f"d{i}", "x", "v" * 1000 + str(i))])
    with journal.transaction(made.pipeline_id, PLUGIN) as tx:
        tx.private["k"] = 1
    return made.pipeline_id


def test_of_a_pruned_execution_nothing_is_left_and_others_stay(journal: Journal) -> None:
    gone, kept = filled(journal, "a1", 3), filled(journal, "a2", 3)
    state = journal.state(kept)
    size = journal.size(gone)
    assert journal.prune([gone]) == size > 3000
    with pytest.raises(UnknownExecution):
        journal.state(gone)
    assert journal.find("a1", "p") is None
    assert (journal.state(kept), journal.record(kept).document) == (state, {"run": "a"})
    assert [e.pipeline_id for e in journal.executions()] == [kept]
    journal.prune([kept])
    with journal._database.reading() as session:
        for table in (*OF_ONE_EXECUTION, executions, documents):
            count = session.sql(f"SELECT count(*) FROM {table.name}").fetchone()[0]
            assert (table.name, count) == (table.name, 0)


def test_who_follows_triggers_misses_none_after_pruning(journal: Journal) -> None:
    old, new = reserve(journal).pipeline_id, reserve(journal).pipeline_id

    def trigger(execution: str) -> int:
        call = journal.outbox.begin_call(execution, event="e", hook="a.A", plugin="a@1.0.0")
        journal.outbox.end_calls([CallEnd(call, "triggered", 1.0, {"job": "j"})])
        return call

    after = trigger(old)
    journal.prune([old])
    assert journal.outbox.triggered("a.A", 0) == []
    later = trigger(new)
    assert [call.number for call in journal.outbox.triggered("a.A", after)] == [later]


def test_pruning_makes_the_file_smaller(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with Journal.open(path) as journal:
        made = [filled(journal, f"r{i}", 400) for i in range(5)]
        assert journal.prune([]) == 0
        assert journal.prune(made[:1]) > 400_000
        before = path.stat().st_size
        assert journal.prune(made[1:4]) > 1_200_000
        assert path.stat().st_size < before * 0.5
        assert journal.prune(made[:4]) == 0


def test_a_tail_misses_nothing_after_pruning(journal: Journal) -> None:
    old, new = reserve(journal).pipeline_id, reserve(journal).pipeline_id
    journal.append(new, [artifact("a", "x", "1")])
    journal.append(old, [artifact("a", "x", "1")])
    cursor = journal.cursor()
    journal.prune([old])
    journal.append(new, [artifact("b", "x", "2")])
    assert [v.number for v in journal.tail(cursor, timeout=1).versions] == [2]


def test_writers_go_on_while_others_are_pruned(journal_url: str, journal: Journal) -> None:
    made = [filled(journal, f"r{i}", 20) for i in range(3)]
    cursor = journal.cursor(made[2])
    with Journal.open(journal_url) as other:
        journal.prune(made[:2])
        assert other.append(made[2], [artifact("new", "x", "1")]) == 21
        assert other.tail(cursor, 1, made[2]).versions
