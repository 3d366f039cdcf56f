"""Dagster's re-executions: runs which take over what an earlier run left (spec 7, "Values")."""

from collections.abc import Sequence

import dagster as dg

from aether_dagster.journal import ExecutionRecord, Journal
from aether_dagster.manager.resumption import Resumption, take_over
from aether_dagster.script import Document

PARENT_TAG = "dagster/parent_run_id"
"""Dagster's tag for the run which a run re-executes."""

ROOT_TAG = "dagster/root_run_id"
"""Dagster's tag for the first of a chain of such runs, which is what its UI groups them by."""

_FROM_FAILURE = ("dagster/is_resume_retry", "dagster/is_asset_resume_retry")


def resumption_of(
    journal: Journal, run: dg.DagsterRun, document: Document, runs: Sequence[str] | None
) -> Resumption | None:
    """Returns what the execution of a run and a document takes over; None where it is a new one.

    A re-execution resumes its parent if Dagster says that it goes on from a failure, or if it
    leaves out steps which succeeded in the parent. One which runs everything again is new.

    Args:
        journal: The journal.
        run: The run.
        document: The document.
        runs: Its steps which the run covers; all where None.
    """
    parent = _parent(journal, run, document.name)
    if parent is None:
        return None
    resumption = take_over(journal, parent, document, runs)
    told = run.tags.get(resumed_from_tag(document.name)) == parent.pipeline_id
    from_failure = told or any(run.tags.get(tag) == "true" for tag in _FROM_FAILURE)
    return resumption if from_failure or resumption.reused else None


def resumed_from_tag(pipeline: str) -> str:
    """Returns the name of the run tag which names the execution that was resumed."""
    # Dagster copies tags to re-executions, so it says something only beside the parent's own id.
    return f"aether/{pipeline}.resumed_from"


def _parent(journal: Journal, run: dg.DagsterRun, pipeline: str) -> ExecutionRecord | None:
    parent_run = run.parent_run_id or run.tags.get(PARENT_TAG)
    found = None if parent_run is None else journal.find(parent_run, pipeline)
    return found if found is not None and found.head > 0 else None
