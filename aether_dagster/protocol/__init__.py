"""The live protocol, sans-I/O: what is said, never how it travels.

No file, clock, thread or socket: time is passed in. Spec 4.
"""

from aether_dagster.protocol.messages import Frames, encode

__all__ = ["Frames", "encode"]
