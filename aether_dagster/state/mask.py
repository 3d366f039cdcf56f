"""Update masks: field-level differences of state documents, and how to apply them (spec 4)."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

Path = tuple[str, ...]

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_SEGMENT = re.compile(r"`((?:[^`]|``)*)`|([A-Za-z0-9_-]+)")
_ABSENT: Any = object()

# Where the leaves are: the length of a leaf's path, by its beginning. The rest is atomic.
_LEAF_DEPTH: dict[Path, int] = {
    ("pipeline",): 2,
    ("nodes",): 3,
    ("context",): 2,
    ("context", "environment_vars"): 3,
    ("context", "artifacts"): 3,
}


def join_path(path: Path) -> str:
    """Returns a path as it is written in an update mask, for instance `nodes.a.status`."""
    return ".".join(
        segment if _PLAIN.fullmatch(segment) else "`" + segment.replace("`", "``") + "`"
        for segment in path
    )


def split_path(text: str) -> Path:
    """Returns the segments of a written path; raises ValueError where it is not one.

    A bare `*` is no segment: it stands for the whole state, or for any key in a subscription.
    """
    segments: list[str] = []
    position = 0
    while True:
        match = _SEGMENT.match(text, position)
        if match is None:
            raise ValueError(f"{text!r} is not a path: no segment at character {position + 1}")
        quoted, plain = match.groups()
        segments.append(plain if plain is not None else quoted.replace("``", "`"))
        position = match.end()
        if position == len(text):
            return tuple(segments)
        if text[position] != ".":
            raise ValueError(f"{text!r} is not a path: expected '.' at character {position + 1}")
        position += 1


def select(document: Mapping[str, Any], paths: Iterable[Path]) -> tuple[list[str], dict[str, Any]]:
    """Returns update mask and payload which bring these paths of a client up to `document`.

    Args:
        document: The state as it is now.
        paths: What changed; a path which `document` does not have is a deletion, and one below
            another of them says nothing more.

    Returns:
        The mask, sorted by code point, no path in it an ancestor of another; and the payload.
    """
    payload: dict[str, Any] = {}
    mask: list[str] = []
    wanted = set(paths)
    for path in wanted:
        if any(path[:length] in wanted for length in range(1, len(path))):
            continue
        mask.append(join_path(path))
        value = _get(document, path)
        if value is not _ABSENT:
            _put(payload, path, value)
    mask.sort()
    return mask, payload


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Path]:
    """Returns the paths in which two state documents differ: leaves, or what is gone whole.

    Numbers are compared as JSON has them: 1 is 1.0, and neither is true.
    """
    return list(_walk((), old, new))


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Returns update mask and payload which turn `old` into `new`."""
    return select(new, changes(old, new))


def apply(
    document: Mapping[str, Any], mask: Iterable[str], payload: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns `document` with every masked path replaced by what `payload` has there.

    A masked path which is absent from the payload is deleted; `*` alone is a snapshot. Neither
    argument is changed. Raises ValueError for a path which cannot be read.
    """
    written = list(mask)
    if written == ["*"]:
        return dict(payload)
    result = dict(document)
    copied: set[Path] = set()
    # Sorted, so that a path comes before those below it and is never taken for a copy of ours.
    for path in sorted(split_path(text) for text in written):
        value = _get(payload, path)
        if value is _ABSENT and _get(result, path) is _ABSENT:
            continue
        parent = _own(result, path[:-1], copied)
        if value is _ABSENT:
            parent.pop(path[-1], None)
        else:
            parent[path[-1]] = value
    return result


def same(a: Any, b: Any) -> bool:
    """Returns whether two JSON values are equal: 1 and 1.0 are, 1 and true are not."""
    if a is b:
        return True
    if isinstance(a, bool) or isinstance(b, bool):
        return False
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        left, right = cast(Mapping[str, Any], a), cast(Mapping[str, Any], b)
        return left.keys() == right.keys() and all(same(v, right[k]) for k, v in left.items())
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        first, second = cast(list[Any], a), cast(list[Any], b)
        return len(first) == len(second) and all(map(same, first, second))
    return a == b


def _walk(prefix: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterable[Path]:
    for key in old.keys() | new.keys():
        path = (*prefix, key)
        before, after = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if same(before, after):
            continue
        if after is _ABSENT or not _divisible(path, after):
            yield path
        elif isinstance(before, Mapping):
            yield from _walk(path, cast(Mapping[str, Any], before), after)
        else:
            # An empty object which was not there has no leaf of its own.
            yield from list(_walk(path, {}, after)) or [path]


def _divisible(path: Path, value: Any) -> bool:
    depth = _LEAF_DEPTH.get(path[:2], _LEAF_DEPTH.get(path[:1], 1))
    return len(path) < depth and isinstance(value, Mapping)


def _get(document: Mapping[str, Any], path: Path) -> Any:
    value: Any = document
    for segment in path:
        if not isinstance(value, Mapping) or segment not in value:
            return _ABSENT
        value = cast(Mapping[str, Any], value)[segment]
    return value


def _put(document: dict[str, Any], path: Path, value: Any) -> None:
    for segment in path[:-1]:
        document = document.setdefault(segment, {})
    document[path[-1]] = value


def _own(result: dict[str, Any], path: Path, copied: set[Path]) -> dict[str, Any]:
    """Returns the object at `path`, copied once so that the caller's document stays as it was."""
    current = result
    for depth, segment in enumerate(path, start=1):
        here = path[:depth]
        if here not in copied:
            value = current.get(segment)
            current[segment] = (
                dict(cast(dict[str, Any], value)) if isinstance(value, Mapping) else {}
            )
            copied.add(here)
        current = current[segment]
    return current
