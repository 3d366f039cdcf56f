"""YAML 1.2 text to plain values with line and column: the only importer of the YAML parser.

libyaml composes the nodes (fast, with positions); scalars are resolved here by the 1.2 core
schema, because PyYAML itself speaks 1.1 (`on`, `no`, `1_000` and dates are strings to us).
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any, cast

import yaml
from yaml.cyaml import CParser

from aether_dagster.errors import Problem

MAX_BYTES = 5 * 1024 * 1024
MAX_VALUES = 250_000
MAX_DEPTH = 64
MAX_INTEGER = 2**53 - 1

Path = tuple[str | int, ...]

_PLAIN, _QUOTED = "plain", "quoted"
_STANDARD_TAG = "tag:yaml.org,2002:"
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_MAYBE_NUMBER = frozenset("0123456789+-.")
_JSON_SURROGATES = re.compile(
    r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
)


@dataclass(frozen=True, slots=True)
class Span:
    """Where a value stands: 1-based line and column, and its extent in the text."""

    line: int
    column: int
    start: int
    end: int


@dataclass(frozen=True)
class Loaded:
    """A document's value with the place of each part of it.

    Attributes:
        value: Plain JSON-like data.
        text: The source.
        keys: Line and column of each mapping key, by the path of its value.
        values: The extent of each value, by path.
        problems: What was wrong but did not stop the reading.
    """

    value: Any
    text: str
    keys: dict[Path, tuple[int, int]] = field(default_factory=dict[Path, tuple[int, int]])
    values: dict[Path, Span] = field(default_factory=dict[Path, Span])
    problems: list[Problem] = field(default_factory=list[Problem])


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
    composer = _Composer(text, file)
    try:
        root = composer.get_single_node()
    except yaml.YAMLError as error:
        raise Unreadable(_explain(error, text, file)) from None
    if root is None:
        raise Unreadable(
            Problem(file, 1, 1, "The document is empty", expected="a mapping with 'version' first")
        )
    loaded = Loaded(value=None, text=text)
    value = _Reader(loaded, file).read(root, ())
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
    if reason == "but found another document":
        message = "The file holds several documents; put each in a file of its own"
        return Problem(file, line, column, message, "'---'", "one document")
    if reason == "mapping values are not allowed in this context":
        message = "A ':' stands where no key can be; put the value in quotes or check indentation"
        return Problem(file, line, column, message)
    context = f" {error.context}" if error.context else ""
    return Problem(file, line, column, f"This is not YAML:{context} {reason}".rstrip())


class _Dumper(yaml.CSafeDumper):
    """Also quotes the strings which only YAML 1.2 takes for numbers, such as 0o7 and 1e3."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _pattern in (_INT, _FLOAT):
    _Dumper.add_implicit_resolver(
        _STANDARD_TAG + "core-number", re.compile(f"(?:{_pattern.pattern})$"), list(_MAYBE_NUMBER)
    )


class _Composer(CParser):
    """Composes nodes, marks plain scalars, and stops at the limits."""

    def __init__(self, text: str, file: str):
        CParser.__init__(self, text)
        self._file = file
        self._values = 0
        self._depth = 0

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        self._values += 1
        if self._values > MAX_VALUES:
            raise Unreadable(_too_many(self._file, 1, 1))
        return _PLAIN if kind is yaml.ScalarNode and implicit[0] else _QUOTED

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            mark = current_node.start_mark
            raise Unreadable(
                Problem(
                    self._file,
                    mark.line + 1,
                    mark.column + 1,
                    "The document is nested too deeply",
                    expected=f"at most {MAX_DEPTH} levels",
                )
            )

    def ascend_resolver(self) -> None:
        self._depth -= 1


def _too_many(file: str, line: int, column: int) -> Problem:
    return Problem(
        file,
        line,
        column,
        "The document holds too many values, aliases (*name) counted as often as they are used",
        expected=f"at most {MAX_VALUES}",
    )


class _Reader:
    """Turns composed nodes into values, and notes where each stands."""

    def __init__(self, loaded: Loaded, file: str):
        self._keys, self._spans, self._problems = loaded.keys, loaded.values, loaded.problems
        self._file = file
        self._count = 0
        self._open: set[int] = set()

    def read(self, node: Any, path: Path) -> Any:
        mark = node.start_mark
        self._count += 1
        if self._count > MAX_VALUES:
            raise Unreadable(_too_many(self._file, mark.line + 1, mark.column + 1))
        self._spans[path] = Span(
            mark.line + 1, mark.column + 1, mark.index, node.end_mark.index
        )
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            self._say(node, "An alias (*name) stands inside the value which it repeats")
            return None
        if len(path) >= MAX_DEPTH:
            self._say(node, "The document is nested too deeply", f"at most {MAX_DEPTH} levels")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                self._check_tag(node, "seq")
                items = cast("list[Any]", node.value)
                return [self.read(item, (*path, index)) for index, item in enumerate(items)]
            self._check_tag(node, "map")
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: Any, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in cast("list[tuple[Any, Any]]", node.value):
            if not isinstance(key_node, yaml.ScalarNode):
                self._say(key_node, "A key must be a string", "a string", "a list or mapping")
                continue
            key = key_node.value
            if key_node.tag == _PLAIN:
                if key == "<<":
                    self._say(key_node, "YAML 1.2 has no merge keys", "the keys themselves", "'<<'")
                    continue
                resolved = _core(key)
                if not isinstance(resolved, str):
                    found = f"{key} ({_kind(resolved)})"
                    self._say(key_node, "A key must be a string", f'"{key}"', found)
            child = (*path, key)
            if key in result:
                first = self._keys[child][0]
                self._say(key_node, f"The key {key!r} stands twice; first in line {first}")
                continue
            mark = key_node.start_mark
            self._keys[child] = (mark.line + 1, mark.column + 1)
            result[key] = self.read(value_node, child)
        return result

    def _scalar(self, node: Any) -> Any:
        text, tag = node.value, node.tag
        if tag == _QUOTED or tag == _STANDARD_TAG + "str":
            return text
        value: Any = _core(text)
        if tag != _PLAIN:
            kind = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}.get(
                tag.removeprefix(_STANDARD_TAG)
            )
            if kind is None:
                shown = tag.replace(_STANDARD_TAG, "!!")
                self._say(node, "This tag has no meaning here", "no tag", repr(shown))
                return text
            if not isinstance(value, kind):
                shown = tag.replace(_STANDARD_TAG, "!!")
                self._say(node, "The value does not fit its tag", f"a value for {shown}", repr(text))
        if isinstance(value, float) and not math.isfinite(value):
            self._say(node, "This number is not JSON", "a finite number", text)
            return 0
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            expected = f"at most {MAX_INTEGER} (2^53 - 1); put it in quotes"
            self._say(node, "This whole number is beyond what JSON can carry", expected, text[:40])
            return 0
        return value

    def _check_tag(self, node: Any, kind: str) -> None:
        if node.tag != _QUOTED and node.tag != _STANDARD_TAG + kind:
            shown = node.tag.replace(_STANDARD_TAG, "!!")
            self._say(node, "This tag has no meaning here", "no tag", repr(shown))

    def _say(
        self, node: Any, message: str, expected: str | None = None, found: str | None = None
    ) -> None:
        mark = node.start_mark
        self._problems.append(
            Problem(self._file, mark.line + 1, mark.column + 1, message, found, expected)
        )


def _core(text: str) -> Any:
    """A plain scalar's value by YAML 1.2's core schema."""
    if text and text[0] in _MAYBE_NUMBER:
        if _INT.fullmatch(text):
            if text.startswith("0o"):
                return int(text[2:], 8)
            if text.startswith("0x"):
                return int(text[2:], 16)
            # Python refuses to read very long numbers; all of them are beyond JSON's limit.
            return int(text) if len(text) < 4000 else MAX_INTEGER + 1
        if _FLOAT.fullmatch(text):
            return float(text)
        if _NOT_FINITE.fullmatch(text):
            return float(text.replace(".", ""))
        return text
    if text in _NULL:
        return None
    return _BOOL.get(text, text)


def _kind(value: Any) -> str:
    return {bool: "true or false", type(None): "null"}.get(type(value), "a number")
