from pathlib import Path

import pytest

from aether_dagster.crypto import Key
from aether_dagster.errors import NotSealed, SnapshotError
from aether_dagster.snapshot import HistoryStore, read_execution

FOLDER = "2023-07-20_133452_pipeline_01H3XYZ9"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    store = HistoryStore(str(tmp_path))
    store.create(FOLDER)
    for attempt in (10, 2, 1):
        name = f"state_node_load_it_01H7XZAB_attempt{attempt}.json"
        store.write(FOLDER, name, b'{"retry_count": %d}' % (attempt - 1))
    store.write(FOLDER, "state_node_load_it_01H7XZAB_final.json", b'{"retry_count": 9}')
    store.write(FOLDER, "state_init.json", b'{"nodes": {}}')
    return f"{tmp_path}/{FOLDER}"


def test_a_folder_is_read_by_step_names_and_attempts_in_order(folder: str) -> None:
    history = read_execution(folder)
    assert history.folder == FOLDER
    assert history.init == {"nodes": {}}
    assert [record["retry_count"] for record in history.attempts["load_it"]] == [0, 1, 9]
    assert history.finals == {"load_it": {"retry_count": 9}}
    assert history.final is None
    assert history.unexpected == ()


def test_a_folder_is_found_from_inside_it(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert read_execution(".").folder == FOLDER


def test_what_does_not_belong_there_is_named_and_not_read(folder: str) -> None:
    (Path(folder) / "notes.txt").write_text("mine")
    assert read_execution(folder).unexpected == ("notes.txt",)


def test_a_damaged_file_is_an_error_which_names_it(folder: str) -> None:
    (Path(folder) / "state_final.json").write_text('{"pipeline": {')
    with pytest.raises(SnapshotError, match=rf"{FOLDER}/state_final\.json is damaged"):
        read_execution(folder)


def test_a_plain_folder_is_not_opened_with_keys(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", Key.generate().text())
    with pytest.raises(NotSealed, match=r"state_init\.json is plain.*Read .* without keys"):
        read_execution(folder, keys=["env:KEY"])


def test_a_folder_which_is_not_there_is_an_error_which_names_it(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="nothing-here"):
        read_execution(str(tmp_path / "nothing-here"))
