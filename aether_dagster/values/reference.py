"""A reference to a stored value, as it stands in state in place of the value (spec 1.4)."""

import re
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

from aether_dagster.errors import ValueStoreError

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MEMBERS = ("$artifact", "sha256", "bytes", "media_type")


@dataclass(frozen=True)
class ValueRef:
    """Where a stored value is and how to know it again (spec 1.4).

    Args:
        uri: A `file:` URI, or a URL of the store's own kind. The last four segments name the
            object within its store, so a reference outlives a store which was moved.
        sha256: Digest of the stored bytes, 64 hexadecimal digits.
        bytes: How many bytes are stored.
        media_type: How they are encoded; see `codecs`.
    """

    uri: str
    sha256: str
    bytes: int
    media_type: str

    def to_json(self) -> dict[str, Any]:
        """Give the object which stands in state, with `$artifact` for the URI."""
        values = (self.uri, self.sha256, self.bytes, self.media_type)
        return dict(zip(_MEMBERS, values, strict=True))

    @classmethod
    def from_json(cls, obj: object) -> "ValueRef":
        """Read the object which `to_json` gives.

        Raises:
            ValueStoreError: It is not a reference.
        """
        if not is_reference(obj):
            raise ValueStoreError(
                "Not a reference to a stored value: expected an object with exactly the members "
                f"{', '.join(_MEMBERS)}."
            )
        return cls(obj["$artifact"], obj["sha256"], obj["bytes"], obj["media_type"])


def is_reference(obj: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether an object is a reference: exactly its four members, of their types."""
    if not isinstance(obj, dict):
        return False
    members = cast("dict[str, Any]", obj)
    return (
        members.keys() == set(_MEMBERS)
        and isinstance(members["$artifact"], str)
        and isinstance(members["sha256"], str)
        and _DIGEST.fullmatch(members["sha256"]) is not None
        and type(members["bytes"]) is int
        and members["bytes"] >= 0
        and isinstance(members["media_type"], str)
    )
