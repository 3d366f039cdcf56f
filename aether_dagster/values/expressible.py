"""What counts as JSON in this product: what RFC 8785 can express (spec 1.1)."""

from collections.abc import Iterable
from math import isfinite
from typing import Any, cast

LARGEST_INTEGER = 2**53 - 1
MAX_DEPTH = 200


def is_json(value: Any) -> bool:
    """Tell whether RFC 8785 can express a value as it is (spec 1.1, "JSON").

    Not JSON are NaN and infinities, integers beyond 2^53 - 1, strings with lone surrogates, keys
    which are not strings, tuples (they would come back as lists), and containers nested more than
    200 deep or within themselves, which readers of JSON refuse.

    Args:
        value: Anything. It is not changed, and no method of its own is called.
    """
    containers: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        deeper: dict[int, Any] = {}
        for container in containers:
            items = _members(container)
            if items is None:
                return False
            for item in items:
                # A container met twice on one level needs one look: a value which shares its
                # parts, or holds itself, is then never longer to walk than it is in memory.
                if isinstance(item, (list, dict)):
                    deeper[id(cast("Any", item))] = item
                elif not _is_scalar(item):
                    return False
        if not deeper:
            return True
        containers = list(deeper.values())
    return False


def _members(container: Any) -> Iterable[Any] | None:
    if not isinstance(container, dict):
        return container
    members = cast("dict[Any, Any]", container)
    return members.values() if all(map(_is_key, members)) else None


def _is_scalar(item: Any) -> bool:
    if item is None or isinstance(item, bool):
        return True
    if isinstance(item, str):
        return item.isascii() or _is_unicode(item)
    if isinstance(item, int):
        return -LARGEST_INTEGER <= item <= LARGEST_INTEGER
    return isinstance(item, float) and isfinite(item)


def _is_key(key: Any) -> bool:
    return isinstance(key, str) and (key.isascii() or _is_unicode(key))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
