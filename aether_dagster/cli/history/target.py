"""Which execution a command is about, and what a journal knows of it."""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aether_dagster.cli.history.group import ENVIRONMENT_VARIABLE, history_url
from aether_dagster.cli.keys import Decorator
from aether_dagster.errors import JournalError, SnapshotError

if TYPE_CHECKING:
    from aether_dagster.crypto import KeyRing
    from aether_dagster.journal import Journal
    from aether_dagster.snapshot import HistoryStore

LATEST = "latest"
EXECUTION = "[FOLDER|PIPELINE_ID|latest]"
_PIPELINE_ID = re.compile(r"pipeline_[0-9A-HJKMNP-TV-Z]{8}")


def history_option() -> Decorator:
    """Returns the option `--state-history`; the command gets `state_history`."""
    return click.option(
        "--state-history",
        envvar=ENVIRONMENT_VARIABLE,
        metavar="DIR|URL",
        help="Where to look for a PIPELINE_ID or the latest execution; ./executions/ by default.",
    )


def journal_option() -> Decorator:
    """Returns the option `--journal`; the command gets `journal`."""
    return click.option(
        "--journal",
        envvar="AETHERSCRIPT_JOURNAL",
        show_envvar=True,
        metavar="URL",
        help="The journal of these executions; left out, the one of this folder, if there is one.",
    )


def is_pipeline_id(text: str) -> bool:
    """Tells whether a text is the id of an execution."""
    return _PIPELINE_ID.fullmatch(text) is not None


def execution_folder(execution: str, state_history: str | None) -> str:
    """Returns the path or URL of an execution's folder.

    Args:
        execution: A folder, a pipeline id, or `latest`.
        state_history: Where ids are looked for, as `--state-history` says.

    Raises:
        SnapshotError: The history holds no such execution.
    """
    from aether_dagster.snapshot import HistoryStore, parse_folder

    if execution != LATEST and not is_pipeline_id(execution):
        return execution
    url = history_url(state_history)
    folders = HistoryStore(url).folders()
    if execution != LATEST:
        folders = [folder for folder in folders if parse_folder(folder) == execution]
    if not folders:
        what = "no execution" if execution == LATEST else f"no execution {execution}"
        raise SnapshotError(f"The history {url} holds {what}; see `aetherscript history list`.")
    return f"{url.rstrip('/')}/{folders[-1]}"


def chosen_folders(place: str) -> tuple["HistoryStore", list[str]]:
    """Returns the folders of a history, or the one folder which is named itself.

    Args:
        place: A history, or an execution's folder in one.
    """
    from aether_dagster.snapshot import HistoryStore, parse_folder

    store, name = HistoryStore.containing(place)
    if parse_folder(name) is not None:
        return store, [name]
    store = HistoryStore(place)
    return store, store.folders()


@contextmanager
def found_journal(
    given: str | None, keys: "KeyRing | None", *, read_only: bool = True
) -> Generator["Journal | None"]:
    """Opens the journal which is named, or the one of this folder; gives None where there is none.

    Raises:
        JournalError: One is named and cannot be opened.
    """
    from aether_dagster.cli.serving import journal_url
    from aether_dagster.journal import Journal

    try:
        opened = Journal.open(journal_url(given, Path.cwd()), read_only=read_only, keys=keys)
    except JournalError:
        if given or os.environ.get("DAGSTER_HOME"):
            raise
        yield None
        return
    with opened:
        yield opened


def existing_journal(given: str | None) -> bool:
    """Tells whether a journal is named, or there is one in this folder."""
    from aether_dagster.cli.serving import journal_url

    if given or os.environ.get("DAGSTER_HOME"):
        return True
    return Path(journal_url(None, Path.cwd())).is_file()
