"""Which paths a client wants: update masks with `*` for any key (spec 4, "Conversation")."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from aether_dagster.state.mask import Path

_LIMIT = 1000
_SEGMENT = re.compile(r"`((?:[^`]|``)*)`|([A-Za-z0-9_-]+|\*)(?=\.|$)")
_SEPARATED = re.compile(r"(?:`[^`]*`|[^,`])+")

# None stands for any key; a key which is written in backticks is never that.
Pattern = tuple[str | None, ...]

# The length of a leaf's path, by its beginning: what stands there is replaced whole.
_LEAF_DEPTH: Mapping[Path, int] = {
    ("pipeline",): 2,
    ("nodes",): 3,
    ("context",): 2,
    ("context", "environment_vars"): 3,
    ("context", "artifacts"): 3,
    ("executions",): 3,
}
# Maps which lose keys: only sent whole does one say which keys it has.
_WHOLE_MAPS = frozenset({("context", "environment_vars"), ("context", "artifacts")})


@dataclass(frozen=True, eq=False)
class Subscription:
    """What a client subscribed to. The same mask is the same object, which is soon compared.

    Args:
        patterns: Of the paths; a path covers what is below it. None is everything.
    """

    patterns: frozenset[Pattern] | None = None

    @staticmethod
    def parse(mask: Sequence[str]) -> "Subscription":
        """Reads a mask, for instance `["nodes.*.status", "context.artifacts"]`.

        Raises:
            ValueError: A path in it cannot be read, or there are more than 1,000.
        """
        if len(mask) > _LIMIT:
            raise ValueError(f"A mask has at most {_LIMIT} paths; this one has {len(mask)}.")
        patterns = frozenset(map(_pattern, mask))
        return EVERYTHING if (None,) in patterns else _subscription(patterns)

    @staticmethod
    def split(text: str) -> list[str]:
        """Returns the paths of a mask which is written with commas, as in a URL."""
        return _SEPARATED.findall(text)

    def covers(self, path: Path) -> bool:
        """Tells whether a change at this path is the client's business.

        A path above the leaves is a deletion, which concerns whoever has something below it.
        """
        if self.patterns is None:
            return True
        above = len(path) < _depth(path)
        return any(
            _agree(pattern, path) for pattern in self.patterns if len(pattern) <= len(path) or above
        )

    def touches(self, member: str) -> bool:
        """Tells whether anything in a member of the document can be the client's business."""
        return any(pattern[0] in (None, member) for pattern in self.patterns or ())

    def concrete(self, document: Mapping[str, Any]) -> list[Path]:
        """Returns the paths which a document has for this subscription, in no order."""
        found: set[Path] = set()
        for pattern in self.patterns or ():
            found.update(_expand((), document, pattern))
        return list(found)


EVERYTHING = Subscription()


@lru_cache(256)
def _subscription(patterns: frozenset[Pattern]) -> Subscription:
    return Subscription(patterns)


def _pattern(text: str) -> Pattern:
    segments: list[str | None] = []
    position = 0
    while match := _SEGMENT.match(text, position):
        quoted, plain = match.groups()
        if plain is None:
            segments.append(quoted.replace("``", "`"))
        else:
            segments.append(None if plain == "*" else plain)
        position = match.end()
        if position == len(text):
            return tuple(segments)
        if text[position] != ".":
            break
        position += 1
    raise ValueError(f"{text!r} is not a path: it cannot be read from character {position + 1} on.")


def _agree(pattern: Pattern, path: Path) -> bool:
    return all(a is None or a == b for a, b in zip(pattern, path, strict=False))


def _depth(path: Path) -> int:
    return _LEAF_DEPTH.get(path[:2], _LEAF_DEPTH.get(path[:1], 1))


def _expand(path: Path, value: Any, pattern: Pattern) -> Iterable[Path]:
    leaf = len(path) >= _depth(path) if path else False
    if not pattern and (leaf or path in _WHOLE_MAPS):
        yield path
    elif not leaf and isinstance(value, Mapping):
        members = cast(Mapping[str, Any], value)
        wanted = pattern[0] if pattern else None
        for key in members if wanted is None else (wanted,):
            if key in members:
                yield from _expand((*path, key), members[key], pattern[1:])
