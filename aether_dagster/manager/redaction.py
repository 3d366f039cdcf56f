"""Replaces secrets by value in everything which is written (spec 7, "Secrets at this edge")."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

MASK = "***"
# A shorter value would blank out half of every text.
SHORTEST = 4


class Redaction:
    """The secrets known so far in one execution of this process."""

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()

    def learn(self, secrets: Iterable[str]) -> None:
        """Adds secret values; those under four characters are not replaced."""
        known = {*self._secrets, *(secret for secret in secrets if len(secret) >= SHORTEST)}
        # The longest first: one secret may be part of another.
        self._secrets = tuple(sorted(known, key=lambda secret: (-len(secret), secret)))

    def text(self, text: str) -> str:
        """Returns the text with every known secret replaced by `***`."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def value(self, value: Any) -> Any:
        """Returns a JSON value with every known secret replaced in its strings and keys."""
        if not self._secrets:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            members = cast(Mapping[str, Any], value).items()
            return {self.text(key): self.value(item) for key, item in members}
        if isinstance(value, list):
            return [self.value(item) for item in cast(list[Any], value)]
        return value
