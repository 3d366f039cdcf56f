"""The Dagster instance of a command line: the team's, or an embedded one (spec 6)."""

import fcntl
import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from aether_dagster.errors import SettingsError

EMBEDDED = ".aether"
"""Name of the folder of the embedded instance."""

_REASON = 240
"""Characters of what Dagster says of an instance which it cannot open: the rest is its schema."""

_OURS = "# Written by aetherscript at each start; without this line it is left as it is."

# Launched at once instead of queued for a daemon, which nobody started. Unless they are turned off,
# Dagster writes a telemetry event for every step and greets newcomers with a dialog. Its stock
# storage opens a file for every event.
_CONFIGURATION = (
    _OURS
    + """
telemetry:
  enabled: false
nux:
  enabled: false
run_coordinator:
  module: dagster._core.run_coordinator
  class: DefaultRunCoordinator
storage:
  custom:
    module: aether_dagster.orchestration.event_log
    class: KeptSqliteStorage
    config:
      base_dir: {home}
"""
)


def open_instance(environ: Mapping[str, str], directory: Path) -> dg.DagsterInstance:
    """Opens the instance which runs of a command line land in.

    Args:
        environ: With `DAGSTER_HOME` set, that instance is used.
        directory: Otherwise the embedded instance below this folder is.

    Raises:
        SettingsError: `DAGSTER_HOME` is not the absolute path of a folder, or the instance there
            cannot be opened.
    """
    home = environ.get("DAGSTER_HOME")
    if not home:
        return embedded_instance(directory)
    place = Path(home).expanduser()
    if not place.is_absolute() or not place.is_dir():
        raise SettingsError(
            f"DAGSTER_HOME is {home!r}; set it to the absolute path of an existing folder, or "
            "unset it to use an embedded instance."
        )
    return _opened(place)


def embedded_instance(directory: Path) -> dg.DagsterInstance:
    """Opens the embedded instance below a folder, and makes it if it is not there.

    It keeps its runs in SQLite, needs no daemon, sends no telemetry, and other processes open it
    by its reference (`instance.get_ref()`) or as `DAGSTER_HOME`.

    Args:
        directory: The folder which holds, or will hold, `.aether/`.

    Raises:
        SettingsError: What lies there already cannot be used.
    """
    home = embedded_home(directory)
    with _alone(home):
        return _opened(home)


def embedded_home(directory: Path) -> Path:
    """Returns the embedded instance's `DAGSTER_HOME`, and makes it if it is not there."""
    home = directory.absolute() / EMBEDDED
    home.mkdir(parents=True, exist_ok=True)
    _write_once(home / ".gitignore", "*\n")
    file, text = home / "dagster.yaml", _configuration(home)
    found = file.read_text(encoding="utf-8") if file.exists() else _OURS
    # The folder may have been moved since it was written.
    if found.startswith(_OURS) and found != text:
        _write(file, text)
    return home


def _opened(home: Path) -> dg.DagsterInstance:
    try:
        return dg.DagsterInstance.from_config(str(home))
    except Exception as error:  # its storages may be anyone's, and raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        shown = reason if len(reason) <= _REASON else reason[:_REASON] + "…"
        raise SettingsError(
            f"The Dagster instance in {home} cannot be opened: {shown}. Look at its dagster.yaml "
            "and at the storage which it names."
        ) from error


@contextmanager
def _alone(home: Path) -> Generator[None]:
    """Keeps other processes from the same folder: two which make Dagster's tables break them."""
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _configuration(home: Path) -> str:
    # JSON's quotes are YAML's.
    return _CONFIGURATION.replace("{home}", json.dumps(str(home)))


def _write_once(file: Path, text: str) -> None:
    if not file.exists():
        _write(file, text)


def _write(file: Path, text: str) -> None:
    """Writes a file; processes which start together see it whole or not."""
    whole = file.with_name(f".{file.name}.{os.getpid()}")
    whole.write_text(text, encoding="utf-8")
    whole.replace(file)
