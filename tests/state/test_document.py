import pytest
import rfc8785

from aether_dagster.state.document import canonical_bytes


def test_order_of_members_and_the_report_make_no_difference() -> None:
    one = {"pipeline": {"id": "p", "version": "1.0.0"}, "nodes": {}}
    two = {"nodes": {}, "report": {"status": "failed"}, "pipeline": {"version": "1.0.0", "id": "p"}}
    assert canonical_bytes(one) == canonical_bytes(two)


def test_1_is_1_0_and_is_not_true() -> None:
    assert canonical_bytes({"n": 1}) == canonical_bytes({"n": 1.0})
    assert canonical_bytes({"n": 1}) != canonical_bytes({"n": True})
    assert canonical_bytes({"n": None}) != canonical_bytes({})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, "\ud800"])
def test_what_is_not_json_has_no_canonical_bytes(value: object) -> None:
    with pytest.raises((rfc8785.CanonicalizationError, UnicodeEncodeError)):
        canonical_bytes({"value": value})
