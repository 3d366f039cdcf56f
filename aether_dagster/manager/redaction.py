"""Replaces secrets by value in everything which is written (spec 7, "Secrets at this edge")."""

import json
import logging
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import quote, quote_plus

MASK = "***"
# A shorter value would blank out half of every text.
SHORTEST = 4


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    # What no UTF-8 can express comes from an environment of bytes.
    yield quote(secret, safe="", errors="replace")
    yield quote_plus(secret, errors="replace")


class MaskedStream:
    """Masks secrets in a text which comes in pieces, also those which two pieces share.

    Args:
        redaction: The secrets.
    """

    def __init__(self, redaction: "Redaction"):
        self._redaction = redaction
        self._held = ""

    def __call__(self, text: str, final: bool) -> str:
        """Returns what may be shown now; what may begin a secret is held until it does not."""
        text = self._redaction.text(self._held + text)
        held = 0 if final else self._redaction.unfinished(text)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


class Redaction:
    """The secrets known so far in one execution of this process."""

    def __init__(self) -> None:
        self._given: frozenset[str] = frozenset()
        self._secrets: tuple[str, ...] = ()

    def learn(self, secrets: Iterable[str]) -> None:
        """Adds secret values; those under four characters are not replaced.

        They are found too where they are written as JSON, by `repr`, or in a URL.
        """
        given = {secret for secret in secrets if len(secret) >= SHORTEST} - self._given
        if not given:
            return
        self._given |= given
        known = {*self._secrets, *(form for secret in given for form in _forms(secret))}
        # The longest first: one secret may be part of another.
        self._secrets = tuple(sorted(known, key=lambda secret: (-len(secret), secret)))

    def text(self, text: str) -> str:
        """Returns the text with every known secret replaced by `***`."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def value(self, value: Any) -> Any:
        """Returns a value with every known secret replaced in its strings and keys.

        What is no JSON is left alone; and what holds no secret is returned itself, not a copy.
        """
        return self._value(value) if self._secrets else value

    def stream(self) -> "MaskedStream":
        """Returns what masks a text which comes in pieces."""
        return MaskedStream(self)

    def unfinished(self, text: str) -> int:
        """Returns how many characters at the end of a text may be the beginning of a secret."""
        for length in range(min(len(text), max(map(len, self._secrets), default=1) - 1), 0, -1):
            end = text[-length:]
            if any(len(each) > length and each.startswith(end) for each in self._secrets):
                return length
        return 0

    @contextmanager
    def masking(self, logger: logging.Logger) -> Generator[None]:
        """Masks what is logged while the body runs; what it learns meanwhile counts too."""
        logger.addFilter(self._mask)
        try:
            yield
        finally:
            logger.removeFilter(self._mask)

    def _mask(self, record: logging.LogRecord) -> bool:
        if not self._secrets:
            return True
        text = record.getMessage()
        if record.exc_info is not None:
            trace = logging.Formatter().formatException(record.exc_info)
            if self.text(trace) != trace:
                text, record.exc_info = f"{text}\n{trace}", None
        if self.text(text) != text:
            record.msg, record.args = self.text(text), None
        return True

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            text = self.text(value)
            return value if text == value else text
        if isinstance(value, dict):
            members = cast(dict[Any, Any], value)
            shown = {self._value(key): self._value(item) for key, item in members.items()}
            kept = shown.keys() == members.keys() and all(
                shown[key] is item for key, item in members.items()
            )
            return members if kept else shown
        if isinstance(value, list):
            items = cast(list[Any], value)
            shown_items = [self._value(item) for item in items]
            kept = all(a is b for a, b in zip(shown_items, items, strict=True))
            return items if kept else shown_items
        return value
