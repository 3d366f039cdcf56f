"""How large variables become with what they refer to in its place (spec 2, "Interpolation").

A document of a few lines can ask for more text than a machine holds: ten variables, each of which
repeats the one before ten times. What is too large as a document is too large in this way too.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from aether_dagster.script.interpolation import (
    Keys,
    NoSuchKey,
    Reference,
    follow,
    substitute,
    to_text,
)
from aether_dagster.script.loader import MAX_BYTES, MAX_DEPTH

MAX_CHARACTERS = MAX_BYTES
TOO_LARGE = "is too large"


class Expansion:
    """Expands variables, as far as what they refer to is known before a run.

    Args:
        variables: The document's variables.
        metadata: What `${METADATA.…}` reads.
    """

    def __init__(self, variables: Mapping[str, Any], metadata: Mapping[str, Any]):
        self._variables = variables
        self._metadata = metadata
        self._values: dict[str, Any] = {}
        self._sizes: dict[str, int] = {}
        self._left = MAX_CHARACTERS

    def expand(self, name: str) -> tuple[str, str] | None:
        """Expand a variable; those which it refers to have been expanded before.

        Returns:
            What it becomes, where that is too much, and what is expected; from then on it counts
            as empty.
        """
        # All variables together have the room of one document: the journal keeps them together.
        room = self._left

        def look_up(reference: Reference, _: Keys) -> Any:
            nonlocal room
            room -= self.size(reference)
            if room < 0:
                raise _TooMuch
            return self._value(reference)

        self._values[name], self._sizes[name] = "", 0
        try:
            value = substitute(self._variables[name], look_up)
            size = len(to_text(value))
        except ValueError:
            return None  # not JSON, which is told elsewhere
        except _TooMuch:
            value, size = "", MAX_CHARACTERS + 1
        if size > self._left:
            return TOO_LARGE, f"at most {MAX_CHARACTERS} characters in all variables together"
        if _levels(value) > MAX_DEPTH:
            return "is nested too deeply", f"at most {MAX_DEPTH} levels"
        self._left -= size
        self._values[name], self._sizes[name] = value, size
        return None

    def size(self, reference: Reference) -> int:
        """Return how many characters stand for a reference; its own, where that is not known."""
        if reference.kind == "name" and reference.name in self._sizes:
            return self._sizes[reference.name]
        if reference.kind == "metadata":
            try:
                return len(to_text(self._value(reference)))
            except ValueError:
                return 0
        return len(reference.text)

    def _value(self, reference: Reference) -> Any:
        if reference.kind == "name" and reference.name in self._values:
            return self._values[reference.name]
        if reference.kind == "metadata":
            try:
                return follow(self._metadata, (reference.name, *reference.keys))
            except NoSuchKey:
                return ""
        return reference.text


class _TooMuch(Exception):
    pass


def _levels(value: Any) -> int:
    if isinstance(value, Mapping):
        items: Sequence[Any] = list(cast("Mapping[str, Any]", value).values())
    elif isinstance(value, (list, tuple)):
        items = cast("Sequence[Any]", value)
    else:
        return 0
    return 1 + max(map(_levels, items), default=0)
