import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aether_dagster.cli.main import main
from aether_dagster.crypto import Key, KeyRing
from tests.cli.histories import Kept, keep

pytestmark = pytest.mark.usefixtures("journal_in_a_file")
KEY, OTHER = Key.generate(), Key.generate()
RING = KeyRing([KEY])
FINAL = "state_final.json"
Verify = Callable[..., list[dict[str, Any]]]


@pytest.fixture(params=["plain", "sealed"])
def kept(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    if request.param == "plain":
        return keep("executions")
    monkeypatch.setenv("AETHERSCRIPT_STATE_KEY", KEY.text())
    return keep("executions", RING)


@pytest.fixture
def verify(folder: Path, capsys: pytest.CaptureFixture[str]) -> Verify:
    def call(*arguments: str, status: int = 0) -> list[dict[str, Any]]:
        capsys.readouterr()
        found = main(["history", "verify", *arguments, "--no-dagster", "--json"])
        printed = capsys.readouterr()
        assert found == status, printed
        return json.loads(printed.out) if printed.out else []

    return call


def findings(results: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(found["kind"], found["file"]) for result in results for found in result["findings"]]


def test_a_whole_history_is_whole_however_it_is_named(verify: Verify, kept: Kept) -> None:
    for place in ([], ["executions"], [f"executions/{kept.folder}"], [kept.pipeline_id]):
        (result,) = verify(*place)
        assert (result["verdict"], result["journal"], result["files"]) == ("whole", True, 7)


def test_it_is_told_in_words_too(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "verify", "--no-dagster"]) == 0
    assert capsys.readouterr().out.startswith(f"whole  {kept.pipeline_id}  7 files, ")
    (Path("executions") / kept.folder / FINAL).write_bytes(b"")
    assert main(["history", "verify", "--no-dagster"]) == 9
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("damaged  ")
    assert second.startswith(f"  damaged  {FINAL}: ")


def test_each_kind_of_wrong_has_an_exit_status_of_its_own(verify: Verify, kept: Kept) -> None:
    path = Path("executions") / kept.folder
    backup = Path("backup")
    shutil.copytree(path, backup)

    def again() -> None:
        shutil.rmtree(path)
        shutil.copytree(backup, path)

    (path / kept.names[2]).write_bytes(b"{}\n")
    assert findings(verify(status=6 if KEY.id in (backup / FINAL).read_text() else 9))
    again()
    data = (path / FINAL).read_bytes()
    middle = len(data) // 2
    (path / FINAL).write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    assert findings(verify(status=9)) == [("damaged", FINAL)]
    again()
    (path / "notes.txt").write_text("mine")
    assert findings(verify(status=6)) == [("foreign", "notes.txt")]
    again()
    (path / kept.names[3]).unlink()
    assert findings(verify(status=7)) == [("missing", kept.names[3])]
    again()
    (path / FINAL).unlink()
    assert findings(verify(status=7)) == [("missing", FINAL)]
    again()
    for name in kept.names[4:]:
        (path / name).unlink()
    assert findings(verify(status=8)) == [("rolled back", None)]
    shutil.rmtree(path)
    assert findings(verify(status=7)) == [("missing", None)]


def test_an_execution_which_never_ended_is_said_to_be_one(verify: Verify, folder: Path) -> None:
    keep("executions", ended=False)
    (result,) = verify(status=4)
    assert findings([result]) == [("unfinished", None)]
    assert "aetherscript recover" in result["findings"][0]["message"]


def test_without_the_key_or_with_another_it_is_locked(
    verify: Verify, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep("executions", RING)
    (result,) = verify(status=5)
    assert "AETHERSCRIPT_STATE_KEY" in result["findings"][0]["message"]
    monkeypatch.setenv("AETHERSCRIPT_STATE_KEY", OTHER.text())
    (result,) = verify(status=5)
    assert KEY.id in result["findings"][0]["message"]
    assert OTHER.id in result["findings"][0]["message"]


def test_a_history_is_verified_without_its_journal_as_far_as_that_goes(
    verify: Verify, kept: Kept
) -> None:
    shutil.rmtree(".aether")
    (result,) = verify()
    assert (result["verdict"], result["journal"]) == ("whole", False)
    (Path("executions") / kept.folder / FINAL).unlink()
    assert findings(verify(status=4)) == [("unfinished", None)]


def test_a_history_behind_a_url_is_verified(
    verify: Verify, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETHERSCRIPT_STATE_KEY", KEY.text())
    url = f"memory://team-{folder.parent.name}/executions"
    keep(url, RING)
    (result,) = verify(url)
    assert (result["verdict"], result["journal"], result["sealed"]) == ("whole", True, True)


def test_a_history_which_was_moved_is_verified_against_the_journal_all_the_same(
    verify: Verify, kept: Kept
) -> None:
    shutil.move("executions", "archive")
    (result,) = verify("archive")
    assert (result["verdict"], result["journal"]) == ("whole", True)
    (Path("archive") / kept.folder / FINAL).unlink()
    assert findings(verify("archive", status=7)) == [("missing", FINAL)]


def test_executions_of_another_history_in_the_journal_are_not_missed(
    verify: Verify, kept: Kept
) -> None:
    keep("elsewhere", start=1689859999.0)
    (result,) = verify("executions")
    assert result["execution"] == kept.pipeline_id


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("env:NOT_SET", "'NOT_SET', which is not set"),
        ("", "is empty"),
        (f"{KEY.text()}\n{OTHER.text()}", "line break"),
        ("file:open-key", "can be read by others"),
        ("nonsense", "no key"),
    ],
    ids=["not set", "empty", "line break", "readable by others", "no key"],
)
def test_a_wrong_key_gets_one_clear_message_and_status_2(
    key: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("open-key").write_text(KEY.text())
    Path("open-key").chmod(0o644)
    keep("executions", RING)
    for command in (["verify"], ["show"], ["list"], ["rekey"], ["export", "latest", "out"]):
        assert main(["history", *command, "--state-encryption-key", key]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert len(error.splitlines()) == 1, error
