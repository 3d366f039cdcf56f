"""The grammar of `${…}` (spec 2, "Interpolation"): text to templates, templates to values.

A template is a tuple of literal strings and references. A string which is one reference alone
keeps the type of the value; among other text a value becomes text.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, cast

from aether_dagster.script.canonical import canonical_json

SYSTEM_NAMES = ("TIMESTAMP_UTC", "EXECUTION_ID", "PARTITION_KEY")
METADATA_NAMES = ("NAME", "VERSION", "DESCRIPTION", "OWNERS", "LABELS")
RESERVED_NAMES = frozenset((*SYSTEM_NAMES, "METADATA", "steps", "secrets", "file"))

Kind = Literal["name", "system", "metadata", "step", "asset", "secret", "file"]
Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """One `${…}`.

    Attributes:
        kind: `name` is a variable or an environment variable.
        name: The variable, system name, metadata key, step id, asset key, secret, or file path.
        keys: What follows `.output` of a step, an asset key, or a metadata key.
        text: The reference as it stands in the document.
        ordinal: Which `${` of its string it is, from 0; literal `$${` are counted too.
    """

    kind: Kind
    name: str
    keys: Keys
    text: str
    ordinal: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A `${` which is no reference: what is wrong, and at which `${` of the string."""

    ordinal: int
    message: str
    found: str
    expected: str
    suggestion: str | None = None


Template = tuple[str | Reference, ...]

_OPENING = re.compile(r"\$?\$\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STEP = re.compile(r"steps\.([A-Za-z_][A-Za-z0-9_-]*)\.output(.*)", re.DOTALL)
_ASSET = re.compile(r"assets\.([A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*)(.*)", re.DOTALL)
_SECRET = re.compile(r"secrets\.([A-Za-z0-9_][A-Za-z0-9_./-]*)")
_METADATA = re.compile(r"METADATA\.([A-Za-z]+)(.*)", re.DOTALL)
_KEY = re.compile(r"""\.([^\s.\[\]{}"'$]+)|\[(-?[0-9]{1,9})\]|\["([^"]*)"\]|\['([^']*)'\]""")
_LITERAL_HINT = "a reference such as ${NAME}; write $${ for a literal ${"


@lru_cache(maxsize=8192)
def parse(text: str) -> tuple[Template, tuple[Fault, ...]]:
    """Split a string into literals and references.

    Returns:
        The template, and every `${` which is wrong (left out of the template).
    """
    parts: list[str | Reference] = []
    faults: list[Fault] = []
    literal = ""
    position = ordinal = 0
    while match := _OPENING.search(text, position):
        literal += text[position : match.start()]
        if match[0] == "$${":
            literal += "${"
            position = match.end()
            ordinal += 1
            continue
        end = text.find("}", match.end())
        if end < 0:
            found = _shorten(text[match.start() :])
            faults.append(
                Fault(ordinal, "This reference is not closed", found, f"'}}' or {_LITERAL_HINT}")
            )
            break
        whole = text[match.start() : end + 1]
        reference = _reference(text[match.end() : end], whole, ordinal)
        if isinstance(reference, Reference):
            if literal:
                parts.append(literal)
            literal = ""
            parts.append(reference)
        else:
            faults.append(reference)
        position = end + 1
        ordinal += 1 + whole.count("${", 2)
    else:
        literal += text[position:]
    if literal or not parts:
        parts.append(literal)
    return tuple(parts), tuple(faults)


def templates(value: Any, path: Keys = ()) -> Iterator[tuple[Keys, str]]:
    """Yield every string in nested data which holds a `${`, with its path, in order."""
    if isinstance(value, str):
        if "${" in value:
            yield path, value
    elif isinstance(value, Mapping):
        for key, item in cast("Mapping[Any, Any]", value).items():
            yield from templates(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(cast("Sequence[Any]", value)):
            yield from templates(item, (*path, index))


def references(value: Any, path: Keys = ()) -> Iterator[tuple[Keys, Reference]]:
    """Yield every well-formed reference in nested data with the path of its string, in order."""
    for where, text in templates(value, path):
        for part in parse(text)[0]:
            if isinstance(part, Reference):
                yield where, part


def substitute(
    value: Any,
    look_up: Callable[[Reference, Keys], Any],
    as_text: Callable[[Reference, Any], str] | None = None,
    path: Keys = (),
) -> Any:
    """Return nested data with every reference replaced by what `look_up` gives for it.

    Args:
        value: Data of a document.
        look_up: Given a reference and the path of its string, returns the value.
        as_text: Given a reference and its value, returns the text which stands for it among
            other text; `to_text` unless given.
        path: Path of `value`.
    """
    if isinstance(value, str):
        if "${" not in value:
            return value
        template = parse(value)[0]
        if len(template) == 1 and isinstance(template[0], Reference):
            return look_up(template[0], path)
        return "".join(
            part if isinstance(part, str) else (as_text or _as_text)(part, look_up(part, path))
            for part in template
        )
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        return {k: substitute(v, look_up, as_text, (*path, k)) for k, v in mapping.items()}
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[Any]", value)
        return [substitute(v, look_up, as_text, (*path, i)) for i, v in enumerate(items)]
    return value


class NoSuchKey(LookupError):
    """A value has no part of the name which a reference asks for.

    Attributes:
        taken: The keys which could be followed.
        key: The one which could not.
        known: What there is instead: keys, or None where the value has no parts.
    """

    def __init__(self, taken: Keys, key: str | int, known: Sequence[str] | None):
        self.taken, self.key, self.known = taken, key, known
        super().__init__(repr(key))


def follow(value: Any, keys: Keys) -> Any:
    """Return the part of a value which `.key` and `[index]` lead to.

    Raises:
        NoSuchKey: There is no such part.
    """
    for position, key in enumerate(keys):
        if isinstance(value, Mapping):
            mapping = cast("Mapping[Any, Any]", value)
            if key not in mapping:
                raise NoSuchKey(keys[:position], key, [str(known) for known in mapping])
            value = mapping[key]
        elif isinstance(value, (list, tuple)) and isinstance(key, int):
            items = cast("Sequence[Any]", value)
            if not -len(items) <= key < len(items):
                raise NoSuchKey(keys[:position], key, [f"{len(items)} items"])
            value = items[key]
        else:
            raise NoSuchKey(keys[:position], key, None)
    return value


def to_text(value: Any) -> str:
    """Return the text of a value among other text: strings as they are, others as JSON.

    Numbers are written as RFC 8785 does, so that 1 and 1.0, which hash alike, also read alike.

    Raises:
        ValueError: The value is not JSON, so it has no text.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return canonical_json(value).decode()


def _as_text(_: Reference, value: Any) -> str:
    return to_text(value)


def _reference(inside: str, whole: str, ordinal: int) -> Reference | Fault:
    if _NAME.fullmatch(inside) and inside not in ("steps", "secrets", "file", "METADATA"):
        kind: Kind = "system" if inside in SYSTEM_NAMES else "name"
        return Reference(kind, inside, (), whole, ordinal)
    if match := _STEP.fullmatch(inside):
        keys = _keys(match[2])
        if keys is not None:
            return Reference("step", match[1], keys, whole, ordinal)
    elif match := _ASSET.fullmatch(inside):
        keys = _keys(match[2])
        if keys is not None:
            return Reference("asset", match[1], keys, whole, ordinal)
    elif match := _SECRET.fullmatch(inside):
        return Reference("secret", match[1], (), whole, ordinal)
    elif inside.startswith("file.") and len(inside) > 5:
        return Reference("file", inside[5:], (), whole, ordinal)
    elif match := _METADATA.fullmatch(inside):
        keys = _keys(match[2])
        if keys is not None:
            return Reference("metadata", match[1], keys, whole, ordinal)
    return _fault(inside, whole, ordinal)


def _keys(text: str) -> Keys | None:
    keys: list[str | int] = []
    position = 0
    while position < len(text):
        match = _KEY.match(text, position)
        if match is None:
            return None
        name, index, double, single = match.groups()
        keys.append(
            int(index)
            if index is not None
            else next(part for part in (name, double, single) if part is not None)
        )
        position = match.end()
    return tuple(keys)


def _fault(inside: str, whole: str, ordinal: int) -> Fault:
    shown = _shorten(whole)
    if inside.startswith("{"):
        name = inside.strip("{ ")
        message = "A reference has one pair of braces"
        return Fault(ordinal, message, shown, _LITERAL_HINT, f"${{{name}}}" if name else None)
    if inside != inside.strip() and inside.strip():
        message = "A reference holds no spaces"
        return Fault(ordinal, message, shown, _LITERAL_HINT, f"${{{inside.strip()}}}")
    head, _, rest = inside.partition(".")
    if head == "steps":
        step, _, after = rest.partition(".")
        expected = "${steps.<id>.output}, with .key and [index] after it"
        suggestion = None
        if step and not after.startswith("output"):
            suggestion = f"${{steps.{step}.output}}"
        return Fault(ordinal, "This is no reference to a step", shown, expected, suggestion)
    if head == "assets":
        expected = "${assets.<key>}, the key's parts joined by '/', with .key and [index] after it"
        return Fault(ordinal, "This is no reference to an asset", shown, expected)
    if head == "secrets":
        return Fault(ordinal, "This is no reference to a secret", shown, "${secrets.NAME}")
    if head == "file":
        return Fault(ordinal, "This is no reference to a file", shown, "${file./path}")
    if head == "METADATA":
        return Fault(ordinal, "This is no reference to metadata", shown, "${METADATA.NAME}")
    return Fault(ordinal, "This is no reference", shown, _LITERAL_HINT)


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
