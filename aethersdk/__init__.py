"""What plugin authors import: state hooks and the frozen state objects which they are given.

Standard library only, below everything else of the product, and cheap to import.
"""

from aethersdk.hooks import StateHook, StateVeto
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
    "PipelineState",
    "Report",
    "StateHook",
    "StateVeto",
]
