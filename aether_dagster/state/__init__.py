"""The state of one execution as a lattice: deltas, their join, and the document they amount to.

Pure functions and values; no file, clock, thread or socket. Spec 1.
"""

from aether_dagster.state.delta import Authority, Delta, Evidence, NodeDelta, Outcome
from aether_dagster.state.machine import check_transition
from aether_dagster.state.mask import apply, diff
from aether_dagster.state.replica import Replica

__all__ = [
    "Authority",
    "Delta",
    "Evidence",
    "NodeDelta",
    "Outcome",
    "Replica",
    "apply",
    "check_transition",
    "diff",
]
