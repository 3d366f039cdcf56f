"""What the journal hands out: executions, versions, tails and leases, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aether_dagster.state import Delta


@dataclass(frozen=True)
class ExecutionRecord:
    """One execution as the journal lists it, without folding its versions (spec 1.2, 1.6).

    Args:
        pipeline_id: `pipeline_` and 8 characters.
        run_id: The Dagster run it belongs to.
        pipeline: The pipeline's name; (`run_id`, `pipeline`) is unique.
        partition: Partition key of the run, or None.
        resumed_from: Pipeline id of the execution which this one resumes, or None.
        config_hash: Of the document it was begun with.
        created_at: Unix seconds.
        head: Its newest version; 0 while there is none.
        committed_at: When `head` was committed, Unix seconds; None without one.
        status: `pending` (no version yet), `refused` (by a hook), `executing`, or the report's
            `succeeded`, `failed`, `cancelled`.
        nodes: How many nodes are in each status, as the newest summary or the report says.
        finalized: The version which carries the report, or None.
        ended_at: The report's `end_timestamp`, Unix seconds; None while it is not finalized.
        history: URL of its folder in the state history, or None.
        refused: Why a hook refused it before its first step, or None.
        document: The canonical document; None where executions were listed.
        resolved: What was resolved once at its initialization; None where executions were listed.
        created: False where `reserve` found it already there.
    """

    pipeline_id: str
    run_id: str
    pipeline: str
    partition: str | None
    resumed_from: str | None
    config_hash: str
    created_at: float
    head: int
    committed_at: float | None
    status: str
    nodes: Mapping[str, int] = field(default_factory=dict[str, int])
    finalized: int | None = None
    ended_at: float | None = None
    history: str | None = None
    refused: str | None = None
    document: Mapping[str, Any] | None = None
    resolved: Mapping[str, Any] | None = None
    created: bool = False


@dataclass(frozen=True)
class Version:
    """One committed change of one execution (spec 1.6).

    Args:
        pipeline_id: The execution.
        number: From 1, without gaps.
        committed_at: Unix seconds, never less than the version before.
        deltas: What was committed, clocks set.
        late: It came after the finalization and is not part of the state.
    """

    pipeline_id: str
    number: int
    committed_at: float
    deltas: tuple[Delta, ...]
    late: bool = False


@dataclass(frozen=True)
class Tail:
    """What `Journal.tail` found.

    Args:
        versions: Newer versions, in order within each execution; empty after a timeout.
        cursor: Give it to the next call; opaque.
    """

    versions: list[Version]
    cursor: str


@dataclass(frozen=True)
class Lease:
    """Who may finalize an execution and write its files, and until when.

    Args:
        holder: As it was acquired.
        expires: Unix seconds.
    """

    holder: str
    expires: float
