"""Does what the built-in step types say: calls, processes, requests, queries (spec 2).

Touches processes, the network and databases on behalf of a step; knows no state and no journal.
Cheap to import, since the child process of every attempt with a timeout begins here.
"""

from aether_dagster.steps.connections import Connections
from aether_dagster.steps.context import ArtifactAccess, StepContext
from aether_dagster.steps.delay import delay_before
from aether_dagster.steps.registry import STEP_TYPES, StepType
from aether_dagster.steps.runner import run_step

__all__ = [
    "STEP_TYPES",
    "ArtifactAccess",
    "Connections",
    "StepContext",
    "StepType",
    "delay_before",
    "run_step",
]
