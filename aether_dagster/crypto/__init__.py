"""Sealing: bytes which only a key opens, and which tell when they were changed (spec 3).

Touches what key references name (a file, a descriptor, a command), and nothing else.
"""

from aether_dagster.crypto.chain import Chain, ChainLink, no_key, open_sealed, plain_link
from aether_dagster.crypto.keys import Key, KeyRing
from aether_dagster.crypto.seal import Opened, Sealed, Subject, parse, rewrap, seal, unseal
from aether_dagster.crypto.sources import KEY_VARIABLE, read_keys

__all__ = [
    "KEY_VARIABLE",
    "Chain",
    "ChainLink",
    "Key",
    "KeyRing",
    "Opened",
    "Sealed",
    "Subject",
    "no_key",
    "open_sealed",
    "parse",
    "plain_link",
    "read_keys",
    "rewrap",
    "seal",
    "unseal",
]
