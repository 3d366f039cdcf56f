import os
import subprocess
import sys
from pathlib import Path

import pytest

from aether_dagster.errors import JournalError
from aether_dagster.journal import Journal
from tests.journal.builders import reserve


def test_a_path_is_a_url_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Journal.open("state.db") as journal:
        execution = reserve(journal).pipeline_id
        assert journal.url == f"sqlite:///{tmp_path}/state.db"
        monkeypatch.chdir("/")
        assert reserve(journal).created
    for place in (tmp_path / "state.db", str(tmp_path / "state.db"), journal.url):
        with Journal.open(place) as again:
            assert again.record(execution).pipeline_id == execution


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "ü ?#%41&mode=memory"
    with Journal.open(folder / "state.db") as journal:
        execution = reserve(journal).pipeline_id
    assert (folder / "state.db").is_file()
    with Journal.open(journal.url) as again:
        assert again.record(execution).pipeline_id == execution


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "in memory would be lost"),
        ("sqlite:///:memory:", "in memory would be lost"),
        ("mysql://host/db", "cannot be in 'mysql'"),
        ("nonsense://", "cannot be in 'nonsense'"),
        ("", "in memory would be lost|cannot be"),
    ],
)
def test_what_no_journal_can_be_is_said(url: str, message: str) -> None:
    with pytest.raises(JournalError, match=message):
        Journal.open(url)


def test_the_same_state_on_both_engines(tmp_path: Path, journal: Journal, execution: str) -> None:
    with Journal.open(tmp_path / "other.db") as other:
        copy = reserve(other).pipeline_id
        for version in journal.versions(execution):
            other.append(copy, version.deltas)
        assert other.state(copy) == journal.state(execution)


def test_opening_costs_no_import_of_the_other_engine(tmp_path: Path) -> None:
    code = (
        "import sys; from aether_dagster.journal import Journal;"
        "Journal.open(sys.argv[1]).close();"
        "print([name for name in sys.modules if name in ('psycopg', 'dagster', 'psycopg2')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "state.db"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
