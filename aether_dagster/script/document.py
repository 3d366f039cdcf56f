"""A checked pipeline document: what the rest of the product works with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from aether_dagster.errors import ScriptError
from aether_dagster.script.builtins import with_defaults
from aether_dagster.script.canonical import not_json, short_hash
from aether_dagster.script.dependencies import Links, link
from aether_dagster.script.findings import Findings, describe
from aether_dagster.script.interpolation import references
from aether_dagster.script.loader import (
    Kept,
    Loaded,
    Path,
    Unreadable,
    load,
    parse_scalar,
)
from aether_dagster.script.model import DOCUMENT, FORMAT_VERSION, Pipeline, Step
from aether_dagster.script.rules import HOOK_EVENTS, check_rules, items_at, mapping_at
from aether_dagster.script.shape import check_shape


@dataclass(frozen=True, eq=False)
class Document:
    """One valid pipeline document.

    Attributes:
        file: Its path as the user gave it.
        pipeline: The models.
        links: Order, dependencies, and what its references name.
        loaded: Its text and places; None where it was written in Python.
    """

    file: str
    pipeline: Pipeline
    links: Links = field(repr=False)
    loaded: Kept | None = field(repr=False, default=None)

    @staticmethod
    def from_pipeline(
        pipeline: Pipeline,
        *,
        file: str = "<python>",
        variables: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        known_plugins: Mapping[str, Sequence[str]] | None = None,
    ) -> "Document":
        """Check a pipeline which was written in Python; arguments as of `parse_document`.

        Raises:
            ScriptError: With every problem of it.
        """
        findings = Findings(file)
        raw = pipeline.model_dump(by_alias=True)
        for path, found in not_json(raw):
            findings.add(path, "this value is not JSON", found=found, expected="a JSON value")
        if problems := findings.problems():
            raise ScriptError(problems)
        return _check(
            raw, findings, file=file, variables=variables, environ=environ, plugins=known_plugins
        )

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self.pipeline.name

    @property
    def version(self) -> str:
        """The Pipeline State's `version` (spec 1.1): `metadata.version`, else the format's."""
        return self.pipeline.metadata.version or f"{FORMAT_VERSION}.0"

    @property
    def order(self) -> tuple[str, ...]:
        """Step ids in topological order, ties in document order."""
        return self.links.order

    @property
    def dependencies(self) -> Mapping[str, tuple[str, ...]]:
        """What each step waits for, by id: data and `dependsOn`."""
        return self.links.dependencies

    @property
    def data_dependencies(self) -> Mapping[str, tuple[str, ...]]:
        """The steps whose output each step takes, by id."""
        return self.links.data_dependencies

    @property
    def assets(self) -> Mapping[str, tuple[str, ...]]:
        """The assets of others whose values steps take, `a/b` for a key of two parts, by id."""
        return self.links.assets

    @cached_property
    def is_partitioned(self) -> bool:
        """Whether it names `${PARTITION_KEY}`, so that each of its runs is one of a partition."""
        raw = self.pipeline.model_dump(by_alias=True)
        return any(
            (reference.kind, reference.name) == ("system", "PARTITION_KEY")
            for _, reference in references(raw)
        )

    @cached_property
    def _steps(self) -> dict[str, tuple[int, Step]]:
        return {step.id: (index, step) for index, step in enumerate(self.pipeline.steps)}

    def step(self, id: str) -> Step:
        """Return a step; raises KeyError if there is none of that id."""
        return self._steps[id][1]

    def step_path(self, id: str) -> Path:
        """Return the place of a step in the document: `("pipeline", "steps", index)`."""
        return ("pipeline", "steps", self._steps[id][0])

    def position(self, path: Path) -> tuple[int, int] | None:
        """Return line and column, from 1, of a value of the document.

        What an alias brought in stands where the alias does. None where there is no text.
        """
        return None if self.loaded is None else self.loaded.place(path)

    def canonical(self) -> dict[str, Any]:
        """Return what `config_hash` covers: the document with its defaults filled in.

        It is a valid document itself, with the same `config_hash`.
        """
        canonical = self.pipeline.model_dump(mode="json", by_alias=True)
        hooks = canonical["hooks"]
        parts = [*canonical["pipeline"]["steps"], *(h for e in HOOK_EVENTS for h in hooks[e])]
        for part in cast("list[dict[str, Any]]", parts):
            part["args"] = with_defaults(part["type"], part["args"])
        return canonical

    @cached_property
    def config_hash(self) -> str:
        """The document's hash (spec 1.1): 15 hex digits."""
        return short_hash(self.canonical())

    def step_hash(self, id: str) -> str:
        """Return a hash of what a step does: itself, and the variables and connector it names."""
        step = self.step(id)
        args = with_defaults(step.type, step.args)
        connector = self.pipeline.connectors.get(str(args.get("connector")))
        used = connector.model_dump(mode="json") if connector else None
        return short_hash(
            {
                "format": FORMAT_VERSION,
                "step": {**step.model_dump(mode="json", by_alias=True), "args": args},
                "variables": self._variables_of([args, used]),
                "connector": used,
            }
        )

    def _variables_of(self, value: Any) -> dict[str, Any]:
        variables = self.pipeline.variables
        found: dict[str, Any] = {}
        pending = [value]
        while pending:
            for _, reference in references(pending.pop()):
                name = reference.name
                if reference.kind == "name" and name in variables and name not in found:
                    found[name] = variables[name]
                    pending.append(variables[name])
        return found


def parse_document(
    source: bytes | str,
    *,
    file: str = "<string>",
    variables: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    known_plugins: Mapping[str, Sequence[str]] | None = None,
) -> Document:
    """Read and check a pipeline document (spec 2).

    Args:
        source: YAML 1.2 or JSON; UTF-8 if bytes.
        file: Its path for messages.
        variables: Values for the document's variables (`--var`). The text becomes what the
            variable is in the document: a string, or else the YAML of a number, flag, list …
        environ: The environment. If given, a name which is neither a variable nor in it is a
            problem.
        known_plugins: Installed versions by plugin name. If given, plugins which are missing or
            do not fit are problems.

    Raises:
        ScriptError: With every problem of the document, in document order.
    """
    try:
        loaded = load(source, file)
    except Unreadable as error:
        raise ScriptError([error.problem]) from None
    findings = Findings(file, loaded)
    value: Any = loaded.value
    if not isinstance(value, dict):
        expected = "a mapping with 'version' first"
        findings.add((), "this is no pipeline", found=describe(value), expected=expected)
        raise ScriptError(findings.problems())
    raw = cast("dict[str, Any]", value)
    return _check(
        raw,
        findings,
        file=file,
        variables=variables,
        environ=environ,
        plugins=known_plugins,
        loaded=loaded,
    )


def _check(
    raw: dict[str, Any],
    findings: Findings,
    *,
    file: str,
    variables: Mapping[str, str] | None,
    environ: Mapping[str, str] | None,
    plugins: Mapping[str, Sequence[str]] | None,
    loaded: Loaded | None = None,
) -> Document:
    findings.name_steps(items_at(raw, "pipeline", "steps"))
    if variables:
        raw = _override(raw, variables, findings)
    pipeline = check_shape(Pipeline, raw, (), findings, context=DOCUMENT)
    check_rules(raw, findings, plugins)
    links = link(raw, findings, environ)
    if (problems := findings.problems()) or pipeline is None:
        raise ScriptError(problems)
    steps: list[Path] = [("pipeline", "steps", index) for index in range(len(pipeline.steps))]
    return Document(file, pipeline, links, None if loaded is None else loaded.kept(file, steps))


def _override(
    raw: dict[str, Any], variables: Mapping[str, str], findings: Findings
) -> dict[str, Any]:
    declared = dict(mapping_at(raw, "variables"))
    for name, text in variables.items():
        path = ("variables", name)
        if name not in declared:
            findings.add(
                ("variables",),
                f"--var {name}: the document has no variable of this name",
                expected="one of " + ", ".join(declared) if declared else None,
                suggestion=findings.nearest(name, declared),
            )
            continue
        default = declared[name]
        value: Any = text
        if not isinstance(default, str) and default is not None:
            try:
                value = parse_scalar(text)
            except Unreadable:
                value = None
            if _kind(value) != _kind(default):
                findings.add(
                    path,
                    f"--var {name} has another type than the variable",
                    found=describe(text, path),
                    expected=f"{_kind(default)}, as in the document",
                )
                continue
        declared[name] = value
    return {**raw, "variables": declared}


def _kind(value: Any) -> str:
    kinds: dict[type, str] = {bool: "true or false", int: "a number", float: "a number"}
    kinds |= {dict: "a mapping", list: "a list", str: "a string", type(None): "null"}
    return kinds[type(value)]
