import json
from typing import Any

import pytest

from aether_dagster.errors import ValueStoreError
from aether_dagster.values import ValueRef, is_reference

REF = ValueRef("file:///a/pipeline_01H3XYZ9/load/attempt1/output.0.json", "0f" * 32, 7, "text/x")


def test_a_reference_survives_json_with_its_members_in_order():
    obj = json.loads(json.dumps(REF.to_json()))
    assert list(obj) == ["$artifact", "sha256", "bytes", "media_type"]
    assert ValueRef.from_json(obj) == REF


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "0F" * 32},
        {"sha256": "0f"},
        {"bytes": -1},
        {"bytes": True},
        {"bytes": "7"},
        {"media_type": None},
        {"more": 1},
    ],
)
def test_what_only_looks_like_a_reference_is_none(change: dict[str, Any]):
    obj = REF.to_json() | change
    assert not is_reference(obj)
    with pytest.raises(ValueStoreError, match="Not a reference"):
        ValueRef.from_json(obj)


def test_a_reference_without_a_member_is_none():
    obj = REF.to_json()
    del obj["bytes"]
    assert not is_reference(obj)
    assert not is_reference("text")
