import os
import subprocess
import sys
from pathlib import Path

import pytest

from aether_dagster.errors import ExecutionMismatch, ScriptError
from aether_dagster.journal import Journal
from aether_dagster.manager import StateManager
from aether_dagster.script import Document, parse_document
from aether_dagster.snapshot import HistoryStore, folder_name
from aether_dagster.state.ids import encode_suffix, pipeline_number
from aether_dagster.values import ValueStore
from tests import schemas
from tests.manager.conftest import DOCUMENT, ENVIRON

NOW = 1_700_000_000.5
PLUGINS = ("SlackNotifier@3.2.1", "DataValidator@1.4.0")

INITIALIZE = f"""
import sys
from aether_dagster.journal import Journal
from aether_dagster.manager import StateManager
from aether_dagster.script import parse_document
from aether_dagster.snapshot import HistoryStore
from aether_dagster.values import ValueStore

database, values, history = sys.argv[1:]
document = parse_document({DOCUMENT!r}, file="small.aether.yaml")
manager = StateManager(Journal.open(database), ValueStore(values))
print("ready", flush=True)
sys.stdin.readline()
execution = manager.initialize(
    document, run_id="run", environ={ENVIRON!r}, history=HistoryStore(history)
)
print(execution.id, execution.record.history, execution.replica.version, flush=True)
"""


@pytest.fixture
def manager(journal: Journal, values: ValueStore) -> StateManager:
    return StateManager(journal, values, now=lambda: NOW)


def test_initialization_gives_the_documented_state(
    manager: StateManager, document: Document
) -> None:
    execution = manager.initialize(document, run_id="run", environ=ENVIRON, plugins=PLUGINS)
    state = execution.replica.document()
    assert schemas.errors("state", state) == []
    assert execution.replica.version == 1
    assert state["pipeline"] == {
        "id": execution.id,
        "version": "2.1.0",
        "start_timestamp": NOW,
        "config_hash": document.config_hash,
    }
    number = pipeline_number(execution.id)
    assert number == int(NOW * 1000) // 1024
    assert [node["node_id"] for node in state["nodes"].values()] == [
        f"{step}_{encode_suffix(number + 1 + index)}"
        for index, step in enumerate(("load", "check", "write"))
    ]
    assert state["context"]["active_plugins"] == sorted(PLUGINS)


def test_node_suffixes_count_over_the_whole_document(
    manager: StateManager, document: Document
) -> None:
    execution = manager.initialize(document, run_id="run", environ=ENVIRON, selected=["write"])
    suffix = encode_suffix(pipeline_number(execution.id) + 3)
    assert execution.replica.nodes() == ["write"]
    assert execution.replica.node("write")["node_id"] == f"write_{suffix}"


def test_processes_which_initialize_together_share_one_execution(
    tmp_path: Path, journal: Journal
) -> None:
    arguments = [
        journal.label,
        str(tmp_path / "values"),
        str(tmp_path / "history"),
    ]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", INITIALIZE, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    answers = {process.communicate("go\n")[0] for process in processes}
    assert len(answers) == 1
    (folder,) = (tmp_path / "history").iterdir()
    (record,) = journal.executions()
    assert answers == {f"{record.pipeline_id} {folder} 1\n"}


def test_a_document_which_changed_meanwhile_is_refused(
    manager: StateManager, document: Document
) -> None:
    first = manager.initialize(document, run_id="run", environ=ENVIRON)
    changed = parse_document(DOCUMENT.replace("retries: 1", "retries: 2"), file="s.aether.yaml")
    with pytest.raises(ExecutionMismatch, match="start a new run") as caught:
        manager.initialize(changed, run_id="run", environ=ENVIRON)
    assert first.record.config_hash in str(caught.value)


def test_a_folder_of_another_journals_execution_is_left_alone(
    manager: StateManager, document: Document, tmp_path: Path
) -> None:
    history = HistoryStore(str(tmp_path / "history"))
    number = int(NOW * 1000) // 1024
    taken = folder_name(NOW, f"pipeline_{encode_suffix(number)}")
    history.create(taken)
    execution = manager.initialize(document, run_id="run", environ=ENVIRON, history=history)
    assert pipeline_number(execution.id) == number + 1
    assert history.names(taken) == []
    assert history.folders() == [taken, folder_name(NOW, execution.id)]
    # What was resolved knows the new id as well.
    assert execution.resolved.system["EXECUTION_ID"] == execution.id


def test_a_name_which_is_missing_leaves_no_folder_and_can_be_given_later(
    manager: StateManager, document: Document, tmp_path: Path
) -> None:
    history = HistoryStore(str(tmp_path / "history"))
    with pytest.raises(ScriptError, match="GREETING"):
        manager.initialize(document, run_id="run", environ={}, history=history)
    assert not (tmp_path / "history").exists()
    execution = manager.initialize(document, run_id="run", environ=ENVIRON, history=history)
    assert history.folders() == [folder_name(NOW, execution.id)]


def test_an_initialization_whose_process_died_is_taken_over(
    manager: StateManager, document: Document, journal: Journal
) -> None:
    record = journal.reserve(
        "run", "small", config_hash=document.config_hash, document=document.canonical()
    )
    journal.acquire(record.pipeline_id, "a process which died", 0.3)
    execution = manager.initialize(document, run_id="run", environ=ENVIRON)
    assert execution.id == record.pipeline_id
    assert execution.replica.version == 1


def test_who_keeps_an_execution_has_its_lease_from_the_start(
    manager: StateManager, document: Document, journal: Journal
) -> None:
    kept = manager.initialize(document, run_id="kept", environ=ENVIRON, keep=True)
    assert journal.lease(kept.id) is not None
    attended = manager.initialize(document, run_id="attended", environ=ENVIRON)
    assert journal.lease(attended.id) is None
