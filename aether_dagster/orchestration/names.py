"""Names of jobs, ops and resources, and whether documents can share a code location (spec 7)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from aether_dagster.errors import Problem, ScriptError
from aether_dagster.orchestration.compat import is_valid_owner
from aether_dagster.script import Document, dagster_name
from aether_dagster.script.names import RESERVED_CONNECTORS

ALONE_TAG = "aether/parallel"
"""An op with this tag and the value `false` runs while no other step of its run does."""


def job_name(document: Document) -> str:
    """Returns the name of the pipeline's job."""
    return dagster_name(document.name)


def op_name(document: Document, step: str) -> str:
    """Returns the name of a step's op, which no other pipeline's step has."""
    return f"{dagster_name(document.name)}__{dagster_name(step)}"


def connector_resource_key(pipeline: str, connector: str) -> str:
    """Returns the resource key of a pipeline's connector, the same in every code location."""
    return f"aether_{dagster_name(pipeline)}_{dagster_name(connector)}"


def asset_input(asset: str) -> str:
    """Returns the name of the input by which a step is given an asset of others, `a/b`."""
    return "asset__" + dagster_name(asset.replace("/", "__"))


def check_names(documents: Sequence[Document]) -> None:
    """Checks what the language's own rules cannot: names which documents would share in Dagster.

    Raises:
        ScriptError: With every such name, and every owner whom Dagster refuses.
    """
    problems: list[Problem] = []
    taken = {("resource", key): "a resource of AetherScript" for key in RESERVED_CONNECTORS}
    for document in documents:
        problems.extend(_owner_problems(document))
        for claim in _claims(document):
            other = taken.setdefault((claim.kind, claim.name), f"{claim.words} of {document.file}")
            if other != f"{claim.words} of {document.file}":
                message = (
                    f"{claim.words} and {other} are both {claim.name!r} in Dagster; rename one"
                )
                problems.append(_problem(document, claim.path, message[:1].upper() + message[1:]))
                if claim.kind == "job":
                    break
    if problems:
        raise ScriptError(problems)


def check_assets(document: Document, keys: Mapping[str, tuple[str, ...]]) -> None:
    """Checks the assets whose values steps take: whether they are others', and can be waited for.

    Args:
        document: The document.
        keys: The asset key of each step; empty where steps are ops, which wait for no asset.

    Raises:
        ScriptError: With every step which takes what it cannot.
    """
    own = {"/".join(key): step for step, key in keys.items()}
    problems: list[Problem] = []
    for step, assets in document.assets.items():
        path = (*document.step_path(step), "args")
        for asset in assets:
            if not keys:
                told = "an op waits for no asset; compile the pipeline to assets"
            elif asset in own:
                told = f"this pipeline makes it; write ${{steps.{own[asset]}.output}}"
            else:
                continue
            problems.append(
                _problem(document, path, f"${{assets.{asset}}} cannot stand here: {told}")
            )
    if problems:
        raise ScriptError(problems)


class _Claim(NamedTuple):
    """A name which a document takes in Dagster, and where the document says so."""

    kind: str
    name: str
    words: str
    path: tuple[str | int, ...]


def _claims(document: Document) -> Iterator[_Claim]:
    pipeline = f"pipeline {document.name!r}"
    yield _Claim("job", job_name(document), pipeline, ("metadata", "name"))
    # A job's graph and an op are of one kind to Dagster.
    yield _Claim("node", job_name(document), pipeline, ("metadata", "name"))
    for index, step in enumerate(document.pipeline.steps):
        words = f"step {step.id!r} of {pipeline}"
        path = ("pipeline", "steps", index, "id")
        yield _Claim("node", op_name(document, step.id), words, path)
    for name in document.pipeline.connectors:
        words = f"connector {name!r} of {pipeline}"
        key = connector_resource_key(document.name, name)
        yield _Claim("resource", key, words, ("connectors", name))


def _owner_problems(document: Document) -> Iterator[Problem]:
    for index, owner in enumerate(document.pipeline.metadata.owners):
        if not is_valid_owner(owner):
            message = f"Dagster refuses the owner {owner!r}; it takes 'team:name' or an e-mail"
            yield _problem(document, ("metadata", "owners", index), message)


def _problem(document: Document, path: tuple[str | int, ...], message: str) -> Problem:
    line, column = document.position(path) or (None, None)
    return Problem(document.file, line, column, message)
