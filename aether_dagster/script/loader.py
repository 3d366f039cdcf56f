"""YAML 1.2 text to plain values with line and column: the only importer of the YAML parser.

libyaml gives the events (fast, with positions); values are built from them here by the 1.2 core
schema, because PyYAML itself speaks 1.1 (`on`, `no`, `1_000` and dates are strings to us). Nodes
are not composed: so many small objects keep the garbage collector busy for most of the time.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import yaml
from yaml._yaml import CParser

from aether_dagster.errors import Problem
from aether_dagster.script.scalars import FLOAT, INTEGER, MAX_INTEGER, MAYBE_NUMBER, kind_of, scalar

MAX_BYTES = 5 * 1024 * 1024
MAX_VALUES = 250_000
MAX_DEPTH = 64
_TOO_DEEP = "The document is nested too deeply"
_DEPTH = f"at most {MAX_DEPTH} levels"

Path = tuple[str | int, ...]

_STANDARD_TAG = "tag:yaml.org,2002:"
_TAGGED: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "null": (type(None),),
}
_NOWHERE = -1
"""Path element of values which are read and then dropped."""
_JSON_SURROGATES = re.compile(
    r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
)


Span = tuple[int, int, int, int]
"""Where a value stands: line and column from 1, and its first and last index in the text."""


@dataclass(frozen=True)
class Loaded:
    """A document's value with the place of each part of it.

    Attributes:
        value: Plain JSON-like data.
        text: The source.
        keys: Line and column of each mapping key, by the path of its value.
        values: The extent of each value, by path; none inside of an alias.
        problems: What was wrong but did not stop the reading.
    """

    value: Any
    text: str
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict[Path, tuple[int, int]])
    values: dict[Path, Span] = field(default_factory=dict[Path, Span])
    problems: list[Problem] = field(default_factory=list[Problem])

    def place(self, path: Path) -> tuple[int, int]:
        """Return line and column of a value, or of the nearest above it which has a place."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values[path][:2]

    def kept(self, file: str, places: Iterable[Path]) -> "Kept":
        """Return what is kept of it when it was found right: the text and a few places."""
        return Kept(self.text, file, {path: self.place(path) for path in places})


@dataclass(frozen=True)
class Kept:
    """The text of a document in which nothing was wrong.

    The places of all its values take more memory than the values do, and are hardly ever asked
    for when all is checked: then the text is read once more.

    Attributes:
        text: The source.
        file: Its name for messages.
        places: Line and column of the values which are asked for in every document, by path.
    """

    text: str
    file: str
    places: Mapping[Path, tuple[int, int]]
    problems: tuple[Problem, ...] = ()

    def place(self, path: Path) -> tuple[int, int]:
        """Return line and column of a value, or of the nearest above it which has a place."""
        return self.places.get(path) or self._loaded.place(path)

    @property
    def keys(self) -> dict[Path, tuple[int, int]]:
        """As of `Loaded`."""
        return self._loaded.keys

    @property
    def values(self) -> dict[Path, Span]:
        """As of `Loaded`."""
        return self._loaded.values

    @cached_property
    def _loaded(self) -> Loaded:
        return load(self.text, self.file)


class Unreadable(Exception):
    """The text is no YAML document; nothing can be said about its parts."""

    def __init__(self, problem: Problem):
        self.problem = problem
        super().__init__(str(problem))


def load(source: bytes | str, file: str) -> Loaded:
    """Read one YAML 1.2 (or JSON) document.

    Args:
        source: The document, UTF-8 if bytes.
        file: Its name for messages.

    Raises:
        Unreadable: It is not one well-formed document within the limits.
    """
    text = _decode(source, file)
    loaded = Loaded(value=None, text=text)
    try:
        value = _Reader(loaded, file).document()
    except yaml.YAMLError as error:
        raise Unreadable(_explain(error, text, file)) from None
    return Loaded(value, text, loaded.keys, loaded.values, loaded.problems)


def parse_scalar(text: str) -> Any:
    """Read the text of a `--var` as YAML; raises `Unreadable` if it is none."""
    loaded = load(text, "--var")
    if loaded.problems:
        raise Unreadable(loaded.problems[0])
    return loaded.value


def dump(value: Any) -> str:
    """Write plain data as YAML which a 1.2 and a 1.1 reader understand alike."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def too_large(file: str, size: int) -> Problem:
    """The problem of a document of `size` bytes, which is over the limit."""
    return Problem(
        file,
        1,
        1,
        "The document is too large; keep data in files of its own",
        found=f"{size} bytes",
        expected=f"at most {MAX_BYTES} bytes",
    )


def _decode(source: bytes | str, file: str) -> str:
    if len(source) > MAX_BYTES:
        raise Unreadable(too_large(file, len(source)))
    if isinstance(source, bytes):
        try:
            text = source.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = source[: error.start].decode("utf-8", "replace")
            line, column = _place(before, len(before))
            found = f"the byte 0x{source[error.start]:02x}"
            problem = Problem(
                file, line, column, "The document is not UTF-8", found, "a file saved as UTF-8"
            )
            raise Unreadable(problem) from None
    else:
        text = source.removeprefix("\ufeff")
        if match := re.search("[\ud800-\udfff]", text):
            line, column = _place(text, match.start())
            message = "The document holds half of a surrogate pair, which is no character"
            raise Unreadable(Problem(file, line, column, message))
    if text.lstrip().startswith("{"):
        # JSON writes characters beyond U+FFFF as pairs of escapes, which YAML does not know.
        text = _JSON_SURROGATES.sub(_join_surrogates, text)
    return text


def _join_surrogates(match: re.Match[str]) -> str:
    high, low = int(match[2], 16), int(match[3], 16)
    return f"{match[1]}\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08X}"


def _place(text: str, index: int) -> tuple[int, int]:
    line_start = text.rfind("\n", 0, index) + 1
    return text.count("\n", 0, index) + 1, index - line_start + 1


def _explain(error: yaml.YAMLError, text: str, file: str) -> Problem:
    if not isinstance(error, yaml.MarkedYAMLError):
        position = getattr(error, "position", 0)
        character = text[position : position + 1]
        line, column = _place(text, position)
        found = f"U+{ord(character):04X}" if character else None
        return Problem(file, line, column, "This character is not allowed in YAML", found)
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    rows = text.split("\n")
    character = rows[line - 1][column - 1 : column] if line <= len(rows) else ""
    reason = error.problem or "it cannot be read"
    if reason == "found character that cannot start any token":
        if character == "\t":
            return Problem(
                file, line, column, "YAML cannot be indented with tabs", "a tab", "spaces"
            )
        return Problem(
            file, line, column, "A plain value cannot begin so; put it in quotes", repr(character)
        )
    if reason == "exceeded maximum nesting depth":
        # Newer releases of libyaml count too, up to a thousand.
        return Problem(file, line, column, _TOO_DEEP, expected=_DEPTH)
    if reason == "mapping values are not allowed in this context":
        message = "A ':' stands where no key can be; put the value in quotes or check indentation"
        return Problem(file, line, column, message)
    opened = error.context_mark
    if opened and error.context == "while scanning a quoted scalar":
        message = "This quote is not closed"
        return Problem(file, opened.line + 1, opened.column + 1, message)
    message = f"This is not YAML: {reason}"
    if opened and error.context:
        place = f"line {opened.line + 1}, column {opened.column + 1}"
        message += f" ({error.context}, which begins in {place})"
    return Problem(file, line, column, message)


class _Dumper(yaml.CSafeDumper):
    """Also quotes the strings which only YAML 1.2 takes for numbers, such as 0o7 and 1e3."""


for _pattern in (INTEGER, FLOAT):
    _Dumper.add_implicit_resolver(  # pyright: ignore[reportUnknownMemberType]
        _STANDARD_TAG + "core-number", re.compile(f"(?:{_pattern.pattern})$"), list(MAYBE_NUMBER)
    )


class _Reader:
    """Builds values from the parser's events, notes where each stands, and stops at the limits."""

    def __init__(self, loaded: Loaded, file: str):
        self._keys, self._spans, self._problems = loaded.keys, loaded.values, loaded.problems
        self._file = file
        self._next = cast("Callable[[], Any]", CParser(loaded.text).get_event)
        self._count = 0
        self._anchors: dict[str, tuple[Any, int] | None] = {}

    def document(self) -> Any:
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            expected = "a mapping with 'version' first"
            raise Unreadable(Problem(self._file, 1, 1, "The document is empty", expected=expected))
        value = self._value(self._next(), ())
        self._next()
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            message = "The file holds several documents; put each in a file of its own"
            raise Unreadable(self._problem(event, message, "one document", "'---'"))
        return value

    def _value(self, event: Any, path: Path) -> Any:
        start = event.start_mark
        if event.__class__ is yaml.AliasEvent:
            self._spans[path] = (start.line + 1, start.column + 1, start.index, start.index)
            return self._alias(event)
        before = self._count
        self._count += 1
        self._check_count(event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if event.__class__ is yaml.ScalarEvent:
            value = self._scalar(event)
            end = event.end_mark
        else:
            if len(path) >= MAX_DEPTH:
                raise Unreadable(self._problem(event, _TOO_DEEP, _DEPTH))
            read = self._list if event.__class__ is yaml.SequenceStartEvent else self._mapping
            value, end = read(event, path)
        self._spans[path] = (start.line + 1, start.column + 1, start.index, end.index)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, self._count - before
        return value

    def _list(self, event: Any, path: Path) -> tuple[list[Any], Any]:
        self._check_tag(event, "seq")
        result: list[Any] = []
        while (item := self._next()).__class__ is not yaml.SequenceEndEvent:
            result.append(self._value(item, (*path, len(result))))
        return result, item.end_mark

    def _mapping(self, event: Any, path: Path) -> tuple[dict[str, Any], Any]:
        self._check_tag(event, "map")
        result: dict[str, Any] = {}
        while (key_event := self._next()).__class__ is not yaml.MappingEndEvent:
            key = self._key(key_event, path)
            if key is None or key in result:
                if key is not None:
                    line = self._keys[*path, key][0]
                    self._note(key_event, f"The key {key!r} stands twice; first in line {line}")
                self._value(self._next(), (*path, _NOWHERE))
                continue
            mark = key_event.start_mark
            self._keys[*path, key] = (mark.line + 1, mark.column + 1)
            result[key] = self._value(self._next(), (*path, key))
        return result, key_event.end_mark

    def _key(self, event: Any, path: Path) -> str | None:
        """Return a key, or None for what can be none; the rest is read all the same."""
        message, expected = "A key must be a string", "a string"
        if event.__class__ is not yaml.ScalarEvent:
            self._note(event, message, expected, "an alias, a list or a mapping")
            self._value(event, (*path, _NOWHERE))
            return None
        text: str = event.value
        if event.anchor is not None:
            self._anchors[event.anchor] = text, 1
        if event.implicit[0]:
            if text == "<<":
                self._note(event, "YAML 1.2 has no merge keys", "the keys themselves", "'<<'")
                return None
            resolved = scalar(text)
            if not isinstance(resolved, str):
                self._note(event, message, f'"{text}"' if text else expected, kind_of(resolved))
                return None
        return text

    def _alias(self, event: Any) -> Any:
        name = event.anchor
        if name not in self._anchors:
            message = f"There is no anchor &{name} before this alias"
            raise Unreadable(self._problem(event, message, found=f"*{name}"))
        anchored = self._anchors[name]
        if anchored is None:
            message = "An alias stands inside the value which it repeats"
            raise Unreadable(self._problem(event, message, found=f"*{name}"))
        value, count = anchored
        self._count += count
        self._check_count(event)
        return _copy(value)

    def _scalar(self, event: Any) -> Any:
        text, tag = event.value, event.tag
        if tag is None:
            if not event.implicit[0]:
                return text
            value = scalar(text)
        else:
            value = self._tagged(event, text, tag)
        if isinstance(value, float) and not math.isfinite(value):
            self._note(event, "This number is not JSON", "a finite number", text)
            return 0
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            expected = f"at most {MAX_INTEGER} (2^53 - 1); put it in quotes"
            self._note(event, "This whole number is beyond what JSON can carry", expected)
            return 0
        return value

    def _tagged(self, event: Any, text: str, tag: str) -> Any:
        if tag in ("!", _STANDARD_TAG + "str"):
            return text
        value: Any = scalar(text)
        kinds = _TAGGED.get(tag.removeprefix(_STANDARD_TAG))
        if kinds is None:
            self._check_tag(event, "str")
            return text
        if not isinstance(value, kinds) or isinstance(value, bool) > (bool in kinds):
            expected = f"a value for {tag.replace(_STANDARD_TAG, '!!')}"
            self._note(event, "The value does not fit its tag", expected)
        return value

    def _check_tag(self, event: Any, kind: str) -> None:
        if event.tag not in (None, "!", _STANDARD_TAG + kind):
            shown = event.tag.replace(_STANDARD_TAG, "!!")
            self._note(event, "This tag has no meaning here", "no tag", repr(shown))

    def _check_count(self, event: Any) -> None:
        if self._count > MAX_VALUES:
            message = "The document holds too many values, each alias (*name) counted in full"
            raise Unreadable(self._problem(event, message, f"at most {MAX_VALUES}"))

    def _note(
        self, event: Any, message: str, expected: str | None = None, found: str | None = None
    ) -> None:
        self._problems.append(self._problem(event, message, expected, found))

    def _problem(
        self, event: Any, message: str, expected: str | None = None, found: str | None = None
    ) -> Problem:
        mark = event.start_mark
        return Problem(self._file, mark.line + 1, mark.column + 1, message, found, expected)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_copy(item) for item in cast("list[Any]", value)]
    return value
