import os
from pathlib import Path

import pytest

from aether_dagster.crypto import Key, KeyRing, read_keys
from aether_dagster.crypto.sources import anchored, is_lasting
from aether_dagster.errors import SettingsError

KEY, OTHER = Key.generate(), Key.generate()


def read(*references: str, **environ: str) -> KeyRing:
    ring = read_keys(references, environ)
    assert ring is not None
    return ring


def key_file(tmp_path: Path, text: str, mode: int = 0o600) -> str:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(mode)
    return f"file:{path}"


def test_a_key_is_read_from_each_source(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, f"{KEY.text()}\n".encode())
    os.close(writing)
    references = {
        "env:MY_KEY",
        key_file(tmp_path, f"{KEY.text()}\n"),
        f"fd:{reading}",
        f"cmd:echo {KEY.text()}",
        KEY.text(),
    }
    for reference in references:
        assert read(reference, MY_KEY=KEY.text()).first == KEY, reference
    os.close(reading)


def test_of_several_keys_the_first_seals_and_all_open(tmp_path: Path) -> None:
    ring = read(key_file(tmp_path, KEY.text()), OTHER.text())
    assert ring.first == KEY
    assert ring.get(OTHER.id) == OTHER


def test_without_a_reference_the_variable_names_the_key(tmp_path: Path) -> None:
    reference = key_file(tmp_path, KEY.text())
    assert read(AETHERSCRIPT_STATE_KEY=KEY.text()).first == KEY
    assert read(AETHERSCRIPT_STATE_KEY=reference).first == KEY
    assert read(AETHERSCRIPT_STATE_KEY=KeyRing([OTHER, KEY]).text()).ids == (OTHER.id, KEY.id)
    assert read(OTHER.text(), AETHERSCRIPT_STATE_KEY=KEY.text()).ids == (OTHER.id,)
    assert read_keys([], {}) is None


def test_an_empty_variable_is_an_error_and_not_the_absence_of_sealing() -> None:
    with pytest.raises(SettingsError, match="AETHERSCRIPT_STATE_KEY' is empty"):
        read_keys([], {"AETHERSCRIPT_STATE_KEY": ""})


def test_only_a_key_on_the_command_line_is_warned_of(tmp_path: Path) -> None:
    warned: list[str] = []
    environ = {"K": KEY.text(), "AETHERSCRIPT_STATE_KEY": KEY.text()}
    for references in ([], ["env:K"], [key_file(tmp_path, KEY.text())], [f"cmd:echo {KEY.text()}"]):
        read_keys(references, environ, on_literal=lambda: warned.append("quiet"))
    assert not warned
    read_keys([KEY.text()], environ, on_literal=lambda: warned.append("literal"))
    assert warned == ["literal"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o666, 0o620])
def test_a_key_file_which_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SettingsError, match=r"can be read by others .*chmod 600"):
        read(key_file(tmp_path, KEY.text(), mode))


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("env:NOT_THERE", "'NOT_THERE', which is not set"),
        ("env:EMPTY", "'EMPTY' is empty"),
        ("env:TWO_LINES", "line break"),
        ("file:/nowhere/key", "/nowhere/key cannot be read: No such file"),
        ("file:/", "cannot be read: Is a directory"),
        ("fd:999", "'999' for the key cannot be read"),
        ("fd:three", "is no number"),
        ("cmd:exit 7", "failed with status 7"),
        ("cmd:true", "is empty"),
        ("cmd:printf '\\200'", "is not text"),
        ("cmd:head -c 70000 /dev/zero", "longer than any key"),
        ("", "is empty"),
    ],
)
def test_a_reference_to_no_key_gets_one_clear_message(reference: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read(reference, EMPTY="", TWO_LINES=f"{KEY.text()}\n{OTHER.text()}")


def test_messages_do_not_hold_what_was_read(tmp_path: Path) -> None:
    almost = KEY.text()[:-1]
    references = [almost, key_file(tmp_path, almost), f"cmd:echo {almost}", "env:K"]
    for reference in references:
        with pytest.raises(SettingsError) as caught:
            read(reference, K=almost)
        assert almost not in str(caught.value)


def test_what_any_process_can_read_again_is_told_apart() -> None:
    assert all(map(is_lasting, ["env:K", "file:/k"]))
    assert not any(map(is_lasting, ["fd:3", "cmd:pass key", KEY.text()]))


def test_a_relative_key_file_is_anchored() -> None:
    assert anchored("file:key", Path("/run")) == "file:/run/key"
    assert anchored("file:/etc/key", Path("/run")) == "file:/etc/key"
    assert anchored("env:key", Path("/run")) == "env:key"
