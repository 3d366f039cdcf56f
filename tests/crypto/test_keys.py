import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.crypto.keys import Key, KeyRing, parse_keys
from aether_dagster.errors import SettingsError

SECRET = bytes(range(32))
BASE64URL = base64.urlsafe_b64encode(SECRET).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "text",
    [
        BASE64URL,
        BASE64URL + "=",
        SECRET.hex(),
        SECRET.hex().upper(),
        json.dumps({"kty": "oct", "k": BASE64URL}),
        json.dumps({"kty": "oct", "k": BASE64URL, "kid": "ours", "alg": "A256KW"}, indent=2),
        json.dumps({"keys": [{"kty": "oct", "k": BASE64URL}]}),
    ],
)
def test_a_key_is_read_in_each_of_its_spellings(text: str) -> None:
    assert [key.secret for key in parse_keys(text, "here")] == [SECRET]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        (BASE64URL + "\n", "line break"),
        (f"{BASE64URL}\n{BASE64URL}", "line break"),
        (BASE64URL[:-1], "no key"),
        (BASE64URL + "A", "no key"),
        (" " + BASE64URL, "no key"),
        (BASE64URL[:-1] + chr(ord(BASE64URL[-1]) + 1), "no key"),
        (SECRET.hex()[:-2], "no key"),
        ("{", "no JSON"),
        ("[" * 5000, "no key"),
        ('{"kty": "EC", "k": "AAAA"}', "another type"),
        ('{"kty": "oct"}', "another type"),
        ('{"kty": "oct", "k": "AAAA"}', "24 bits"),
        ('{"kty": "oct", "k": "Ä"}', "no base64url"),
        ('{"keys": []}', "without keys"),
        ('{"keys": 5}', "without keys"),
        ('{"keys": [5]}', "another type"),
    ],
)
def test_what_is_no_key_gets_one_message_which_says_what_a_key_is(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        parse_keys(text, "The key")
    assert "aetherscript key generate" in str(caught.value)


@given(st.text(min_size=12, max_size=40))
def test_no_text_is_an_untyped_error_and_none_is_repeated(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_keys(text, "The key")
    assert text not in str(caught.value)


def test_a_generated_key_reads_back_as_itself() -> None:
    key = Key.generate()
    assert parse_keys(key.text(), "here") == [key]
    assert Key.generate() != key


def test_a_key_id_follows_from_the_key_and_does_not_show_it() -> None:
    key = Key(SECRET)
    assert key.id == Key(SECRET).id != Key(SECRET[::-1]).id
    assert key.id not in SECRET.hex()
    for shown in (repr(key), repr(KeyRing([key]))):
        assert key.id in shown
        assert BASE64URL not in shown
        assert repr(SECRET) not in shown


def test_a_ring_reads_back_with_the_sealing_key_first() -> None:
    for count in (1, 2, 3):
        ring = KeyRing(Key.generate() for _ in range(count))
        again = KeyRing(parse_keys(ring.text(), "here"))
        assert again.ids == ring.ids
        assert again.first == ring.first


def test_a_ring_without_keys_is_none() -> None:
    with pytest.raises(SettingsError, match="no key"):
        KeyRing([])
