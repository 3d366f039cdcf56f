"""Collects what is wrong with one document, with places, words and suggestions."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, cast

from aether_dagster.errors import Problem
from aether_dagster.script.credentials import is_credential_name, without_password
from aether_dagster.script.loader import Kept, Loaded, Path

_MAX_SUGGESTIONS = 50
"""Looking for the nearest name takes a while; a document with more mistakes has other worries."""


class Findings:
    """Collects the problems of one document.

    Args:
        file: The document's name for messages.
        loaded: Its text and places; None where it was written in Python.
    """

    def __init__(self, file: str, loaded: Loaded | Kept | None = None):
        self._file = file
        self._loaded = loaded
        self._suggestions_left = _MAX_SUGGESTIONS
        self._steps: Sequence[Any] = ()
        self._problems: list[Problem] = list(loaded.problems) if loaded else []

    def name_steps(self, steps: Sequence[Any]) -> None:
        """Let messages speak of steps by their ids.

        Args:
            steps: As they were read, or as they were checked.
        """
        self._steps = steps

    def add(
        self,
        path: Path,
        message: str,
        *,
        found: str | None = None,
        expected: str | None = None,
        suggestion: str | None = None,
        at_key: bool = False,
        ordinal: int | None = None,
    ) -> None:
        """Note a problem.

        Args:
            path: The part of the document which it is about.
            message: What is wrong, without the place.
            found: What stands there.
            expected: What may stand there.
            suggestion: The nearest right thing.
            at_key: Whether the key is wrong rather than its value.
            ordinal: The `${` of the string which is meant, counted from 0.
        """
        line, column = self._place(path, at_key, ordinal) or (None, None)
        label = self._label(path[:-1] if at_key else path)
        text = f"{label}: {message}" if label else message[:1].upper() + message[1:]
        self._problems.append(Problem(self._file, line, column, text, found, expected, suggestion))

    def problems(self) -> list[Problem]:
        """Everything noted, each once, in document order."""
        unique = dict.fromkeys(self._problems)
        return sorted(unique, key=lambda p: (p.line or 0, p.column or 0))

    def nearest(self, name: str, known: Iterable[str]) -> str | None:
        """Return the known name which is most like `name`, if one is."""
        if self._suggestions_left <= 0:
            return None
        self._suggestions_left -= 1
        folded = {candidate.lower(): candidate for candidate in known}
        near = get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
        return folded[near[0]] if near else None

    def line(self, path: Path) -> int | None:
        """Return the line in which a value stands, where there is a text."""
        place = self._place(path, False, None)
        return place[0] if place else None

    def written(self, path: Path) -> str | None:
        """Return a value as it is written in the document, where there is a text."""
        span = self._loaded.values.get(path) if self._loaded else None
        return self._loaded.text[span[2] : span[3]] if self._loaded and span else None

    def _place(self, path: Path, at_key: bool, ordinal: int | None) -> tuple[int, int] | None:
        if self._loaded is None:
            return None
        if at_key and path in self._loaded.keys:
            return self._loaded.keys[path]
        while path and path not in self._loaded.values:
            path = path[:-1]
        span = self._loaded.values.get(path)
        if span is None:
            return 1, 1
        if ordinal is not None:
            index = span[2] - 1
            for _ in range(ordinal + 1):
                index = self._loaded.text.find("${", index + 1, span[3])
                if index < 0:
                    break
            else:
                text = self._loaded.text
                return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)
        return span[:2]

    def _name(self, index: int) -> str | None:
        step = self._steps[index] if index < len(self._steps) else None
        if isinstance(step, Mapping):
            name = cast("Mapping[str, Any]", step).get("id")
        else:
            name = getattr(step, "id", None)
        return name if isinstance(name, str) else None

    def _label(self, path: Path) -> str:
        if path[:2] == ("pipeline", "steps") and len(path) > 2:
            index = cast("int", path[2])
            name = self._name(index)
            step = f"step {shorten(name)!r}" if name is not None else f"step number {index + 1}"
            rest = dotted(path[3:])
            return f"{step}, {rest}" if rest else step
        return dotted(path)


def dotted(path: Path) -> str:
    """Write a path as people do: `hooks.onSuccess[0].args`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def is_credential_place(path: Path) -> bool:
    """Tell whether a key on the way to a value says that it is a credential."""
    return any(isinstance(part, str) and is_credential_name(part) for part in path)


def describe(value: Any, path: Path = ()) -> str:
    """Say what a value is, without giving away what could be a credential."""
    if is_credential_place(path):
        return "a value which is not shown"
    if isinstance(value, str):
        shown = without_password(value)
        return f"the string {shorten(shown)!r}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if value else "an empty list"


def shorten(text: str) -> str:
    """Cut a text which is too long for a message."""
    return text if len(text) <= 60 else text[:57] + "..."
