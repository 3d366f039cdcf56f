"""The option `--state-encryption-key`, and how keys reach the processes of a run (spec 3)."""

import os
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import click

from aether_dagster.crypto import KEY_VARIABLE, KeyRing, read_keys
from aether_dagster.crypto.sources import anchored, is_lasting

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def keys_option(what: str) -> Decorator:
    """Returns the option; the command gets `keys`, the references.

    Args:
        what: What the keys are for, as a sentence without its end.
    """
    return click.option(
        "--state-encryption-key",
        "keys",
        multiple=True,
        metavar="KEY",
        help=f"{what}: env:NAME, file:PATH, fd:N, cmd:COMMAND, or the key itself, which others "
        "can see on a command line. May be given several times: the first seals, all open. "
        f"[env var: {KEY_VARIABLE}]",
    )


def given_keys(references: Sequence[str]) -> KeyRing | None:
    """Returns the keys of a command line, or else of the environment; None without any.

    Raises:
        SettingsError: A reference leads to no key.
    """
    return read_keys(references, os.environ, on_literal=_warn)


def hand_down(
    references: Sequence[str], ring: KeyRing | None, environ: MutableMapping[str, str]
) -> tuple[str, ...]:
    """Lets this process's children find the keys where it found them, or in their environment.

    Args:
        references: What the command line says.
        ring: The keys which that led to.
        environ: The environment which children inherit.

    Returns:
        The references for settings, which never hold a key.
    """
    if ring is None:
        return ()
    if references:
        alone = len(references) == 1 and is_lasting(references[0])
        environ[KEY_VARIABLE] = anchored(references[0], Path.cwd()) if alone else ring.text()
    return (f"env:{KEY_VARIABLE}",)


def _warn() -> None:
    click.echo(
        "Warning: the key is on the command line, where other users of this machine can see it; "
        "use env:NAME, file:PATH, fd:N or cmd:COMMAND.",
        err=True,
    )
