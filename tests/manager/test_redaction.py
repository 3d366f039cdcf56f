import json
import logging
import sys
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.manager.redaction import Redaction


def redaction(*secrets: str) -> Redaction:
    known = Redaction()
    known.learn(secrets)
    return known


def test_secrets_are_masked_in_keys_and_values_at_any_depth() -> None:
    shown = redaction("hunter2").value({"a": [{"hunter2!": "x hunter2 y"}], "n": 2, "none": None})
    assert shown == {"a": [{"***!": "x *** y"}], "n": 2, "none": None}


def test_a_secret_which_holds_another_is_masked_whole() -> None:
    assert redaction("pass", "password-1").text("password-1 and pass") == "*** and ***"


def test_a_secret_is_found_as_json_and_repr_and_urls_write_it() -> None:
    secret = 'a "quoted" p@ss\\word\n/é'
    known = redaction(secret)
    for written in (
        json.dumps({"x": secret}),
        json.dumps([secret], ensure_ascii=False),
        repr({"x": secret}),
        f"https://u:{quote(secret, safe='')}@host/?q={quote_plus(secret)}",
    ):
        assert "p" not in known.text(written).replace("http", ""), written
    known.learn(["\udcff\udcfe not utf-8"])


def test_secrets_of_less_than_four_characters_are_left_alone() -> None:
    assert redaction("abc").text("abc abcd") == "abc abcd"


def test_what_is_no_json_is_left_alone_and_what_lies_beside_it_is_masked() -> None:
    odd = object()
    shown = redaction("hunter2").value({1: odd, "pair": ("hunter2",), "token": "hunter2"})
    assert shown == {1: odd, "pair": ("hunter2",), "token": "***"}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text("abc", max_size=6),
        lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text("abc"), part, max_size=3),
    )
)
def test_a_value_without_secrets_is_returned_itself(value: object) -> None:
    assert redaction("hunter2").value(value) is value


def test_what_is_logged_is_masked_traceback_and_all(caplog: pytest.LogCaptureFixture) -> None:
    known = redaction("hunter2")
    logger = logging.getLogger("test.redaction")
    with known.masking(logger):
        logger.warning("logged in with %s", "hunter2")
        try:
            int("hunter2")
        except ValueError:
            logger.exception("failed")
    logger.warning("afterwards %s", "hunter2")
    assert caplog.messages[0] == "logged in with ***"
    assert "with base 10: '***'" in caplog.text
    assert caplog.text.count("hunter2") == 1
    assert sys.exception() is None
