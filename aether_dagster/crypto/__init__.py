"""Sealing: bytes which only a key opens, and which tell when they were changed (spec 3).

Touches what key references name (a file, a descriptor, a command), and nothing else.
"""

from aether_dagster.crypto.keys import Key, KeyRing
from aether_dagster.crypto.seal import Opened, Sealed, Subject, parse, rewrap, seal, unseal
from aether_dagster.crypto.sources import KEY_VARIABLE, read_keys

__all__ = [
    "KEY_VARIABLE",
    "Key",
    "KeyRing",
    "Opened",
    "Sealed",
    "Subject",
    "parse",
    "read_keys",
    "rewrap",
    "seal",
    "unseal",
]
