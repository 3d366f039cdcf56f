"""The history commands on an S3 server, on which files are objects and nothing can be renamed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aether_dagster.cli.main import main
from aether_dagster.crypto import Key, KeyRing
from tests.cli.histories import Kept, keep
from tests.fleet.services import BUCKET, file_system
from tests.journals import SERVER
from tests.snapshot.folders import START

OLD, NEW = Key.generate(), Key.generate()
KEYED = ("--state-encryption-key", "env:OLD")
REKEYED = ("--state-encryption-key", "env:NEW")
DAY = 86_400.0


@pytest.fixture(params=["plain", "sealed"])
def sealed(
    request: pytest.FixtureRequest,
    object_store: Mapping[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> bool:
    """Whether the history is sealed; the commands run where nothing but a journal lies."""
    keys = {"OLD": OLD.text(), "NEW": NEW.text()}
    for name, value in {**object_store, **keys}.items():
        monkeypatch.setenv(name, value)
    for name in (SERVER, "AETHERSCRIPT_JOURNAL", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return request.param == "sealed"


def test_every_command_works_on_what_lies_in_s3(
    sealed: bool, object_store: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    def history(*arguments: str, status: int = 0) -> str:
        capsys.readouterr()
        assert main(["history", *arguments]) == status, capsys.readouterr().err
        return capsys.readouterr().out

    def as_json(*arguments: str, status: int = 0) -> Any:
        return json.loads(history(*arguments, "--json", status=status))

    url = f"s3://{BUCKET}/{'sealed' if sealed else 'plain'}/executions"
    fs, ring = file_system(object_store), KeyRing([OLD]) if sealed else None
    old, new = (keep(url, ring, start=START + day * DAY) for day in (0, 1))
    keyed = KEYED if sealed else ()

    listed = as_json("list", url, *keyed)
    assert [(each["folder"], each["status"]) for each in listed] == [
        (new.folder, "succeeded"),
        (old.folder, "succeeded"),
    ]
    assert listed[0]["bytes"] == sum(fs.sizes(fs.ls(f"{url}/{new.folder}", detail=False)))

    shown = as_json("show", "latest", "--state-history", url, *keyed)
    assert shown == as_json("show", f"{url}/{new.folder}", *keyed)
    assert shown["final"]["pipeline"]["id"] == new.pipeline_id

    history("verify", url, "--no-dagster", *keyed)
    changed = f"{url}/{old.folder}/state_init.json"
    whole = fs.cat_file(changed)
    fs.pipe_file(changed, whole[:-2])
    verified = as_json("verify", url, "--no-dagster", *keyed, status=9)
    assert {each["folder"]: [f["file"] for f in each["findings"]] for each in verified} == {
        new.folder: [],
        old.folder: ["state_init.json"],
    }
    fs.pipe_file(changed, whole)

    history("export", f"{url}/{new.folder}", "out", *keyed)
    final = json.loads((Path("out") / new.folder / "state_final.json").read_bytes())
    assert final == shown["final"]

    if sealed:
        history("show", f"{url}/{new.folder}", status=2)
        _rekeyed(url, (old, new), as_json)
        keyed = REKEYED

    assert _folders(as_json("prune", url, "--keep-last", "1", "--dry-run")) == [old.folder]
    history("prune", url, "--keep-last", "1")
    assert _folders(as_json("list", url, *keyed)) == [new.folder]
    assert fs.find(f"{url}/{old.folder}") == []
    history("verify", url, "--no-dagster", *keyed)


def _rekeyed(url: str, kept: tuple[Kept, ...], as_json: Any) -> None:
    files = sum(len(each.names) for each in kept)
    done = as_json("rekey", url, *REKEYED, *KEYED)
    assert (done["key"], done["failures"]) == (NEW.id, [])
    assert done["rekeyed"] >= files
    assert "rekeyed" not in as_json("rekey", url, *REKEYED, *KEYED), "all of them have it"
    as_json("verify", url, "--no-dagster", *KEYED, status=5)
    as_json("verify", url, "--no-dagster", *REKEYED)


def _folders(executions: list[dict[str, Any]]) -> list[str]:
    return [each["folder"] for each in executions]
