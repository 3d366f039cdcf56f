"""Values for references: once at initialization, and per step when it starts (spec 2)."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from aether_dagster.errors import ExecutionMismatch, ScriptError
from aether_dagster.script.credentials import url_passwords, without_password
from aether_dagster.script.dependencies import link, metadata_of
from aether_dagster.script.document import Document
from aether_dagster.script.findings import Findings
from aether_dagster.script.interpolation import references, to_text
from aether_dagster.script.loader import Path
from aether_dagster.script.lookup import HIDDEN, Lookup, Values, credentials_in, hide


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


class Resolved(Values):
    """What a document's references were resolved to when its execution began."""

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

    def secrets(
        self, *, secret: Callable[[str], str], environ: Mapping[str, str]
    ) -> frozenset[str]:
        """Return every secret which the document refers to, as far as they can be had here.

        Args:
            secret: Gives a secret by name; one which it cannot give is left out.
            environ: This process's environment.
        """
        found: set[str] = set()
        for name in self.secret_names & environ.keys():
            found |= {environ[name], *credentials_in(environ[name])}
        for path, reference in references(self.document.pipeline.model_dump(by_alias=True)):
            if reference.kind == "secret":
                with suppress(Exception):  # whoever needs it tells why it cannot be had
                    found.add(secret(reference.name))
            elif reference.kind == "name" and path[0] == "connectors":
                found.update(credentials_in(environ.get(reference.name, "")))
        return frozenset(found - {""})

    def context(self) -> dict[str, Any]:
        """Return `environment_vars`, `secret_store` and `artifacts` as an execution begins."""
        context = self.document.pipeline.context
        look_up = Lookup(self, Findings(self.document.file, self.document.loaded))

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
            outputs: Outputs by step id, at least of its `data_dependencies`; and values of
                assets, as `assets.<key>`.
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
        findings.name_steps(self.document.pipeline.steps)
        connector = path[0] == "connectors"
        look_up = Lookup(
            self, findings, outputs=outputs, secret=secret, environ=environ, live=connector
        )
        args = look_up.substitute(value, path)
        look_up.end()
        shown = look_up.substitute(value, path, shown=True)
        secrets = look_up.secrets | set(credentials_in(args))
        return ResolvedArguments(args, hide(shown, connector), frozenset(s for s in secrets if s))


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
    links = link(raw, findings, environ, connecting=False)
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
            message = f"{reference.text}: this run has no partition; give it one, as --partition"
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
    look_up = Lookup(resolved, findings)
    # In this order each finds resolved what it refers to; a long chain would recurse too deeply.
    found = {name: look_up.variable(name) for name in links.variables}
    variables = {name: found[name] for name in document.pipeline.variables}
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
