import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests import audit
from tests.cli.histories import Kept, keep

EVENTS = {
    "quakes__load": ["STEP_START", "STEP_UP_FOR_RETRY", "STEP_RESTARTED", "STEP_SUCCESS"],
    "quakes__plot": ["STEP_START", "STEP_SUCCESS"],
}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """A run with Dagster's log of it."""
    monkeypatch.chdir(tmp_path)
    kept = keep("executions", steps=("load", "plot"))
    write_log(EVENTS)
    return kept


def write_log(events: dict[str, list[str]]) -> None:
    file = Path(".aether/history/runs/run-0.db")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    rows = [(step, kind) for step, kinds in events.items() for kind in kinds]
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE event_logs (id INTEGER, step_key, dagster_event_type)")
        database.executemany(
            "INSERT INTO event_logs VALUES (?, ?, ?)",
            [(number, *row) for number, row in enumerate(rows)],
        )
        database.commit()


def audit_here() -> list[str]:
    """What is found; afterwards, the audit of the whole session leaves this folder out."""
    found = list(audit.contradictions(Path.cwd()))
    Path(audit.TAMPERED).touch()
    return found


def test_accounts_which_agree_are_no_contradiction(kept: Kept) -> None:
    assert audit_here() == []


def test_what_dagster_tells_otherwise_is_found(kept: Kept) -> None:
    write_log({**EVENTS, "quakes__plot": ["STEP_START", "STEP_FAILURE"]})
    (found,) = audit_here()
    assert "plot is ('succeeded', 1); Dagster's log says ('failed', 1)" in found


@pytest.mark.parametrize(
    ("words", "agree"),
    [
        pytest.param(["STEP_START"], True, id="in the attempt which was committed"),
        pytest.param(
            ["STEP_START", "STEP_UP_FOR_RETRY", "STEP_RESTARTED"], False, id="in another one"
        ),
        pytest.param(["STEP_START", "STEP_UP_FOR_RETRY"], False, id="after the attempt"),
    ],
)
def test_a_run_killed_before_dagster_wrote_of_a_success_is_no_contradiction(
    words: list[str], agree: bool, kept: Kept
) -> None:
    write_log({**EVENTS, "quakes__plot": words})
    assert (audit_here() == []) == agree


def test_a_final_file_which_is_not_the_state_at_the_end_is_found(kept: Kept) -> None:
    file = Path("executions", kept.folder, "state_final.json")
    file.write_text(file.read_text().replace('"secret_store": null', '"secret_store": "other"'))
    (found,) = audit_here()
    assert found.endswith("state_final.json is not the state at the end")
