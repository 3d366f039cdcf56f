"""The live protocol, sans-I/O: what is said, never how it travels.

No file, clock, thread or socket: time is passed in. Spec 4.
"""

from aether_dagster.protocol.closing import Close
from aether_dagster.protocol.hub import Hub
from aether_dagster.protocol.messages import Frames, encode
from aether_dagster.protocol.pace import Margin, Pace
from aether_dagster.protocol.session import Session, Wanted
from aether_dagster.protocol.subscription import Subscription

__all__ = [
    "Close",
    "Frames",
    "Hub",
    "Margin",
    "Pace",
    "Session",
    "Subscription",
    "Wanted",
    "encode",
]
