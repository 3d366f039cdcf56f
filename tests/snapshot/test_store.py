import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from aether_dagster.errors import FolderExists, SnapshotError
from aether_dagster.snapshot import HistoryStore

FOLDER = "2023-07-20_133452_pipeline_01H3XYZ9"
LATER = "2023-07-20_133453_pipeline_01H3XYZA"


@pytest.fixture(params=["path", "file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "memory":
        root = f"/{uuid4().hex}/executions"
        yield f"memory:/{root}"
        fsspec.filesystem("memory").rm(root.rsplit("/", 1)[0], recursive=True)
    else:
        prefix = "file://" if request.param == "file" else ""
        yield f"{prefix}{tmp_path}/deep/executions"


def test_a_written_file_is_read_back_and_listed(url: str) -> None:
    store = HistoryStore(url)
    store.create(FOLDER)
    store.write(FOLDER, "state_init.json", b"{}\n")
    store.write(FOLDER, "state_final.json", b"[]\n")
    again = HistoryStore(url)
    assert again.names(FOLDER) == ["state_final.json", "state_init.json"]
    assert again.read(FOLDER, "state_init.json") == b"{}\n"


def test_a_file_written_again_is_replaced(url: str) -> None:
    store = HistoryStore(url)
    store.create(FOLDER)
    store.write(FOLDER, "state_init.json", b"a much longer content\n")
    store.write(FOLDER, "state_init.json", b"{}\n")
    assert store.read(FOLDER, "state_init.json") == b"{}\n"


def test_a_folder_is_created_once(url: str) -> None:
    HistoryStore(url).create(FOLDER)
    HistoryStore(url).write(FOLDER, "state_init.json", b"{}\n")
    with pytest.raises(FolderExists, match="belongs to another execution") as caught:
        HistoryStore(url).create(FOLDER)
    assert caught.value.folder == FOLDER
    assert HistoryStore(url).names(FOLDER) == ["state_init.json"]


def test_executions_are_listed_oldest_first_and_nothing_else_is(url: str) -> None:
    store = HistoryStore(url)
    for folder in (LATER, FOLDER):
        store.create(folder)
        store.write(folder, "state_init.json", b"{}\n")
    store.create("not-an-execution")
    store.write("not-an-execution", "x", b"")
    assert store.folders() == [FOLDER, LATER]


def test_what_is_not_there_is_an_error_which_names_it(url: str) -> None:
    store = HistoryStore(url)
    store.create(FOLDER)
    with pytest.raises(SnapshotError, match=r"pipeline_01H3XYZ9/state_final\.json"):
        store.read(FOLDER, "state_final.json")
    with pytest.raises(SnapshotError, match="pipeline_01H3XYZA"):
        store.names(LATER)


def test_a_history_is_found_from_an_execution_folder(url: str) -> None:
    store = HistoryStore(url)
    store.create(FOLDER)
    store.write(FOLDER, "state_init.json", b"{}\n")
    for folder in (f"{url}/{FOLDER}", f"{url}/{FOLDER}/"):
        history, name = HistoryStore.containing(folder)
        assert name == FOLDER
        assert history.names(name) == ["state_init.json"]


def test_a_password_in_the_url_is_not_shown() -> None:
    url = "sftp://loader:hunter2@localhost:1/executions"
    with pytest.raises(SnapshotError) as caught:
        HistoryStore(url).create(FOLDER)
    assert "hunter2" not in str(caught.value)
    assert "sftp://loader:***@localhost:1/executions" in str(caught.value)


def test_an_unknown_kind_of_url_is_an_error_which_says_what_to_do() -> None:
    with pytest.raises(SnapshotError, match=r"nosuch://bucket.*choose another --state-history"):
        HistoryStore("nosuch://bucket")


def test_a_local_history_does_not_load_fsspec(tmp_path: Path) -> None:
    code = (
        "import json, sys; from aether_dagster.snapshot import HistoryStore\n"
        f"HistoryStore({str(tmp_path)!r}).create('x')\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert "fsspec" not in json.loads(output)
