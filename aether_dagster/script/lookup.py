"""Looks up the values of references, and hides those which are secret."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import unquote

from aether_dagster.errors import ScriptError
from aether_dagster.script.credentials import is_credential_name, url_passwords, without_password
from aether_dagster.script.document import Document
from aether_dagster.script.findings import Findings
from aether_dagster.script.interpolation import (
    Keys,
    NoSuchKey,
    Reference,
    follow,
    substitute,
    to_text,
)
from aether_dagster.script.loader import Path

HIDDEN = "***"


@dataclass(frozen=True)
class Values:
    """What references were resolved to when an execution began.

    Attributes:
        document: The document.
        variables: Its variables.
        environment: The environment variables which it reads, without the secret ones.
        system: TIMESTAMP_UTC, EXECUTION_ID, PARTITION_KEY, METADATA.
        files: Texts of the files it reads, by path.
        secret_names: Environment variables whose values are secret and kept nowhere.
    """

    document: Document = field(repr=False)
    variables: Mapping[str, Any]
    environment: Mapping[str, str]
    system: Mapping[str, Any]
    files: Mapping[str, str]
    secret_names: frozenset[str]


class Lookup:
    """Finds the values of references for one resolution, and notes which of them are secret."""

    def __init__(
        self,
        resolved: Values,
        findings: Findings,
        *,
        outputs: Mapping[str, Any] | None = None,
        secret: Callable[[str], str] | None = None,
        environ: Mapping[str, str] | None = None,
        live: bool = False,
    ):
        self._resolved = resolved
        self._findings = findings
        self._outputs = outputs or {}
        self._secret = secret
        self._environ = environ
        self._live = live
        self._variables: dict[str, Any] = dict(resolved.variables)
        self._known_secrets: dict[str, str] = {}
        self.secrets: set[str] = set()

    def end(self) -> None:
        """Raise what was noted."""
        if problems := self._findings.problems():
            raise ScriptError(problems)

    def substitute(self, value: Any, path: Path, shown: bool = False) -> Any:
        """Replace references; `shown` gives `***` for those which are secret."""

        def look_up(reference: Reference, where: Keys) -> Any:
            if self._is_secret(reference):
                return HIDDEN if shown else self._secret_value(reference, where)
            return self._value(reference, where)

        def as_text(reference: Reference, found: Any) -> str:
            try:
                return to_text(found)
            except ValueError:
                message = (
                    f"{reference.text} is no JSON value, so it cannot stand among other text; "
                    "let it be the whole string"
                )
                self._findings.add(path, message, found=f"a {type(found).__name__}")
                return ""

        return substitute(value, look_up, as_text, path)

    def variable(self, name: str) -> Any:
        """Return a variable, resolved with those which it refers to."""
        if name not in self._variables:
            value = self._resolved.document.pipeline.variables[name]
            self._variables[name] = self.substitute(value, ("variables", name))
        return self._variables[name]

    def _is_secret(self, reference: Reference) -> bool:
        if reference.kind == "secret":
            return True
        return (
            reference.kind == "name"
            and reference.name in self._resolved.secret_names
            and reference.name not in self._resolved.document.pipeline.variables
        )

    def _secret_value(self, reference: Reference, where: Keys) -> Any:
        key = reference.text
        if key not in self._known_secrets:
            self._known_secrets[key] = self._find_secret(reference, where)
            self.secrets.add(self._known_secrets[key])
        return self._known_secrets[key]

    def _find_secret(self, reference: Reference, where: Keys) -> str:
        if self._secret is None or self._environ is None:
            message = f"{reference.text} is secret, and what stands here is kept in the journal"
        elif reference.kind == "name":
            if reference.name in self._environ:
                return self._environ[reference.name]
            message = f"{reference.text} is not in the environment of this process"
        else:
            try:
                return self._secret(reference.name)
            except LookupError:
                message = f"{reference.text} is not in the secret store"
        self._findings.add(where, message, ordinal=reference.ordinal)
        return ""

    def _value(self, reference: Reference, where: Keys) -> Any:
        resolved, name = self._resolved, reference.name
        if reference.kind == "system":
            return resolved.system[name]
        if reference.kind == "metadata":
            return follow(resolved.system["METADATA"], (name, *reference.keys))
        if reference.kind == "file":
            return resolved.files[name]
        if reference.kind in ("step", "asset"):
            return self._output(reference, where)
        if name in resolved.document.pipeline.variables:
            return self.variable(name)
        source = self._environ if self._live and self._environ is not None else None
        environment = resolved.environment if source is None else source
        if name in environment:
            return environment[name]
        message = f"{reference.text} is not in the environment of this process"
        self._findings.add(where, message, ordinal=reference.ordinal)
        return ""

    def _output(self, reference: Reference, where: Keys) -> Any:
        name = reference.name if reference.kind == "step" else f"assets.{reference.name}"
        if name not in self._outputs:
            message = f"{reference.text}: {reference.kind} {reference.name!r} left no output"
            self._findings.add(where, message, ordinal=reference.ordinal)
            return None
        try:
            return follow(self._outputs[name], reference.keys)
        except NoSuchKey as error:
            known = error.known
            what = "output" if reference.kind == "step" else "value"
            self._findings.add(
                where,
                f"{reference.text}: the {what} of {reference.name!r} has no {error.key!r}",
                found=", ".join(known[:20]) or "nothing" if known is not None else "no mapping",
                suggestion=self._findings.nearest(str(error.key), known or ()),
                ordinal=reference.ordinal,
            )
            return None


def credentials_in(value: Any, name: str = "") -> list[str]:
    """Passwords in URLs, and strings under a credential's name, as they are and unquoted."""
    if isinstance(value, str):
        found = [value] if name and is_credential_name(name) else []
        passwords = list(url_passwords(value))
        return [*found, *passwords, *(unquote(password) for password in passwords)]
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return [s for key, item in items for s in credentials_in(item, str(key))]
    if isinstance(value, list):
        return [s for item in cast("list[Any]", value) for s in credentials_in(item)]
    return []


def hide(value: Any, connector: bool, name: str = "") -> Any:
    """Return data with `***` for passwords in URLs and, in a connector, for its credentials.

    What hides nothing is returned itself: a large output is known again where it is an argument.
    """
    if isinstance(value, str):
        hidden = connector and name and is_credential_name(name)
        return HIDDEN if hidden and value else without_password(value)
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        shown = {key: hide(item, connector, key) for key, item in members.items()}
        return members if all(shown[key] is members[key] for key in members) else shown
    if isinstance(value, list):
        items = cast("list[Any]", value)
        hidden_items = [hide(item, connector) for item in items]
        same = all(a is b for a, b in zip(hidden_items, items, strict=True))
        return items if same else hidden_items
    return value
