"""What plugin authors import: state hooks and the frozen state objects which they are given.

Standard library only, below everything else of the product, and cheap to import.
"""

from aethersdk.checks import OutputCheck, StepDefinition
from aethersdk.document import State
from aethersdk.hooks import StateHook, StateVeto, Trigger
from aethersdk.plugin import Plugin
from aethersdk.state import (
    ExecutionContext,
    Mutation,
    NodeState,
    NodeStatus,
    PipelineState,
    Report,
)

__all__ = [
    "ExecutionContext",
    "Mutation",
    "NodeState",
    "NodeStatus",
    "OutputCheck",
    "PipelineState",
    "Plugin",
    "Report",
    "State",
    "StateHook",
    "StateVeto",
    "StepDefinition",
    "Trigger",
]
