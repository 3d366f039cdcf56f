import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jwcrypto import jwe, jwk

from aether_dagster.crypto import Key, KeyRing, Opened, parse, rewrap, seal, unseal
from aether_dagster.errors import (
    AetherError,
    NotSealed,
    SealError,
    Tampered,
    Truncated,
    UnknownKey,
    WrongKey,
)

KEY, OTHER = Key(bytes(range(32))), Key(bytes(range(1, 33)))
RING = KeyRing([KEY])
CONTENT = json.dumps({"node_id": "load_01H3XYZ9", "status": "succeeded"}, indent=2).encode()
PLACE = b'{"execution":"pipeline_01H3XYZ9","name":"state_init.json","prev":null,"seq":0}'
SEALED = seal(CONTENT, KEY, PLACE).render()


def other_library(key: Key) -> jwk.JWK:
    return jwk.JWK(kty="oct", k=key.text())


@given(st.binary(max_size=3000), st.binary(min_size=1, max_size=200))
def test_what_was_sealed_is_opened(content: bytes, place: bytes) -> None:
    sealed = seal(content, KEY, place)
    assert unseal(sealed.render(), RING) == Opened(content, place, KEY.id, sealed.link)


def test_a_large_state_is_sealed() -> None:
    content = bytes(3_000_000)
    assert unseal(seal(content, KEY, PLACE).render(), RING).plaintext == content


def test_the_same_content_is_never_sealed_alike() -> None:
    assert seal(CONTENT, KEY, PLACE).ciphertext != seal(CONTENT, KEY, PLACE).ciphertext


def test_the_form_is_the_one_of_the_specification() -> None:
    document = json.loads(SEALED)
    decoded = base64.urlsafe_b64decode(document["protected"] + "==")
    assert decoded == b'{"enc":"A256CBC-HS512","cty":"application/json","typ":"aether-state"}'
    (recipient,) = document["recipients"]
    assert recipient["header"] == {"alg": "A256KW", "kid": KEY.id}
    assert base64.urlsafe_b64decode(document["aad"] + "==") == PLACE
    assert set(document) == {"protected", "recipients", "aad", "iv", "ciphertext", "tag"}
    assert SEALED.endswith(b"}\n")
    assert CONTENT not in SEALED


def test_another_jose_library_opens_ours() -> None:
    token = jwe.JWE()
    token.deserialize(SEALED.decode(), other_library(KEY))
    assert token.payload == CONTENT


def test_ours_opens_what_another_jose_library_sealed() -> None:
    token = jwe.JWE(
        CONTENT,
        protected='{"enc":"A256CBC-HS512","cty":"application/json","typ":"aether-state"}',
        aad=PLACE,
    )
    token.add_recipient(other_library(KEY), header={"alg": "A256KW", "kid": KEY.id})
    theirs: dict[str, Any] = json.loads(token.serialize())
    recipient = {"header": theirs["header"], "encrypted_key": theirs["encrypted_key"]}
    ordered = {
        "protected": theirs["protected"],
        "recipients": [recipient],
        **{name: theirs[name] for name in ("aad", "iv", "ciphertext", "tag")},
    }
    data = json.dumps(ordered, separators=(",", ":")).encode() + b"\n"
    opened = unseal(data, RING)
    assert (opened.plaintext, opened.associated) == (CONTENT, PLACE)


def test_a_rewrapped_seal_opens_in_another_library_with_the_new_key_alone() -> None:
    moved = rewrap(SEALED, KeyRing([OTHER, KEY]))
    token = jwe.JWE()
    token.deserialize(moved.decode(), other_library(OTHER))
    assert token.payload == CONTENT
    with pytest.raises(jwe.InvalidJWEData):
        jwe.JWE().deserialize(moved.decode(), other_library(KEY))


def test_rewrapping_leaves_the_link_and_the_content_alone() -> None:
    ring = KeyRing([OTHER, KEY])
    moved = rewrap(SEALED, ring)
    assert parse(moved).link == parse(SEALED).link
    assert unseal(moved, KeyRing([OTHER])).plaintext == CONTENT
    assert rewrap(moved, ring) == moved
    with pytest.raises(UnknownKey):
        unseal(moved, RING)


def test_what_was_changed_is_not_given_a_new_key() -> None:
    for at in range(0, len(SEALED), 37):
        changed = SEALED[:at] + bytes([SEALED[at] ^ 1]) + SEALED[at + 1 :]
        with pytest.raises(SealError):
            rewrap(changed, KeyRing([OTHER, KEY]))


def test_no_flipped_bit_is_accepted_and_none_is_an_untyped_error() -> None:
    said: dict[type[Exception], int] = {}
    for at in range(len(SEALED)):
        for bit in range(8):
            changed = SEALED[:at] + bytes([SEALED[at] ^ 1 << bit]) + SEALED[at + 1 :]
            with pytest.raises(SealError) as caught:
                unseal(changed, RING)
            said[caught.type] = said.get(caught.type, 0) + 1
    assert sum(said.values()) == 8 * len(SEALED)
    # Of the wrapped content key's 96 characters; nothing else can look like another key.
    assert said.pop(WrongKey) <= 96 * 8
    assert set(said) <= {Tampered, Truncated}


def test_every_truncation_is_told_as_one() -> None:
    for length in range(len(SEALED)):
        with pytest.raises(Truncated):
            unseal(SEALED[:length], RING)


@settings(max_examples=300)
@given(st.data())
def test_nothing_put_in_or_taken_out_is_accepted(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(SEALED)))
    end = data.draw(st.integers(start, min(len(SEALED), start + 5)))
    changed = SEALED[:start] + data.draw(st.binary(max_size=5)) + SEALED[end:]
    if changed != SEALED:
        with pytest.raises(SealError):
            unseal(changed, RING)


@given(st.binary(max_size=300))
def test_no_bytes_are_an_untyped_error(data: bytes) -> None:
    with pytest.raises(SealError):
        unseal(data, RING)


@pytest.mark.parametrize(
    "spelled",
    [
        json.dumps(json.loads(SEALED)).encode(),
        json.dumps(json.loads(SEALED), separators=(",", ":")).encode() + b"\n\n",
        json.dumps(json.loads(SEALED), separators=(",", ":"), sort_keys=True).encode() + b"\n",
        SEALED.replace(b'"kid"', b'"\\u006bid"'),
        SEALED.replace(b'","iv"', b'=","iv"'),
        SEALED.replace(b'"tag"', b'"unprotected":{"zip":"DEF"},"tag"'),
    ],
)
def test_another_spelling_of_the_same_seal_is_refused(spelled: bytes) -> None:
    with pytest.raises(Tampered):
        unseal(spelled, RING)


def test_parts_of_two_seals_do_not_mix() -> None:
    first, second = parse(SEALED), parse(seal(CONTENT, KEY, PLACE + b" ").render())
    for part in ("encrypted_key", "aad", "iv", "ciphertext", "tag"):
        mixed = SEALED.replace(getattr(first, part).encode(), getattr(second, part).encode(), 1)
        with pytest.raises(Tampered):
            unseal(mixed, RING)


def test_one_subject_does_not_stand_for_another() -> None:
    with pytest.raises(Tampered, match="header"):
        unseal(SEALED, RING, "journal")
    assert unseal(seal(b"x", KEY, PLACE, "value").render(), RING, "value").plaintext == b"x"


def test_an_unknown_key_is_named_beside_those_which_were_given() -> None:
    with pytest.raises(UnknownKey, match=f"{KEY.id}.*{OTHER.id}"):
        unseal(SEALED, KeyRing([OTHER]))


def test_a_key_which_does_not_open_under_its_own_id_is_the_wrong_one() -> None:
    forged = seal(CONTENT, OTHER, PLACE).render().replace(OTHER.id.encode(), KEY.id.encode())
    with pytest.raises(WrongKey, match=KEY.id):
        unseal(forged, RING)


def test_a_changed_key_id_is_found_where_the_key_is_there() -> None:
    forged = SEALED.replace(KEY.id.encode(), OTHER.id.encode())
    for ring in (RING, KeyRing([Key.generate(), KEY])):
        with pytest.raises(Tampered, match="key id"):
            unseal(forged, ring)
    with pytest.raises(WrongKey):
        unseal(forged, KeyRing([OTHER, KEY]))


@pytest.mark.parametrize("plain", [b"{}\n", CONTENT, b"[1]", b"null", b'"text"'])
def test_plain_json_is_not_sealed(plain: bytes) -> None:
    with pytest.raises(NotSealed):
        unseal(plain, RING)


def test_errors_do_not_hold_the_key() -> None:
    for data in (b"", CONTENT, SEALED[:-5], SEALED.replace(KEY.id.encode(), b"0" * 16)):
        with pytest.raises(AetherError) as caught:
            unseal(data, RING)
        assert KEY.text() not in str(caught.value)
