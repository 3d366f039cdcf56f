"""Values for references: once at initialization, and per step when it starts (spec 2)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, cast
from urllib.parse import unquote

from aether_dagster.errors import ExecutionMismatch, ScriptError
from aether_dagster.script.credentials import is_credential_name, url_passwords, without_password
from aether_dagster.script.dependencies import link, metadata_of
from aether_dagster.script.document import Document
from aether_dagster.script.interpolation import (
    Keys,
    NoSuchKey,
    Reference,
    follow,
    references,
    substitute,
    to_text,
)
from aether_dagster.script.loader import Path
from aether_dagster.script.shape import Findings

HIDDEN = "***"


@dataclass(frozen=True)
class SystemValues:
    """What the runtime knows about an execution when it begins.

    Args:
        timestamp_utc: Its start, ISO 8601 in UTC.
        execution_id: The pipeline id.
        partition_key: The run's partition, or None.
        metadata: What `${METADATA.…}` reads instead of the document's metadata.
    """

    timestamp_utc: str
    execution_id: str
    partition_key: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ResolvedArguments:
    """The resolved arguments of a step, a hook or a connector.

    Attributes:
        args: The values.
        shown: The same with `***` for secrets, as `input_payload` keeps them.
        secrets: The secret values among them, for redaction; never stored.
    """

    args: dict[str, Any] = field(repr=False)
    shown: dict[str, Any]
    secrets: frozenset[str] = field(repr=False)


@dataclass(frozen=True)
class Resolved:
    """What a document's references were resolved to when its execution began.

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

    def to_json(self) -> dict[str, Any]:
        """Return what the journal keeps; it holds no secret."""
        return {
            "config_hash": self.document.config_hash,
            "variables": dict(self.variables),
            "environment": dict(self.environment),
            "system": dict(self.system),
            "files": dict(self.files),
            "secret_env": sorted(self.secret_names),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], document: Document) -> Self:
        """Read what `to_json` gave, for the same document.

        Raises:
            ExecutionMismatch: It was kept for another document.
        """
        if data["config_hash"] != document.config_hash:
            raise ExecutionMismatch(
                f"{document.file} has the config_hash {document.config_hash}, but the execution "
                f"began with {data['config_hash']}: the document was changed meanwhile. "
                "Start a new run."
            )
        return cls(
            document,
            data["variables"],
            data["environment"],
            data["system"],
            data["files"],
            frozenset(data["secret_env"]),
        )

    def context(self) -> dict[str, Any]:
        """Return `environment_vars`, `secret_store` and `artifacts` as an execution begins."""
        context = self.document.pipeline.context
        look_up = _Lookup(self, Findings(self.document.file, self.document.loaded))

        def resolve(value: Any, key: str) -> Any:
            return look_up.substitute(value, ("context", key), shown=True)

        variables = resolve(context.environment_vars, "environment_vars")
        artifacts = resolve(context.artifacts, "artifacts")
        store = resolve(context.secret_store, "secret_store")
        look_up.end()
        return {
            "environment_vars": {
                name: HIDDEN if name in self.secret_names else without_password(to_text(value))
                for name, value in sorted(variables.items())
            },
            "secret_store": store,
            "artifacts": {name: to_text(value) for name, value in sorted(artifacts.items())},
        }

    def arguments(
        self,
        step_id: str,
        *,
        outputs: Mapping[str, Any],
        secret: Callable[[str], str],
        environ: Mapping[str, str],
    ) -> ResolvedArguments:
        """Resolve a step's arguments as it starts.

        Args:
            step_id: The step.
            outputs: Outputs by step id, at least of its `data_dependencies`.
            secret: Gives a secret by name; a LookupError says that there is none.
            environ: This process's environment, for the secret variables.

        Raises:
            ScriptError: An output has no such part, or a secret is missing.
        """
        path = (*self.document.step_path(step_id), "args")
        args = self.document.step(step_id).args
        return self._resolve(args, path, outputs, secret, environ)

    def hook_arguments(
        self,
        event: str,
        index: int,
        *,
        outputs: Mapping[str, Any],
        secret: Callable[[str], str],
        environ: Mapping[str, str],
    ) -> ResolvedArguments:
        """Resolve a hook's arguments: as `arguments`, for `hooks.<event>[index]`.

        Args:
            event: `onSuccess`, `onFailure` or `onComplete`.
            index: Which of its hooks.
            outputs: Outputs of the steps which succeeded.
            secret: Gives a secret by name.
            environ: This process's environment.

        Raises:
            ScriptError: An output or secret is missing.
        """
        hooks = self.document.pipeline.hooks
        by_event = {
            "onSuccess": hooks.on_success,
            "onFailure": hooks.on_failure,
            "onComplete": hooks.on_complete,
        }
        path = ("hooks", event, index, "args")
        return self._resolve(by_event[event][index].args, path, outputs, secret, environ)

    def connector(
        self, name: str, *, environ: Mapping[str, str], secret: Callable[[str], str]
    ) -> ResolvedArguments:
        """Resolve a connector in the process which connects.

        Args:
            name: The connector.
            environ: This process's environment.
            secret: Gives a secret by name.

        Returns:
            Its `type`, `url`, `headers` and `options`. Passwords in URLs and what stands under
            a credential's name are among the secrets.

        Raises:
            ScriptError: A name or a secret is missing.
        """
        settings = self.document.pipeline.connectors[name].model_dump()
        return self._resolve(settings, ("connectors", name), {}, secret, environ)

    def _resolve(
        self,
        value: Mapping[str, Any],
        path: Path,
        outputs: Mapping[str, Any],
        secret: Callable[[str], str],
        environ: Mapping[str, str],
    ) -> ResolvedArguments:
        findings = Findings(self.document.file, self.document.loaded)
        findings.name_steps([{"id": step.id} for step in self.document.pipeline.steps])
        connector = path[0] == "connectors"
        look_up = _Lookup(
            self, findings, outputs=outputs, secret=secret, environ=environ, live=connector
        )
        args = look_up.substitute(value, path)
        look_up.end()
        shown = look_up.substitute(value, path, shown=True)
        secrets = look_up.secrets | set(_credentials_in(args))
        return ResolvedArguments(args, _hide(shown, connector), frozenset(s for s in secrets if s))


def resolve(
    document: Document,
    *,
    environ: Mapping[str, str],
    system: SystemValues,
    read_file: Callable[[str], str],
) -> Resolved:
    """Resolve, once, what does not wait for a step: variables, environment, system values, files.

    Args:
        document: The document.
        environ: The environment.
        system: What the runtime knows.
        read_file: Gives the text of a file; an OSError or UnicodeError says why it cannot.

    Raises:
        ScriptError: With every name which is missing and every file which cannot be read.
    """
    findings = Findings(document.file, document.loaded)
    raw = document.pipeline.model_dump(by_alias=True)
    findings.name_steps(raw["pipeline"]["steps"])
    links = link(raw, findings, environ)
    names = {name for name in links.names if name in environ}
    # A URL with a password in it is a secret wherever it goes, declared or not.
    secret_names = links.secret_names | {n for n in names if any(url_passwords(environ[n]))}
    files: dict[str, str] = {}
    for path, reference in references(raw):
        if reference.kind == "file" and reference.name not in files:
            try:
                files[reference.name] = read_file(reference.name)
            except (OSError, UnicodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
                message = f"{reference.text} cannot be read: {reason or error}"
                findings.add(path, message, ordinal=reference.ordinal)
        elif reference.name == "PARTITION_KEY" and system.partition_key is None:
            message = f"{reference.text}: this run has no partition"
            findings.add(path, message, ordinal=reference.ordinal)
    if problems := findings.problems():
        raise ScriptError(problems)
    resolved = Resolved(
        document,
        {},
        {name: environ[name] for name in sorted(names - secret_names)},
        {
            "TIMESTAMP_UTC": system.timestamp_utc,
            "EXECUTION_ID": system.execution_id,
            "PARTITION_KEY": system.partition_key,
            "METADATA": dict(system.metadata or metadata_of(raw)),
        },
        files,
        frozenset(secret_names),
    )
    look_up = _Lookup(resolved, findings)
    variables = {name: look_up.variable(name) for name in document.pipeline.variables}
    look_up.end()
    whole = Resolved(
        document,
        variables,
        resolved.environment,
        resolved.system,
        resolved.files,
        resolved.secret_names,
    )
    whole.context()
    return whole


class _Lookup:
    """Finds the values of references for one resolution, and notes which of them are secret."""

    def __init__(
        self,
        resolved: Resolved,
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
        if reference.kind == "step":
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
        if reference.name not in self._outputs:
            message = f"{reference.text}: step {reference.name!r} left no output"
            self._findings.add(where, message, ordinal=reference.ordinal)
            return None
        try:
            return follow(self._outputs[reference.name], reference.keys)
        except NoSuchKey as error:
            known = error.known
            self._findings.add(
                where,
                f"{reference.text}: the output of {reference.name!r} has no {error.key!r}",
                found=", ".join(known[:20]) or "nothing" if known is not None else "no mapping",
                suggestion=self._findings.nearest(str(error.key), known or ()),
                ordinal=reference.ordinal,
            )
            return None


def _credentials_in(value: Any, name: str = "") -> list[str]:
    """Passwords in URLs, and strings under a credential's name, as they are and unquoted."""
    if isinstance(value, str):
        found = [value] if name and is_credential_name(name) else []
        passwords = list(url_passwords(value))
        return [*found, *passwords, *(unquote(password) for password in passwords)]
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return [s for key, item in items for s in _credentials_in(item, str(key))]
    if isinstance(value, list):
        return [s for item in cast("list[Any]", value) for s in _credentials_in(item)]
    return []


def _hide(value: Any, connector: bool, name: str = "") -> Any:
    if isinstance(value, str):
        hidden = connector and name and is_credential_name(name)
        return HIDDEN if hidden and value else without_password(value)
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {key: _hide(item, connector, key) for key, item in items}
    if isinstance(value, list):
        return [_hide(item, connector) for item in cast("list[Any]", value)]
    return value
