"""Keys of 256 bits, their ids, and the ring of them which a process has."""

import base64
import binascii
import hashlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, cast

from aether_dagster.errors import SettingsError

BYTES = 32
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]{43}=?")
_EXPECTED = (
    "a key is 256 bits in base64url (43 characters) or hex (64 digits), or a JWK of type `oct`; "
    "make one with `aetherscript key generate`"
)


@dataclass(frozen=True)
class Key:
    """A key which wraps content keys (A256KW).

    Args:
        secret: 32 bytes; in no `repr` and no message.
    """

    secret: bytes = field(repr=False)
    id: str = field(init=False)

    def __post_init__(self) -> None:
        if len(self.secret) != BYTES:
            raise SettingsError(f"A key of {len(self.secret) * 8} bits cannot seal: {_EXPECTED}.")
        # Derived, so that nobody configures it; one way, so that it tells nothing of the key.
        digest = hashlib.sha256(b"aether-state key id\0" + self.secret)
        object.__setattr__(self, "id", digest.hexdigest()[:16])

    @classmethod
    def generate(cls) -> Self:
        """Returns a new random key."""
        return cls(secrets.token_bytes(BYTES))

    def text(self) -> str:
        """Returns the key itself, in base64url without padding."""
        return base64.urlsafe_b64encode(self.secret).rstrip(b"=").decode()


class KeyRing:
    """One key or several: the first seals, all open.

    Args:
        keys: At least one; one which is given twice counts once.

    Raises:
        SettingsError: There is none.
    """

    def __init__(self, keys: Iterable[Key]):
        self._keys = {key.id: key for key in keys}
        if not self._keys:
            raise SettingsError(f"There is no key: {_EXPECTED}.")

    @property
    def first(self) -> Key:
        """The key which seals."""
        return next(iter(self._keys.values()))

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, the sealing one's first."""
        return tuple(self._keys)

    def get(self, key_id: str) -> Key | None:
        """Returns the key of that id, or None."""
        return self._keys.get(key_id)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys.values())

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self.ids)})"

    def text(self) -> str:
        """Returns all keys as text which `parse_keys` reads: one key, or a JWK Set."""
        if len(self) == 1:
            return self.first.text()
        return json.dumps({"keys": [{"kty": "oct", "k": key.text()} for key in self]})


def parse_keys(text: str, place: str) -> list[Key]:
    """Returns the key in a text, or all keys of a JWK Set.

    Args:
        text: base64url, hex, a JWK, or a JWK Set.
        place: Where it stands, for messages; the text itself is never shown.

    Raises:
        SettingsError: It is no key.
    """
    if not text.strip():
        raise SettingsError(f"{place} is empty: {_EXPECTED}.")
    if text.lstrip().startswith("{"):
        return _parse_jwk(text, place)
    if "\n" in text or "\r" in text:
        raise SettingsError(
            f"{place} has a line break in it: {_EXPECTED}, on one line. Several keys go into "
            "several --state-encryption-key, or a JWK Set."
        )
    return [_parse_text(text, place)]


def _parse_text(text: str, place: str) -> Key:
    if _HEX.fullmatch(text):
        return Key(bytes.fromhex(text))
    if _BASE64URL.fullmatch(text):
        key = Key(base64.urlsafe_b64decode(text.rstrip("=") + "="))
        # Four texts decode to the same bytes; only one of them was ever generated.
        if key.text() == text.rstrip("="):
            return key
    raise SettingsError(f"{place} holds {len(text)} characters which are no key: {_EXPECTED}.")


def _parse_jwk(text: str, place: str) -> list[Key]:
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise SettingsError(f"{place} looks like a JWK and is no JSON: {_EXPECTED}.") from None
    members: Any = document.get("keys", [document])
    if not isinstance(members, list) or not members:
        raise SettingsError(f"{place} is a JWK Set without keys: {_EXPECTED}.")
    return [_parse_member(member, place) for member in cast("list[Any]", members)]


def _parse_member(member: Any, place: str) -> Key:
    fields = cast("Mapping[str, Any]", member if isinstance(member, Mapping) else {})
    secret = fields.get("k")
    if fields.get("kty") != "oct" or not isinstance(secret, str):
        raise SettingsError(f"{place} is a JWK of another type than `oct`: {_EXPECTED}.")
    try:
        return Key(base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4)))
    except (binascii.Error, ValueError):
        raise SettingsError(f"The JWK in {place} has no base64url in `k`: {_EXPECTED}.") from None
