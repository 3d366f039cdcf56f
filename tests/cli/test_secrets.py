"""`aetherscript secrets`: a sealed file of secrets, from its key to a step which is given one."""

import json
from pathlib import Path

import pytest

from aether_dagster.cli.main import main
from aether_dagster.plugins.secrets import secret_reader


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert main(["key", "generate", str(tmp_path / "key")]) == 0
    monkeypatch.setenv("AETHERSCRIPT_STATE_KEY", f"file:{tmp_path / 'key'}")
    return tmp_path / "secrets.sealed"


def give(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def put(monkeypatch: pytest.MonkeyPatch, file: Path, name: str, text: str) -> int:
    give(monkeypatch, text)
    return main(["secrets", "set", str(file), name])


def test_what_is_put_into_a_file_is_what_a_document_reads(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert put(monkeypatch, file, "TOKEN", "hunter22\n") == 0
    assert put(monkeypatch, file, "OTHER", "two\nlines\n") == 0
    assert put(monkeypatch, file, "TOKEN", "hunter23\n") == 0
    key = {"AETHERSCRIPT_STATE_KEY": f"file:{file.parent / 'key'}"}
    read = secret_reader(f"file://{file}", key)
    assert (read("TOKEN"), read("OTHER")) == ("hunter23", "two\nlines")
    assert b"hunter" not in file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0
    assert {path.name for path in file.parent.iterdir()} == {"key", "secrets.sealed"}
    shown = capsys.readouterr()
    assert "hunter" not in shown.out + shown.err
    assert shown.err.split("\n")[-4:-1] == ["added TOKEN", "added OTHER", "changed TOKEN"]


def test_names_are_listed_and_removed(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(monkeypatch, file, "B", "bbbb")
    put(monkeypatch, file, "A", "aaaa")
    capsys.readouterr()
    assert main(["secrets", "list", str(file)]) == 0
    assert capsys.readouterr().out == "A\nB\n"
    assert main(["secrets", "remove", str(file), "A"]) == 0
    assert main(["secrets", "list", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ["B"]
    assert main(["secrets", "remove", str(file), "A"]) == 2
    assert f"{file} holds no secret 'A'." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "given", "told"),
    [
        (["set", "FILE", "a b"], "x", "'a b' is no name of a secret"),
        (["set", "FILE", "A"], "\n", "Nothing was given on standard input"),
        (["list", "FILE"], "", "cannot be read: No such file"),
    ],
)
def test_what_is_wrong_is_told(
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    given: str,
    told: str,
) -> None:
    give(monkeypatch, given)
    assert main(["secrets", *(str(file) if word == "FILE" else word for word in words)]) == 2
    assert told in capsys.readouterr().err
    assert not file.exists()


def test_without_a_key_it_says_which_is_needed(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AETHERSCRIPT_STATE_KEY")
    assert put(monkeypatch, file, "A", "x") == 2
    assert "say with which key" in capsys.readouterr().err


def test_a_file_of_the_state_history_is_no_file_of_secrets(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from aether_dagster.crypto import read_keys, seal

    ring = read_keys((), {"AETHERSCRIPT_STATE_KEY": f"file:{file.parent / 'key'}"})
    assert ring is not None
    file.write_bytes(seal(b"{}", ring.first, b"{}").render())
    assert main(["secrets", "list", str(file)]) == 2
    assert "Its header is another one" in capsys.readouterr().err
