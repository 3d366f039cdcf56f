import hashlib
import json
from typing import Any

import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aether_dagster.values import RECORD_LIMIT, fit_node_record, is_json, is_reference


class Spilled:
    """Stands for the artifact store and remembers what it was given."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def __call__(self, value: Any) -> dict[str, Any]:
        self.values.append(value)
        digest = hashlib.sha256(repr(value)[:100].encode("utf-8", "replace")).hexdigest()
        uri = f"file:///var/lib/aether/values/{'p' * 150}/{len(self.values)}"
        return {"$artifact": uri, "sha256": digest, "bytes": 9, "media_type": "application/json"}


def record(**members: Any) -> dict[str, Any]:
    return {
        "node_id": "load_01H7XZAB",
        "status": "succeeded",
        "input_payload": None,
        "output_payload": None,
        "error": None,
        "retry_count": 0,
        "execution_time": 0.5,
    } | members


def size(value: Any) -> int:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return max(len(text), len(rfc8785.dumps(value)))


def fit(given_record: dict[str, Any], **options: int) -> tuple[dict[str, Any], list[Any]]:
    spilled = Spilled()
    return fit_node_record(given_record, spilled, **options), spilled.values


texts = st.text(st.characters(), max_size=30)
sized = st.builds(lambda text, times: text * times, texts, st.integers(0, 1500))
leaves = (
    st.none()
    | st.floats()
    | st.integers()
    | sized
    | st.binary(max_size=9)
    | st.lists(st.just(1e20), max_size=2000)
)
payloads = leaves | st.dictionaries(texts, leaves, max_size=12) | st.lists(leaves, max_size=5)
errors = st.none() | st.fixed_dictionaries(
    {
        "type": sized,
        "message": sized,
        "attempt": st.integers(0, 99),
        "traceback": st.none() | sized,
    },
    optional={
        "upstream": st.lists(sized, max_size=60),
        "hook": sized,
        "more": payloads,
        "and": payloads,
        "so": payloads,
        "on": payloads,
        "further": payloads,
    },
)


@settings(max_examples=200, deadline=None)
@given(st.text("abc_", min_size=1, max_size=137), payloads, payloads, errors)
@example("a" * 137, [1e20] * 2700, None, None)
@example("a", {f"k{n}": "x" * 300 for n in range(500)}, {"\x00" * 9000: "\x00" * 9000}, None)
def test_every_record_is_json_under_its_limit(node_id: str, inp: Any, out: Any, error: Any):
    given_record = record(node_id=node_id, input_payload=inp, output_payload=out, error=error)
    fitted, _ = fit(given_record)
    assert is_json(fitted)
    assert size(fitted) < RECORD_LIMIT
    assert list(fitted) == list(given_record)


@given(
    st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers(-9, 9), max_size=9),
    st.text(max_size=200),
)
def test_a_small_record_is_left_as_it_is(payload: dict[str, Any], message: str):
    error = {"type": "E", "message": message, "attempt": 1, "traceback": message}
    given_record = record(input_payload=payload, output_payload=payload, error=error)
    if is_json(given_record):
        assert fit(given_record) == (given_record, [])


def test_a_record_one_byte_under_the_limit_is_left_as_it_is():
    empty = size(record(output_payload=""))
    largest = record(output_payload="x" * (RECORD_LIMIT - 1 - empty))
    assert fit(largest) == (largest, [])
    fitted, spilled = fit(record(output_payload="x" * (RECORD_LIMIT - empty)))
    assert is_reference(fitted["output_payload"])
    assert len(spilled) == 1


def test_the_largest_members_are_spilled_and_the_others_stay():
    large = {"small": 1, "largest": "x" * 20_000, "large": "y" * 9_000}
    fitted, spilled = fit(record(input_payload=large, output_payload={"n": [1, 2]}))
    assert spilled == ["x" * 20_000]
    assert list(fitted["input_payload"]) == ["small", "largest", "large"]
    assert is_reference(fitted["input_payload"]["largest"])
    assert fitted["input_payload"]["large"] == "y" * 9_000
    assert fitted["output_payload"] == {"n": [1, 2]}


def test_many_small_members_go_as_a_whole():
    payload = {f"column_{n}": n for n in range(3_000)}
    fitted, spilled = fit(record(output_payload=payload, input_payload={"a": 1}))
    assert spilled == [payload]
    assert is_reference(fitted["output_payload"])
    assert fitted["input_payload"] == {"a": 1}


def test_what_is_not_json_is_spilled_however_small():
    fitted, spilled = fit(record(input_payload={"data": b"x", "n": 1}, output_payload=(1, 2)))
    assert spilled == [b"x", (1, 2)]
    assert fitted["input_payload"]["n"] == 1
    assert is_reference(fitted["input_payload"]["data"])
    assert is_reference(fitted["output_payload"])


def test_keys_which_are_no_strings_send_the_payload_away_whole():
    fitted, spilled = fit(record(output_payload={1: "a", "b": b"x"}))
    assert spilled == [{1: "a", "b": b"x"}]
    assert is_reference(fitted["output_payload"])


def test_a_reference_from_upstream_stays_the_one_it_was():
    reference = Spilled()("upstream")
    payload = {"rows": reference, "notes": "x" * 20_000}
    fitted, spilled = fit(record(input_payload=payload, output_payload=reference))
    assert spilled == ["x" * 20_000]
    assert fitted["input_payload"]["rows"] == reference
    assert fitted["output_payload"] == reference


def test_a_reserve_leaves_room_for_what_comes_later():
    payload = {"a": "x" * 9_000}
    assert fit(record(input_payload=payload))[1] == []
    fitted, spilled = fit(record(input_payload=payload), reserve=8_192)
    assert spilled == ["x" * 9_000]
    assert size(fitted) < RECORD_LIMIT - 8_192


def test_a_traceback_loses_its_middle_and_says_how_much():
    traceback = "Traceback (most recent call last):\n" + "frame\n" * 5_000 + "ValueError: no rows"
    fitted, _ = fit(
        record(error={"type": "E", "message": "", "attempt": 1, "traceback": traceback})
    )
    cut = fitted["error"]["traceback"]
    start, _, rest = cut.partition("… [")
    count, _, end = rest.partition(" characters left out]")
    assert start.startswith("Traceback (most")
    assert end.endswith("ValueError: no rows")
    assert len(cut) > 4_000
    assert int(count) == len(traceback) - len(start) - len(end.removeprefix(" …"))


def test_a_message_keeps_two_kilobytes():
    fitted, _ = fit(record(error={"type": "E", "message": "é" * 5_000, "attempt": 1}))
    message = fitted["error"]["message"]
    assert message.startswith("é" * 900)
    assert "characters left out]" in message
    assert 2_000 < len(message.encode()) <= 2_048


def test_upstream_keeps_twenty_names_and_the_count():
    names = [f"step_{n}" for n in range(33)]
    error = {"type": "UpstreamFailed", "message": "m", "attempt": 0, "upstream": names}
    fitted, _ = fit(record(error=error))
    assert fitted["error"]["upstream"] == names[:20]
    assert fitted["error"]["upstream_count"] == 33
    assert fit(record(error=error | {"upstream": names[:20]}))[0]["error"]["upstream"] == names[:20]


def test_text_which_is_not_unicode_does_not_fail_the_record():
    error = {"type": "E", "message": "file \udcff", "attempt": 1, "traceback": "\ud800"}
    fitted, _ = fit(record(error=error))
    assert fitted["error"]["message"] == "file \\udcff"
