"""`aetherscript key generate`: a new random key."""

import json
import os
from pathlib import Path

import click

from aether_dagster.errors import SettingsError


@click.command
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--jwk", is_flag=True, help="Write it as a JWK, which names its key id too.")
def generate(file: Path | None, jwk: bool) -> None:
    """Make a key of 256 bits, and write it to FILE, which only you can read.

    Without FILE it is printed. There is no way to open what was sealed with a key which is lost.
    """
    from aether_dagster.crypto import Key

    key = Key.generate()
    members = {"kty": "oct", "k": key.text(), "alg": "A256KW", "kid": key.id}
    text = json.dumps(members) if jwk else key.text()
    if file is None:
        click.echo(text)
        return
    try:
        # Exclusively: whatever was sealed with the key which it holds would be lost.
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise SettingsError(f"{file} exists already and is left as it is.") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"{text}\n")
    click.echo(f"made {file}  key {key.id}")
