"""Plugins' checks of outputs as Dagster's asset checks: specs, and their results (spec 5 and 7)."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from aether_dagster.errors import ScriptError
from aether_dagster.manager.redaction import Redaction
from aether_dagster.orchestration.pipeline import CompiledPipeline
from aether_dagster.script import Document, SystemValues, resolve

if TYPE_CHECKING:
    from aether_dagster.plugins.activation import Active
    from aether_dagster.plugins.checks import ActiveCheck

_NOT_SHOWN = "State is sealed, and what was found would tell of it."
_SEVERITIES = {
    "error": dg.AssetCheckSeverity.ERROR,
    "warn": dg.AssetCheckSeverity.WARN,
}
# Where an artifact's place is made of one, nobody knows it before an execution.
_UNKNOWN = "\0"


def checks_of(
    pipeline: CompiledPipeline, active: "Active | None"
) -> "Mapping[str, Sequence[ActiveCheck]]":
    """Asks a pipeline's plugins what they check of each step's output.

    Raises:
        PluginError: One of them fails.
    """
    if active is None or not active.instances:
        return {}
    # Imported here: what has no plugins pays nothing for them.
    from aether_dagster.plugins.checks import find_checks
    from aethersdk import StepDefinition

    document = pipeline.document
    artifacts = _artifacts(document)
    definitions = (
        StepDefinition(document.name, step.id, step.type, step.args, artifacts, pipeline.directory)
        for step in document.pipeline.steps
    )
    found = {step.name: find_checks(active.instances, step) for step in definitions}
    return {step: checks for step, checks in found.items() if checks}


def check_specs(
    checks: "Sequence[ActiveCheck]", asset: dg.AssetSpec
) -> dict[str, dg.AssetCheckSpec]:
    """Returns the specs of the checks of an asset, by the op's output which tells of each."""
    specs = [
        dg.AssetCheckSpec(
            each.name,
            asset=asset.key,
            description=each.check.description or None,
            blocking=each.check.blocking,
            metadata={"aether/plugin": each.plugin},
            partitions_def=asset.partitions_def,
        )
        for each in checks
    ]
    return {f"check__{spec.name}": spec for spec in specs}


def check_results(
    checks: "Sequence[ActiveCheck]",
    asset_key: Sequence[str],
    value: Any,
    redaction: Redaction,
    *,
    sealed: bool,
) -> Iterator[dg.AssetCheckResult]:
    """Evaluates the checks of a step.

    Args:
        checks: The checks.
        asset_key: The step's asset.
        value: What the step returned.
        redaction: Masks secrets in what checks say.
        sealed: Whether state is sealed; Dagster, which seals nothing, is then told no more than
            whether they passed.
    """
    from aether_dagster.plugins.checks import find_problems

    for each in checks:
        problems = find_problems(each, value)
        told = _NOT_SHOWN if sealed else redaction.text("; ".join(problems))
        yield dg.AssetCheckResult(
            passed=not problems,
            asset_key=dg.AssetKey(asset_key),
            check_name=each.name,
            severity=_SEVERITIES[each.check.severity],
            description=told if problems else None,
            metadata={"aether/plugin": each.plugin, "aether/problems": len(problems)},
        )


def _artifacts(document: Document) -> Mapping[str, str]:
    """The artifacts with which an execution of this process would begin, as far as is known."""
    system = SystemValues(_UNKNOWN, _UNKNOWN, _UNKNOWN)
    try:
        resolved = resolve(document, environ=os.environ, system=system, read_file=_unread)
        artifacts: Mapping[str, str] = resolved.context()["artifacts"]
    except ScriptError:
        return {}  # a name is missing here: who begins an execution tells of it
    return {name: place for name, place in artifacts.items() if _UNKNOWN not in place}


def _unread(path: str) -> str:
    del path
    return _UNKNOWN
