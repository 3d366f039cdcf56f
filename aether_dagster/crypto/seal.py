"""Seals: JWE in general JSON serialization (RFC 7516), in one exact form (spec 3).

Whatever is not the form which this module writes, byte for byte, is refused before a library sees
it: base64 and JSON have many spellings, and a spelling which changed is a file which changed.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from aether_dagster.crypto.keys import Key, KeyRing
from aether_dagster.errors import (
    NotSealed,
    SettingsError,
    Tampered,
    Truncated,
    UnknownKey,
    WrongKey,
)

if TYPE_CHECKING:
    from joserfc.jwe import JWERegistry

Subject = Literal["state", "journal", "value", "secrets"]
"""What is sealed: a file of the state history, a payload in the journal, a stored value, or a
file of secrets."""

_CONTENT = "A256CBC-HS512"
_WRAP = "A256KW"
_TYPES: Mapping[Subject, str] = {
    "state": "application/json",
    "journal": "application/json",
    "value": "application/octet-stream",
    "secrets": "application/json",
}
_PIECES = (
    '{"protected":"',
    f'","recipients":[{{"header":{{"alg":"{_WRAP}","kid":"',
    '"},"encrypted_key":"',
    '"}],"aad":"',
    '","iv":"',
    '","ciphertext":"',
    '","tag":"',
    '"}\n',
)
_TOKEN = re.compile(r"[A-Za-z0-9_-]*")
# RFC 7518: a content key of 64 bytes, 8 more when wrapped; AES's blocks; half of a SHA-512.
_WRAPPED_BYTES, _BLOCK_BYTES, _TAG_BYTES = 72, 16, 32
# The library's limit is 64 KB; the state of a pipeline of thousands of steps is larger.
_LARGEST = 2**31


@dataclass(frozen=True)
class Sealed:
    """The parts of something sealed, as they stand in it; nothing of it is proven yet.

    Args:
        protected: The protected header, in base64url; the other parts too.
        key_id: The key which opens it.
        encrypted_key: The wrapped content key.
        aad: The associated data.
        iv: The initialization vector.
        ciphertext: The sealed content.
        tag: What proves the content, the associated data and the header.
    """

    protected: str
    key_id: str
    encrypted_key: str
    aad: str
    iv: str
    ciphertext: str
    tag: str

    @property
    def link(self) -> str:
        """What the next file of a chain names this one by; the same under every key."""
        text = f"{self.protected}.{self.aad}.{self.iv}.{self.ciphertext}.{self.tag}"
        return f"sha256:{hashlib.sha256(text.encode('ascii')).hexdigest()}"

    def render(self) -> bytes:
        """Returns the only bytes which `parse` takes for these parts."""
        parts = (
            self.protected,
            self.key_id,
            self.encrypted_key,
            self.aad,
            self.iv,
            self.ciphertext,
            self.tag,
            "",
        )
        return "".join(
            text for piece, part in zip(_PIECES, parts, strict=True) for text in (piece, part)
        ).encode("ascii")


@dataclass(frozen=True)
class Opened:
    """What was sealed, now proven to be unchanged.

    Args:
        plaintext: The content.
        associated: What it was sealed together with, for instance its name and place.
        key_id: The key which opened it.
        link: See `Sealed.link`.
    """

    plaintext: bytes
    associated: bytes
    key_id: str
    link: str


def seal(plaintext: bytes, key: Key, associated: bytes, subject: Subject = "state") -> Sealed:
    """Seals bytes under a new content key.

    Args:
        plaintext: What is to be kept secret.
        key: Wraps the content key.
        associated: Not secret, and proven together with it; not empty.
        subject: What it is; one cannot stand for another.

    Raises:
        SettingsError: The packages for sealing are not installed.
    """
    jwe = _jwe()
    content = jwe.GeneralJSONEncryption(_header(subject), plaintext, aad=associated)
    content.add_recipient({"alg": _WRAP, "kid": key.id}, _jwk(key))
    document: Any = jwe.encrypt_json(content, None, registry=_registry())
    return Sealed(
        document["protected"],
        key.id,
        document["recipients"][0]["encrypted_key"],
        document["aad"],
        document["iv"],
        document["ciphertext"],
        document["tag"],
    )


def unseal(data: bytes, ring: KeyRing, subject: Subject = "state") -> Opened:
    """Opens what `seal` made.

    Args:
        data: All of its bytes.
        ring: The keys to open it with.
        subject: What it must be.

    Raises:
        UnknownKey: Its key is not in the ring.
        WrongKey: The key of that id does not open it.
        Tampered: It was changed; `Truncated` where its end is missing.
        NotSealed: It is something plain.
    """
    sealed = parse(data)
    if sealed.protected != _encode(_header_bytes(subject)):
        raise Tampered("Its header is another one than what it must be sealed as.")
    key = _key_of(sealed, ring)
    document: Any = {
        "protected": sealed.protected,
        "recipients": [
            {
                "header": {"alg": _WRAP, "kid": sealed.key_id},
                "encrypted_key": sealed.encrypted_key,
            }
        ],
        "aad": sealed.aad,
        "iv": sealed.iv,
        "ciphertext": sealed.ciphertext,
        "tag": sealed.tag,
    }
    try:
        opened = _jwe().decrypt_json(document, _jwk(key), registry=_registry())
    except Exception as error:  # the library raises its own, cryptography's and Python's errors
        if _unwrap(sealed, key) is None:
            raise WrongKey(
                f"The key {key.id} does not open it: it was sealed with another key, or its "
                "wrapped content key was changed."
            ) from error
        raise Tampered("Its content, or what it was sealed together with, was changed.") from error
    plaintext = opened.plaintext
    if plaintext is None:
        raise Tampered("It has no content.")
    return Opened(plaintext, _decode(sealed.aad, "aad"), key.id, sealed.link)


def rewrap(data: bytes, ring: KeyRing, subject: Subject = "state") -> bytes:
    """Returns the same seal with its content key wrapped by the ring's first key.

    Everything else stays as it is, the link too. What is wrapped by it already is returned as it
    was. Raises as `unseal`, so that nothing changed is ever given a new key.
    """
    opened = unseal(data, ring, subject)
    if opened.key_id == ring.first.id:
        return data
    sealed = parse(data)
    content_key = _unwrap(sealed, _key_of(sealed, ring))
    assert content_key is not None, "it was opened just now"
    from cryptography.hazmat.primitives.keywrap import aes_key_wrap

    wrapped = aes_key_wrap(ring.first.secret, content_key)
    return replace(sealed, key_id=ring.first.id, encrypted_key=_encode(wrapped)).render()


def parse(data: bytes) -> Sealed:
    """Returns the parts of something sealed, without opening it.

    Raises:
        Tampered: It is not in the one form; `Truncated` where that form ends too early.
        NotSealed: It is something plain.
    """
    if not data:
        raise Truncated("It is empty.")
    text = data.decode("latin-1")
    parts: list[str] = []
    at = 0
    for piece in _PIECES:
        if not text.startswith(piece, at):
            _refuse(text, at, piece)
        at += len(piece)
        token = _TOKEN.match(text, at) if piece is not _PIECES[-1] else None
        if token is not None:
            parts.append(token[0])
            at = token.end()
    if at != len(text):
        raise Tampered("Something stands after its end.")
    sealed = Sealed(*parts)
    lengths = {
        "encrypted_key": len(_decode(sealed.encrypted_key, "encrypted_key")) == _WRAPPED_BYTES,
        "iv": len(_decode(sealed.iv, "iv")) == _BLOCK_BYTES,
        "tag": len(_decode(sealed.tag, "tag")) == _TAG_BYTES,
        "ciphertext": len(_decode(sealed.ciphertext, "ciphertext")) % _BLOCK_BYTES == 0,
        "aad": bool(_decode(sealed.aad, "aad")),
    }
    for name, right in lengths.items():
        if not right:
            raise Tampered(f"Its {name!r} has another length than it can have.")
    return sealed


def _refuse(text: str, at: int, piece: str) -> NoReturn:
    if piece.startswith(text[at:]):
        raise Truncated(f"Its end is missing: it has {len(text)} bytes.")
    if at == 0 and _is_plain(text):
        raise NotSealed("It is plain and not sealed.")
    raise Tampered(f"It was changed at byte {at}, where {piece.strip()!r} must stand.")


def _is_plain(text: str) -> bool:
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        # Few bytes which are wrong were changed; many were never written here.
        start = _PIECES[0]
        wrong = sum(one != other for one, other in zip(text, start, strict=False))
        return wrong > len(start) // 2
    # Its first bytes may be all that was changed of something sealed.
    return not (isinstance(document, dict) and "ciphertext" in document)


def _key_of(sealed: Sealed, ring: KeyRing) -> Key:
    key = ring.get(sealed.key_id)
    if key is not None:
        return key
    # A key's id follows from the key, so one which opens it under another id proves a change.
    for other in ring:
        if _unwrap(sealed, other) is not None:
            raise Tampered(f"Its key id was changed: it is sealed with the key {other.id}.")
    raise UnknownKey(
        f"It is sealed with the key {sealed.key_id}; the keys given are {', '.join(ring.ids)}."
    )


def _unwrap(sealed: Sealed, key: Key) -> bytes | None:
    from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

    try:
        return aes_key_unwrap(key.secret, _decode(sealed.encrypted_key, "encrypted_key"))
    except InvalidUnwrap:
        return None


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str, name: str) -> bytes:
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError) as error:
        raise Tampered(f"Its {name!r} is not base64url.") from error
    if _encode(data) != text:
        raise Tampered(f"Its {name!r} is spelled in another way than it was written.")
    return data


def _header(subject: Subject) -> dict[str, Any]:
    return {"enc": _CONTENT, "cty": _TYPES[subject], "typ": f"aether-{subject}"}


@cache
def _header_bytes(subject: Subject) -> bytes:
    return json.dumps(_header(subject), separators=(",", ":")).encode("ascii")


@cache
def _jwe() -> Any:
    try:
        from joserfc import jwe
    except ImportError as error:
        raise SettingsError(
            "Sealing needs packages which are not installed: pip install 'aether-dagster[sealed]'"
        ) from error
    return jwe


@cache
def _registry() -> "JWERegistry":
    registry: JWERegistry = _jwe().JWERegistry(algorithms=[_WRAP, _CONTENT])
    registry.max_ciphertext_length = _LARGEST
    return registry


@lru_cache(maxsize=64)
def _jwk(key: Key) -> Any:
    _jwe()
    from joserfc.jwk import OctKey

    return OctKey.import_key(key.secret)
