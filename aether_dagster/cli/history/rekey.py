"""`aetherscript history rekey`: gives what is sealed to another key, file by file."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from aether_dagster.cli.history.group import ENVIRONMENT_VARIABLE, history_url
from aether_dagster.cli.history.target import (
    chosen_folders,
    existing_journal,
    found_journal,
    journal_option,
)
from aether_dagster.cli.keys import given_keys, keys_option
from aether_dagster.cli.status import ExitStatus
from aether_dagster.errors import NotSealed, SealError, SettingsError

if TYPE_CHECKING:
    from aether_dagster.crypto import KeyRing

Result = tuple[str, bool | SealError]


@click.command
@click.argument("place", required=False, envvar=ENVIRONMENT_VARIABLE, metavar="[DIR|URL|FOLDER]")
@keys_option("The new key first, then those which are to be replaced")
@journal_option()
@click.option(
    "--artifacts",
    envvar="AETHERSCRIPT_ARTIFACTS",
    show_envvar=True,
    metavar="DIR|URL",
    help="The store of values; left out, the one beside the journal.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as a JSON object.")
def rekey(
    place: str | None,
    keys: tuple[str, ...],
    journal: str | None,
    artifacts: str | None,
    as_json: bool,
) -> int:
    """Give sealed histories, the journal and stored values to a new key.

    Only the key which wraps each file's own key is replaced: contents and links stay as they
    are. It may be interrupted whenever you like; the next time it goes on where it was. When it
    has ended with exit status 0, nothing here opens with the old keys any more.
    """
    ring = given_keys(keys)
    if ring is None or len(ring) < 2:
        raise SettingsError(
            "Give the new key and then the old one, each with --state-encryption-key: the first "
            "seals, all open."
        )
    counts = Counter[str]()
    failures: list[str] = []
    for name, result in [*_sources(place, journal, artifacts, ring)]:
        if isinstance(result, SealError):
            failures.append(f"{name}: {result}")
        counts["failed" if isinstance(result, SealError) else "rekeyed" if result else "kept"] += 1
    if as_json:
        click.echo(json.dumps({"key": ring.first.id, **counts, "failures": failures}))
    else:
        for failure in failures:
            click.echo(f"Error: {failure}", err=True)
        click.echo(
            f"{counts['rekeyed']} given to the key {ring.first.id}, {counts['kept']} had it, "
            f"{counts['failed']} could not be opened"
        )
    return ExitStatus.PIPELINE_FAILED if failures else ExitStatus.SUCCEEDED


def _sources(
    place: str | None, journal: str | None, artifacts: str | None, ring: "KeyRing"
) -> Iterator[Result]:
    yield from _history(history_url(place), ring)
    if existing_journal(journal):
        with found_journal(journal, ring, read_only=False) as opened:
            if opened is not None:
                changed, total = opened.rekey()
                yield from ((f"journal {opened.label}", True) for _ in range(changed))
                yield from ((f"journal {opened.label}", False) for _ in range(total - changed))
    store = _artifacts(artifacts)
    if store is not None:
        from aether_dagster.values import ValueStore

        for name, result in ValueStore(store, keys=ring).rekey():
            if not isinstance(result, NotSealed):
                yield name, result


def _history(place: str, ring: "KeyRing") -> Iterator[Result]:
    from aether_dagster.crypto import rewrap
    from aether_dagster.snapshot import parse_name
    from aether_dagster.snapshot.opening import is_sealed

    store, folders = chosen_folders(place)
    for folder in folders:
        names = [name for name in store.names(folder) if parse_name(name) is not None]
        for name in names:
            data = store.read(folder, name)
            if not is_sealed(data):
                continue
            try:
                moved = rewrap(data, ring)
            except SealError as error:
                yield f"{folder}/{name}", error
                continue
            if moved != data:
                store.write(folder, name, moved)
            yield f"{folder}/{name}", moved != data


def _artifacts(given: str | None) -> str | None:
    from pathlib import Path

    if given:
        return given
    beside = Path.cwd() / ".aether" / "aether_artifacts"
    return str(beside) if beside.is_dir() else None
