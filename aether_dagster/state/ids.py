"""Identifiers of executions, nodes and deltas (spec 1.2), as pure functions."""

import hashlib
import json

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SUFFIX_LENGTH = 8
_SUFFIXES = 32**_SUFFIX_LENGTH
_VALUES = {character: value for value, character in enumerate(CROCKFORD)}
PIPELINE_PREFIX = "pipeline_"


def encode_suffix(number: int) -> str:
    """Returns the 8 Crockford characters of a number below 2**40 (it wraps beyond)."""
    number %= _SUFFIXES
    characters: list[str] = []
    for _ in range(_SUFFIX_LENGTH):
        number, digit = divmod(number, 32)
        characters.append(CROCKFORD[digit])
    return "".join(reversed(characters))


def decode_suffix(suffix: str) -> int:
    """Returns the number of 8 Crockford characters; raises ValueError for anything else."""
    if len(suffix) != _SUFFIX_LENGTH or any(character not in _VALUES for character in suffix):
        raise ValueError(f"{suffix!r} is not {_SUFFIX_LENGTH} characters of Crockford base32")
    number = 0
    for character in suffix:
        number = number * 32 + _VALUES[character]
    return number


def next_pipeline_number(unix_ms: int, last: int | None) -> int:
    """Returns the number of the next execution of a journal.

    The first 40 bits of a ULID's time part, raised above the journal's last one, so that ids
    increase whatever the clock does.

    Args:
        unix_ms: Now, in Unix milliseconds.
        last: The number of the journal's newest execution, or None.
    """
    now = unix_ms // 1024
    return now if last is None else max(now, last + 1)


def pipeline_id(number: int) -> str:
    """Returns `pipeline_` and the suffix of an execution's number."""
    return PIPELINE_PREFIX + encode_suffix(number)


def pipeline_number(identifier: str) -> int:
    """Returns the number of a pipeline id; raises ValueError where it is none."""
    if not identifier.startswith(PIPELINE_PREFIX):
        raise ValueError(f"{identifier!r} does not begin with {PIPELINE_PREFIX!r}")
    return decode_suffix(identifier.removeprefix(PIPELINE_PREFIX))


def node_id(identifier: str, step: str, index: int) -> str:
    """Returns the id of the node of a step.

    Args:
        identifier: The pipeline id of the execution.
        step: The step's name.
        index: Its place in the topological order of the whole document, from 0.
    """
    return f"{step}_{encode_suffix(pipeline_number(identifier) + 1 + index)}"


def delta_id(*parts: str | int) -> str:
    """Returns the id of a report: the same report has the same id, whoever repeats it.

    Two lists of parts share an id only where they are equal; the number 1 is not the text "1".
    """
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
