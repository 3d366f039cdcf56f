import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aether_dagster.cli.main import main
from aether_dagster.crypto import Key, KeyRing, parse
from aether_dagster.errors import UnknownKey
from aether_dagster.journal import Journal
from aether_dagster.snapshot import read_execution
from aether_dagster.values import ValueStore
from tests.cli.conftest import COMMAND, environment
from tests.cli.histories import keep
from tests.snapshot.folders import write_folder

pytestmark = pytest.mark.usefixtures("journal_in_a_file")
OLD, NEW = Key.generate(), Key.generate()
RING = KeyRing([OLD])
Capture = pytest.CaptureFixture[str]


def history(*arguments: str, status: int = 0) -> None:
    assert main(["history", *arguments]) == status


def as_json(capsys: Capture, *arguments: str) -> Any:
    capsys.readouterr()
    history(*arguments, "--json")
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def sealed_and_plain(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The same execution twice, ids and times apart."""
    monkeypatch.setenv("OLD", OLD.text())
    monkeypatch.setenv("NEW", NEW.text())
    return keep("sealed", RING).folder, keep("plain", start=1689859999.0).folder


KEYED = ("--state-encryption-key", "env:OLD")


def test_sealed_executions_are_listed_with_the_key_and_named_without(
    sealed_and_plain: tuple[str, str], capsys: Capture
) -> None:
    (opened,) = as_json(capsys, "list", "sealed", *KEYED)
    (locked,) = as_json(capsys, "list", "sealed")
    (plain,) = as_json(capsys, "list", "plain")
    assert opened["status"] == plain["status"] == "succeeded"
    assert opened["nodes"] == plain["nodes"]
    assert (opened["sealed"], plain["sealed"]) == (True, False)
    assert locked["status"] == "sealed"
    assert locked["execution"] == opened["execution"]
    assert opened["bytes"] == locked["bytes"] > plain["bytes"]
    history("list", "sealed", *KEYED)
    assert "kB" in capsys.readouterr().err


def test_show_and_diff_open_sealed_executions(
    sealed_and_plain: tuple[str, str], capsys: Capture
) -> None:
    folder, _ = sealed_and_plain
    history("show", f"sealed/{folder}", *KEYED)
    assert capsys.readouterr().out.startswith("succeeded  pipeline_")
    history("show", f"sealed/{folder}", status=2)
    assert "no key was given" in capsys.readouterr().err
    found = as_json(capsys, "diff", f"sealed/{folder}@2", f"sealed/{folder}@5", *KEYED)
    assert {tuple(change["path"]) for change in found["changes"]} >= {
        ("nodes", "load", "status"),
        ("nodes", "load", "retry_count"),
    }


def test_diff_tells_nodes_and_then_what_differs(folder: Path, capsys: Capture) -> None:
    keep("executions")
    history("diff", "latest@3", "latest")
    page = capsys.readouterr().out.splitlines()
    assert page[3].split() == ["NODE", "A", "ATTEMPTS", "TIME", "B", "ATTEMPTS", "TIME"]
    assert page[4].split()[:3] == ["load", "retrying", "1"]
    assert page[4].split()[5:7] == ["succeeded", "2"]
    start = page.index("nodes.load.status")
    assert page[start + 1 : start + 3] == ['  - "retrying"', '  + "succeeded"']
    assert "nodes.load.node_id" not in page
    history("diff", "latest", "latest")
    assert capsys.readouterr().out.endswith("Nothing else differs.\n")


def test_at_shows_a_version_and_a_moment(folder: Path, capsys: Capture) -> None:
    kept = keep("executions")
    assert as_json(capsys, "at", "3", kept.pipeline_id)["nodes"]["load"]["status"] == "retrying"
    for when in ("2023-07-20T13:33:15", "2023-07-20T15:33:15.9+02:00"):
        found = as_json(capsys, "at", when)
        assert (found["version"], found["nodes"]["load"]["status"]) == (3, "retrying")
    history("at", "8", "latest")
    assert "version  8 of 8, committed 2023-07-20T13:33:20Z" in capsys.readouterr().out
    for wrong, said in (
        ("9", "1 to 8"),
        ("0", "1 to 8"),
        ("2001-01-01", "after"),
        ("x", "neither"),
    ):
        history("at", wrong, status=2)
        assert said in capsys.readouterr().err


def test_at_opens_a_sealed_execution(sealed_and_plain: tuple[str, str], capsys: Capture) -> None:
    folder, _ = sealed_and_plain
    found = as_json(capsys, "at", "8", f"sealed/{folder}", *KEYED)
    assert found["nodes"]["plot"]["status"] == "succeeded"
    history("at", "8", f"sealed/{folder}", status=2)
    assert "no key was given" in capsys.readouterr().err


def test_export_gives_the_plain_files_to_their_owner_alone(
    sealed_and_plain: tuple[str, str], capsys: Capture
) -> None:
    folder, _ = sealed_and_plain
    history("export", f"sealed/{folder}", "out", *KEYED)
    target = Path("out") / folder
    opened = read_execution(f"sealed/{folder}", RING)
    assert read_execution(str(target)).final == opened.final
    assert target.stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in target.iterdir())
    history("export", f"sealed/{folder}", "out", *KEYED, status=2)
    assert "is there already" in capsys.readouterr().err


def test_nothing_is_exported_of_a_changed_execution(
    sealed_and_plain: tuple[str, str], capsys: Capture
) -> None:
    folder, _ = sealed_and_plain
    path = Path("sealed") / folder / "state_final.json"
    path.write_bytes(path.read_bytes()[:-9])
    history("export", f"sealed/{folder}", "out", *KEYED, status=2)
    assert "state_final.json cannot be opened" in capsys.readouterr().err
    assert not Path("out").exists()


def test_rekey_gives_files_journal_and_values_to_the_new_key_alone(
    sealed_and_plain: tuple[str, str], capsys: Capture
) -> None:
    folder, _ = sealed_and_plain
    store = ValueStore(".aether/aether_artifacts", keys=RING)
    ref = store.put({"rows": 3}, execution="pipeline_01H3XYZ9", step="load", attempt=1)
    both = ("--state-encryption-key", "env:NEW", *KEYED)
    links = [parse(file.read_bytes()).link for file in sorted((Path("sealed") / folder).iterdir())]
    found = as_json(capsys, "rekey", "sealed", *both)
    assert found == {"key": NEW.id, "rekeyed": 9, "failures": []}
    assert as_json(capsys, "rekey", "sealed", *both)["kept"] == 9
    after = [parse(file.read_bytes()).link for file in sorted((Path("sealed") / folder).iterdir())]
    assert after == links
    new = KeyRing([NEW])
    assert read_execution(f"sealed/{folder}", new).final is not None
    assert ValueStore(".aether/aether_artifacts", keys=new).get(ref) == {"rows": 3}
    with Journal.open(".aether/aether_journal.db", keys=new) as journal:
        assert journal.state("pipeline_" + folder[-8:])["nodes"]
    with pytest.raises(UnknownKey):
        read_execution(f"sealed/{folder}", RING)
    assert main(["history", "verify", "sealed", "--no-dagster", *KEYED]) == 5
    assert main(["history", "verify", "sealed", "--no-dagster", *both]) == 0


def test_rekey_goes_past_what_it_cannot_open_and_says_so(
    sealed_and_plain: tuple[str, str], capsys: Capture
) -> None:
    folder, _ = sealed_and_plain
    path = Path("sealed") / folder / "state_init.json"
    path.write_bytes(path.read_bytes()[:-3])
    history("rekey", "sealed", "--state-encryption-key", "env:NEW", *KEYED, status=1)
    output = capsys.readouterr()
    assert "state_init.json" in output.err
    assert output.out.endswith("0 had it, 1 could not be opened\n")


def test_rekey_needs_two_keys(folder: Path, capsys: Capture) -> None:
    keep("executions")
    history("rekey", "--state-encryption-key", OLD.text(), status=2)
    assert "new key and then the old one" in capsys.readouterr().err


def rotation(folder: Path, files: int, kills: int) -> None:
    """Kills a rotation many times, and finishes it."""
    for number in range(files // 7 + 1):
        crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
        digits = "".join(crockford[number >> shift & 31] for shift in (15, 10, 5, 0))
        write_folder(folder / "executions", RING, f"pipeline_01H3{digits}")
    paths = sorted((folder / "executions").glob("*/*.json"))
    assert len(paths) >= files
    links = [parse(path.read_bytes()).link for path in paths]
    command = [*COMMAND, "history", "rekey", "executions"]
    for name in ("env:NEW", "env:OLD"):
        command += ["--state-encryption-key", name]
    environ = environment(OLD=OLD.text(), NEW=NEW.text())
    moved = 0
    for round_ in range(kills):
        process = subprocess.Popen(command, cwd=folder, env=environ)
        # Until this one has moved some more, wherever that is.
        goal = moved + max(1, (len(paths) - moved) // (kills - round_ + 1))
        while moved < goal and process.poll() is None:
            moved = sum(NEW.id.encode() in path.read_bytes()[:250] for path in paths)
        assert process.poll() is None, "it had ended before it was killed"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for path in paths:
            parse(path.read_bytes())
    assert subprocess.run(command, cwd=folder, env=environ, check=False).returncode == 0
    assert [parse(path.read_bytes()).link for path in paths] == links
    assert all(parse(path.read_bytes()).key_id == NEW.id for path in paths)
    for place in (folder / "executions").iterdir():
        if place.is_dir():
            read_execution(str(place), KeyRing([NEW]))
            with pytest.raises(UnknownKey):
                read_execution(str(place), RING)


@pytest.mark.timeout(240)
def test_a_rotation_killed_three_times_and_then_finished_leaves_nothing_behind(
    folder: Path,
) -> None:
    rotation(folder, files=400, kills=3)


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("files", [2_000, 10_000])
def test_a_large_rotation_killed_twenty_times_and_then_finished_leaves_nothing_behind(
    folder: Path, files: int
) -> None:
    rotation(folder, files, kills=20)


@pytest.mark.parametrize("keys", [None, RING], ids=["plain", "sealed"])
def test_every_command_works_behind_a_url_and_gives_json(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, keys: KeyRing | None
) -> None:
    monkeypatch.setenv("OLD", OLD.text())
    monkeypatch.setenv("NEW", NEW.text())
    keyed = () if keys is None else KEYED
    url = f"memory://{folder.parent.name}/executions"
    first, second = keep(url, keys), keep(url, keys, start=1689859999.0)
    one, other = f"{url}/{first.folder}", f"{url}/{second.folder}"
    assert len(as_json(capsys, "list", url, *keyed)) == 2
    assert as_json(capsys, "show", one, *keyed)["final"]["report"]["status"] == "succeeded"
    at = as_json(capsys, "at", "2", "--state-history", url, first.pipeline_id, *keyed)
    assert at["pipeline"]["id"] == first.pipeline_id
    assert as_json(capsys, "diff", one, other, *keyed)
    assert {each["verdict"] for each in as_json(capsys, "verify", url, *keyed)} == {"whole"}
    assert as_json(capsys, "export", one, "out", *keyed)
    assert read_execution(f"out/{first.folder}").final is not None
    if keys is not None:
        new = ("--state-encryption-key", "env:NEW")
        assert as_json(capsys, "rekey", url, *new, *keyed)
        assert {each["verdict"] for each in as_json(capsys, "verify", url, *new)} == {"whole"}
    (gone,) = as_json(capsys, "prune", url, "--keep-last", "1")
    assert gone["execution"] == first.pipeline_id
    assert [each["execution"] for each in as_json(capsys, "list", url)] == [second.pipeline_id]


def test_key_generate_makes_a_key_which_seals(folder: Path, capsys: Capture) -> None:
    assert main(["key", "generate", "my.key"]) == 0
    assert Path("my.key").stat().st_mode & 0o777 == 0o600
    assert main(["key", "generate", "my.key"]) == 2
    capsys.readouterr()
    assert main(["key", "generate", "--jwk"]) == 0
    assert json.loads(capsys.readouterr().out)["kty"] == "oct"
    assert main(["key", "generate"]) == 0
    printed = capsys.readouterr().out.strip()
    keep("executions", KeyRing([OLD]))
    for key in ("file:my.key", printed):
        assert main(["history", "verify", "--no-dagster", "--state-encryption-key", key]) == 5


def test_a_key_on_the_command_line_is_warned_of(folder: Path, capsys: Capture) -> None:
    keep("executions", RING)
    history("show", "--state-encryption-key", OLD.text())
    output = capsys.readouterr()
    assert output.err.startswith("Warning: the key is on the command line")
    assert OLD.text() not in output.err + output.out


def test_history_commands_import_no_dagster(folder: Path) -> None:
    keep("executions", RING)
    shutil.rmtree(".aether")
    code = (
        "import sys; from aether_dagster.cli.main import main; status = main(sys.argv[1:]); "
        "sys.exit('dagster imported' if 'dagster' in sys.modules else status)"
    )
    commands = (["verify"], ["list"], ["show"], ["export", "latest", "out"])
    for command in commands:
        words = ["history", *command, "--state-encryption-key", "env:OLD"]
        completed = subprocess.run(
            [sys.executable, "-c", code, *words],
            env=environment(OLD=OLD.text()),
            capture_output=True,
            text=True,
            check=False,
        )
        assert completed.returncode == 0, completed.stderr
