"""Which stored values the state of an execution refers to, in any of its versions."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from aether_dagster.journal import Journal
from aether_dagster.values import is_reference

# How many versions are in memory at once.
_AT_ONCE = 200


def referenced_values(journal: Journal, pipeline_id: str, head: int) -> set[str]:
    """Returns the URIs of all stored values which a version refers to, up to one of them."""
    found: set[str] = set()
    for first in range(0, head, _AT_ONCE):
        for version in journal.versions(pipeline_id, first, first + _AT_ONCE):
            for delta in version.deltas:
                for node in delta.nodes.values():
                    found.update(_references(node.input_payload))
                    if node.outcome is not None:
                        found.update(_references(node.outcome.output_payload))
                        found.update(_references(node.outcome.value))
    return found


def _references(value: Any) -> Iterator[str]:
    """Yields the URIs of all references inside a payload."""
    if is_reference(value):
        yield value["$artifact"]
        return
    items: Iterable[Any] = ()
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).values()
    elif isinstance(value, list):
        items = cast("list[Any]", value)
    for item in items:
        yield from _references(item)
