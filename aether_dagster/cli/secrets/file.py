"""`aetherscript secrets set | list | remove`: what is in a sealed file of secrets."""

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aether_dagster.cli.keys import given_keys, keys_option
from aether_dagster.errors import SettingsError

if TYPE_CHECKING:
    from aether_dagster.crypto import KeyRing

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
_name = click.argument("name")


@click.command
@_file
@_name
@keys_option("Seals the file; the first key does, and all open it")
def set_secret(file: Path, name: str, keys: tuple[str, ...]) -> None:
    """Put a secret into FILE, which is made if it is not there.

    The secret is what you type, or what comes on standard input without the end of its last line.
    It is never an argument, for those can be seen by others. All of FILE is sealed anew.
    """
    from aether_dagster.plugins.file_secrets import read_secrets, write_secrets

    if _NAME.fullmatch(name) is None:
        raise SettingsError(f"{name!r} is no name of a secret; write one such as DB_PASSWORD.")
    ring = _ring(keys)
    known = read_secrets(file, ring) if file.exists() else {}
    write_secrets(file, {**known, name: _typed(name)}, ring)
    click.echo(f"{'changed' if name in known else 'added'} {name}", err=True)


@click.command("list")
@_file
@keys_option("Opens the file")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_secrets(file: Path, keys: tuple[str, ...], as_json: bool) -> None:
    """Print the names of the secrets in FILE, and none of the secrets."""
    from aether_dagster.plugins.file_secrets import read_secrets

    names = sorted(read_secrets(file, _ring(keys)))
    click.echo(json.dumps(names) if as_json else "\n".join(names), nl=bool(as_json or names))


@click.command
@_file
@_name
@keys_option("Seals the file; the first key does, and all open it")
def remove(file: Path, name: str, keys: tuple[str, ...]) -> None:
    """Take a secret out of FILE. All of FILE is sealed anew."""
    from aether_dagster.plugins.file_secrets import read_secrets, write_secrets

    ring = _ring(keys)
    known = read_secrets(file, ring)
    if name not in known:
        raise SettingsError(f"{file} holds no secret {name!r}.")
    write_secrets(file, {key: value for key, value in known.items() if key != name}, ring)
    click.echo(f"removed {name}", err=True)


def _ring(keys: tuple[str, ...]) -> "KeyRing":
    ring = given_keys(keys)
    if ring is None:
        raise SettingsError(
            "The file is sealed; say with which key, by --state-encryption-key or "
            "AETHERSCRIPT_STATE_KEY. `aetherscript key generate FILE` makes one."
        )
    return ring


def _typed(name: str) -> str:
    if sys.stdin.isatty():
        secret = click.prompt(name, hide_input=True, confirmation_prompt=True, err=True)
    else:
        secret = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not secret:
        raise SettingsError("Nothing was given on standard input; nothing is changed.")
    return secret
