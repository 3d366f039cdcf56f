"""What a crew of workers has to report of the steps which it was given."""

from dataclasses import dataclass

import dagster as dg

from aether_dagster.orchestration.compat import ErrorInfo


@dataclass(frozen=True)
class Happened:
    """A step's event."""

    step_key: str
    event: dg.DagsterEvent


@dataclass(frozen=True)
class Ended:
    """A worker is done with a step.

    Args:
        step_key: The step.
        error: What was raised through it.
    """

    step_key: str
    error: ErrorInfo | None


@dataclass(frozen=True)
class Lost:
    """A worker died in a step.

    Args:
        step_key: The step.
        pid: The worker's.
        exit_code: None where nobody could tell.
    """

    step_key: str
    pid: int
    exit_code: int | None


Report = Happened | Ended | Lost
"""One of them."""
