"""Where a deployment keeps its state, and which state hooks it runs (spec 7)."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import dagster as dg

from aether_dagster.crypto import KEY_VARIABLE, KeyRing, read_keys
from aether_dagster.crypto.sources import anchored, is_literal
from aether_dagster.errors import SettingsError

_VARIABLES = {
    "journal": "AETHERSCRIPT_JOURNAL",
    "history": "AETHERSCRIPT_STATE_HISTORY",
    "history_required": "AETHERSCRIPT_STATE_HISTORY_REQUIRED",
    "artifacts": "AETHERSCRIPT_ARTIFACTS",
    "hooks": "AETHERSCRIPT_HOOKS",
    "secret_store": "AETHERSCRIPT_SECRET_STORE",
    "keys": KEY_VARIABLE,
    "live_url": "AETHERSCRIPT_LIVE_URL",
}
_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_SQLITE = "sqlite:///"
# The driver is named, because SQLAlchemy and dagster-postgres disagree on the default one.
_POSTGRES = "postgresql+psycopg://"


@dataclass(frozen=True)
class AetherSettings(dg.Resolvable):
    """Settings of a deployment (spec 7, "Settings in a deployment").

    Not a Dagster resource: what they hold must not become run configuration.

    Args:
        journal: SQLAlchemy URL of the journal, or the path of a SQLite file. None: it follows
            the Dagster instance.
        history: Folder or fsspec URL of the state history. None: no history is written.
        history_required: Whether a run fails when its history cannot be written.
        artifacts: Folder or fsspec URL for stored values. None: beside the journal.
        hooks: Modules, files and folders of state hooks.
        secret_store: URL of the secret store for documents which name none.
        keys: Where the keys are with which state is sealed: `env:NAME`, `file:PATH`,
            `cmd:COMMAND`; the first seals, all open. Never a key itself.
        live_url: Where people reach the live page of the deployment's sidecar; Dagster's UI then
            links to each execution there. Without a token, which everybody in the UI could read.
    """

    journal: str | None = None
    history: str | None = None
    history_required: bool = False
    artifacts: str | None = None
    hooks: tuple[str, ...] = ()
    secret_store: str | None = None
    keys: tuple[str, ...] = ()
    live_url: str | None = None

    def with_environment(self, environ: Mapping[str, str]) -> Self:
        """Returns these settings, overridden by the `AETHERSCRIPT_…` variables which are set.

        Args:
            environ: The process's environment; empty values count as not set, but for an empty
                key, which is an error where it is read.

        Raises:
            SettingsError: A variable has a value which cannot be used.
        """
        changes: dict[str, Any] = {}
        for field, variable in _VARIABLES.items():
            text = environ.get(variable)
            if field == "keys" and text is not None:
                # The variable may hold the key itself, and settings go from process to process.
                changes[field] = (f"env:{variable}",)
            elif not text:
                continue
            elif field == "history_required":
                changes[field] = _flag(variable, text)
            elif field == "hooks":
                changes[field] = tuple(part for part in text.split(os.pathsep) if part)
            else:
                changes[field] = text
        return replace(self, **changes)

    def anchored(self, directory: Path) -> Self:
        """Returns these settings with every relative local path below `directory`.

        Processes of one run may have different working directories, so paths are made absolute
        where the settings are read.
        """
        return replace(
            self,
            journal=_anchored(self.journal, directory),
            history=_anchored(self.history, directory),
            artifacts=_anchored(self.artifacts, directory),
            hooks=tuple(_anchored_hook(hook, directory) for hook in self.hooks),
            keys=tuple(anchored(key, directory) for key in self.keys),
        )

    def key_ring(self, environ: Mapping[str, str]) -> KeyRing | None:
        """Reads the keys which state is sealed with; None where there are none.

        Raises:
            SettingsError: A reference leads to no key, or is a key itself.
        """
        if any(map(is_literal, self.keys)):
            raise SettingsError(
                "The setting 'keys' holds a key itself, which would be stored and shown; write "
                "where it is: env:NAME, file:PATH or cmd:COMMAND."
            )
        return read_keys(self.keys, environ) if self.keys else None

    def journal_url(self, instance: dg.DagsterInstance) -> str:
        """Returns the SQLAlchemy URL of the journal (spec 7, "Where the journal lives").

        Args:
            instance: The Dagster instance, which the journal follows unless it is set: the same
                PostgreSQL, or a SQLite file in the instance's folder.

        Raises:
            SettingsError: The instance's storage is one which the journal cannot share.
        """
        if self.journal is not None:
            return self.journal if "://" in self.journal else _SQLITE + self.journal
        storage = instance.event_log_storage
        shared = getattr(storage, "postgres_url", None)
        if isinstance(shared, str):
            return _POSTGRES + shared.partition("://")[2]
        if hasattr(storage, "mysql_url"):
            raise SettingsError(
                "The journal cannot live in the instance's MySQL. Set AETHERSCRIPT_JOURNAL to a "
                "PostgreSQL or SQLite URL."
            )
        return f"{_SQLITE}{Path(instance.root_directory).absolute() / 'aether_journal.db'}"

    def artifacts_url(self, instance: dg.DagsterInstance) -> str:
        """Returns the folder or URL where values are stored: beside the journal unless set."""
        if self.artifacts is not None:
            return self.artifacts
        journal = self.journal_url(instance)
        beside = (
            Path(journal.removeprefix(_SQLITE)).parent
            if journal.startswith(_SQLITE)
            else Path(instance.root_directory).absolute()
        )
        return str(beside / "aether_artifacts")

    def to_json(self) -> str:
        """Returns the settings as JSON text, for another process of the same run."""
        return json.dumps({k: v for k, v in asdict(self).items() if v not in (None, ())})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Takes what `to_json` gave."""
        return cls.from_mapping(json.loads(text))

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Takes settings by name, for instance from a component's `defs.yaml`.

        Raises:
            SettingsError: There is no setting of a given name.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise SettingsError(
                    f"There is no setting {name!r}. The settings are {', '.join(known)}."
                )
        given = dict(values)
        for name in ("hooks", "keys"):
            if name in given:
                given[name] = tuple(given[name])
        return cls(**given)


def _flag(variable: str, text: str) -> bool:
    try:
        return _FLAGS[text.lower()]
    except KeyError:
        raise SettingsError(f"{variable} is {text!r}; use 'true' or 'false'.") from None


def _anchored(place: str | None, directory: Path) -> str | None:
    if place is None:
        return None
    if place.startswith(_SQLITE) and not urlsplit(place).path.startswith("//"):
        file = place.removeprefix(_SQLITE)
        return place if file in ("", ":memory:") else f"{_SQLITE}{directory.absolute() / file}"
    return place if "://" in place else str(directory.absolute() / Path(place).expanduser())


def _anchored_hook(hook: str, directory: Path) -> str:
    """A hook is a path if it looks like one; `hooks.state_logger` is a module."""
    if os.sep in hook or hook.endswith(".py"):
        return str(directory.absolute() / Path(hook).expanduser())
    return hook
