"""What an execution takes over from the one which it resumes (spec 6, spec 7 "Values")."""

import difflib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aether_dagster.errors import SettingsError, UnknownExecution
from aether_dagster.journal import ExecutionRecord, Journal
from aether_dagster.manager.ending import FAILED, PENDING, SUCCEEDED
from aether_dagster.script import Document, Resolved, parse_document
from aether_dagster.state import Outcome, Replica
from aether_dagster.values import ValueRef

LATEST = "latest"

_PREFIX = "pipeline_"
_ID_LENGTH = len(_PREFIX) + 8
_FAILED = "failed"
_NOT_RUN = "did not run"
_CUT_OFF = "was cut off"
_NEW = "is new"
_CHANGED = "succeeded, and was changed since"
_NO_VALUE = "succeeded, and its value is gone"


@dataclass(frozen=True)
class Resumption:
    """What an execution begins with because it resumes another one.

    Args:
        resumed_from: The other execution.
        reused: How the nodes begin whose outputs are taken over, by step.
        artifacts: What steps and plugins wrote to `context.artifacts` while it ran; None where
            they deleted a name which the document declares.
    """

    resumed_from: str
    reused: Mapping[str, Outcome]
    artifacts: Mapping[str, str | None]

    def artifacts_over(self, declared: Mapping[str, str]) -> dict[str, str]:
        """Returns the artifacts which it begins with, where the document declares these."""
        found = {**declared, **self.artifacts}
        return {name: uri for name, uri in found.items() if uri is not None}


@dataclass(frozen=True)
class ResumePlan:
    """Which steps run when an execution is resumed, and which do not run again.

    Args:
        pipeline_id: The execution which is resumed.
        runs: The steps which run, in topological order, each with the reason.
        reused: The steps whose outputs are taken over.
        again: Those of `runs` which had succeeded.
    """

    pipeline_id: str
    runs: Mapping[str, str]
    reused: tuple[str, ...]
    again: tuple[str, ...]


def find_resumable(
    journal: Journal, wanted: str, pipeline: str, partition: str | None = None
) -> ExecutionRecord:
    """Returns the execution which a user means.

    Args:
        journal: The journal.
        wanted: Its pipeline id, the beginning of it if there is only one such, or `latest`.
        pipeline: The name of the pipeline which is to be resumed.
        partition: Of this partition only, where one is given.

    Raises:
        SettingsError: There is none, there are several, or it is of another pipeline or partition.
    """
    found = _found(journal, wanted, pipeline, partition)
    if not found:
        raise SettingsError(_unknown(journal, wanted, pipeline, partition))
    if len(found) > 1:
        names = ", ".join(found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise SettingsError(f"{wanted} is the beginning of {names}{more}; write more of it.")
    record = journal.record(found[0])
    if record.pipeline != pipeline:
        raise SettingsError(
            f"{record.pipeline_id} is an execution of {record.pipeline!r}, not of {pipeline!r}: "
            "give its document."
        )
    if partition not in (None, record.partition):
        of = "no partition" if record.partition is None else f"partition {record.partition!r}"
        raise SettingsError(f"{record.pipeline_id} is an execution of {of}, not of {partition!r}.")
    if record.refused is not None:
        raise SettingsError(
            f"{record.pipeline_id} was refused before its first step, so there is nothing to "
            "resume: start a new run."
        )
    return record


def plan_resume(
    record: ExecutionRecord,
    before: Replica,
    document: Document,
    selected: Sequence[str] | None,
    has_value: Callable[[ValueRef], bool],
) -> ResumePlan:
    """Decides what runs again, as `make` would.

    A step is taken over if it succeeded, does the same as then (its hash, as in `code_version`),
    its value is still there, and all steps above it are taken over too. Every other one runs.

    Args:
        record: The execution which is resumed.
        before: Its state.
        document: The document as it is now.
        selected: The steps which may run; None stands for those which the execution covered, and
            for all where it covered its whole document.
        has_value: Tells whether a stored value is there.
    """
    old = recorded_document(record)
    covered = set(before.nodes())
    whole = covered == set(old.order)
    scope = {step for step in document.order if whole or step in covered}
    may_run = scope if selected is None else set(selected)
    runs: dict[str, str] = {}
    # Those which are not as they were, whether they may run now or not.
    other: set[str] = set()
    for step in document.order:
        if step not in may_run and step not in covered:
            continue
        reason = _reason(step, before, old, document, has_value)
        above = [up for up in document.dependencies[step] if up in other]
        if reason is None and above:
            reason = f"succeeded, and comes after {above[0]!r}"
        if reason is not None:
            other.add(step)
            if step in may_run:
                runs[step] = reason
    again = tuple(step for step in runs if before.outcome(step).status == SUCCEEDED)
    return ResumePlan(record.pipeline_id, runs, tuple(_kept(before, document, runs)), again)


def take_over(
    journal: Journal, record: ExecutionRecord, document: Document, runs: Sequence[str] | None
) -> Resumption:
    """Returns what an execution begins with which resumes another.

    Whatever succeeded there and does not run here is taken over: who made the run has decided
    what it runs, be it `--resume` or Dagster's "re-execute from failure".

    Args:
        journal: The journal.
        record: The execution which is resumed.
        document: The document of the new one.
        runs: The steps which the new one runs; all where None.
    """
    before = journal.replica(record.pipeline_id)
    kept = _kept(before, document, set(document.order if runs is None else runs))
    reused = {
        step: Outcome(1, SUCCEEDED, outcome.output_payload, value=outcome.value)
        for step, outcome in kept.items()
    }
    return Resumption(record.pipeline_id, reused, _artifacts(record, before))


def earlier_value(journal: Journal, record: ExecutionRecord, step: str) -> ValueRef | None:
    """Returns what a step returned in the execution which this one resumes, or one before it."""
    seen: set[str] = set()
    while record.resumed_from is not None and record.resumed_from not in seen:
        seen.add(record.resumed_from)
        try:
            record = journal.record(record.resumed_from)
        except UnknownExecution:
            return None  # it was deleted
        value = journal.replica(record.pipeline_id).outcome(step).value
        if value is not None:
            return ValueRef.from_json(value)
    return None


def recorded_document(record: ExecutionRecord) -> Document:
    """Returns the document which an execution was begun with."""
    return parse_document(json.dumps(record.document), file=record.pipeline)


def _reason(
    step: str,
    before: Replica,
    old: Document,
    document: Document,
    has_value: Callable[[ValueRef], bool],
) -> str | None:
    """Why a step cannot be taken over, whatever is above it."""
    if not before.declares(step):
        return _NOT_RUN if step in old.dependencies else _NEW
    outcome = before.outcome(step)
    if outcome.status != SUCCEEDED:
        return {FAILED: _FAILED, PENDING: _NOT_RUN}.get(outcome.status, _CUT_OFF)
    if old.step_hash(step) != document.step_hash(step):
        return _CHANGED
    if outcome.value is None or not has_value(ValueRef.from_json(outcome.value)):
        return _NO_VALUE
    return None


def _kept(before: Replica, document: Document, runs: Collection[str]) -> dict[str, Outcome]:
    """The outcomes of the steps which succeeded before and do not run now."""
    outcomes = {step: before.outcome(step) for step in document.order if before.declares(step)}
    return {
        step: outcome
        for step, outcome in outcomes.items()
        if outcome.status == SUCCEEDED and step not in runs
    }


def _artifacts(record: ExecutionRecord, before: Replica) -> dict[str, str | None]:
    declared: Mapping[str, Any] = {}
    if record.resolved is not None:
        resolved = Resolved.from_json(record.resolved, recorded_document(record))
        declared = resolved.context()["artifacts"]
    now = before.artifacts()
    return {
        name: now.get(name)
        for name in sorted({*now, *declared})
        if now.get(name) != declared.get(name)
    }


def _found(journal: Journal, wanted: str, pipeline: str, partition: str | None) -> list[str]:
    if wanted == LATEST:
        limit = 1 if partition is None else None
        newest = journal.executions(limit=limit, pipeline=pipeline)
        return [each.pipeline_id for each in newest if partition in (None, each.partition)][:1]
    full = wanted if wanted.startswith(_PREFIX) else _PREFIX + wanted
    if len(full) == _ID_LENGTH:
        with suppress(UnknownExecution):
            return [journal.record(full).pipeline_id]
    every = (each.pipeline_id for each in journal.executions())
    return [pipeline_id for pipeline_id in every if pipeline_id.startswith(full)]


def _unknown(journal: Journal, wanted: str, pipeline: str, partition: str | None) -> str:
    known = journal.executions(pipeline=pipeline)
    ids = [each.pipeline_id for each in known]
    if not ids:
        return f"There is no execution of {pipeline!r} to resume."
    if wanted == LATEST:
        keys = dict.fromkeys(each.partition for each in known if each.partition is not None)
        near = difflib.get_close_matches(partition or "", keys, n=1)
        hint = f"; did you mean {near[0]}?" if near else " to resume."
        return f"There is no execution of {pipeline!r} and the partition {partition!r}{hint}"
    full = wanted if wanted.startswith(_PREFIX) else _PREFIX + wanted
    near = [
        *difflib.get_close_matches(wanted, [LATEST, *ids], n=1),
        *difflib.get_close_matches(full, ids, n=1, cutoff=0.9),
        ids[0],
    ]
    return f"There is no execution {wanted!r} of {pipeline!r}; did you mean {near[0]}?"
