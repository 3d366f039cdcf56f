from pathlib import Path
from typing import Any

import fsspec
import pytest

from aether_dagster.crypto import Key, KeyRing
from aether_dagster.errors import NotSealed, SealError, Tampered, UnknownKey
from aether_dagster.values import ValueRef, ValueStore

OLD, NEW = Key.generate(), Key.generate()
RING = KeyRing([OLD])
EXECUTION = "pipeline_01H3XYZ9"
MARK = "nobody else may read this"


def put(store: ValueStore, value: Any, step: str = "load") -> ValueRef:
    return store.put(value, execution=EXECUTION, step=step, attempt=1)


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


@pytest.fixture(params=["local", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "values")
    fsspec.filesystem("memory").store.clear()
    return "memory://bucket/values"


@pytest.mark.parametrize("value", [{"rows": [MARK]}, MARK, MARK.encode(), (1, MARK), None, b""])
def test_a_sealed_value_comes_back_with_the_key(url: str, value: Any) -> None:
    ref = put(ValueStore(url, keys=RING), value)
    assert ValueStore(url, keys=KeyRing([NEW, OLD])).get(ref) == value


def test_neither_content_nor_its_digest_is_on_the_disk(tmp_path: Path) -> None:
    store = ValueStore(str(tmp_path), keys=RING)
    ref = put(store, MARK)
    store.set_latest(["asset"], None, ref)
    for path in files(tmp_path):
        assert MARK.encode() not in path.read_bytes()
        assert ref.sha256[:16] not in str(path)
        assert ref.sha256[:16].encode() not in path.read_bytes()
    assert len(files(tmp_path)) == 2


def test_storing_the_same_value_again_changes_nothing(tmp_path: Path) -> None:
    store = ValueStore(str(tmp_path), keys=RING)
    first = put(store, MARK)
    before = [path.read_bytes() for path in files(tmp_path)]
    assert put(store, MARK) == first
    assert [path.read_bytes() for path in files(tmp_path)] == before


def test_without_the_key_it_says_which_one_is_needed(url: str) -> None:
    store = ValueStore(url, keys=RING)
    ref = put(store, MARK)
    store.set_latest(["asset"], None, ref)
    with pytest.raises(UnknownKey, match="is sealed and no key was given"):
        ValueStore(url).get(ref)
    with pytest.raises(UnknownKey, match="is sealed and no key was given"):
        ValueStore(url).latest(["asset"], None)
    with pytest.raises(UnknownKey, match=f"{OLD.id}.*{NEW.id}"):
        ValueStore(url, keys=KeyRing([NEW])).get(ref)


def test_a_plain_value_is_not_taken_for_a_sealed_one(url: str) -> None:
    plain = ValueStore(url)
    ref = put(plain, MARK)
    plain.set_latest(["asset"], None, ref)
    store = ValueStore(url, keys=RING)
    with pytest.raises(NotSealed):
        store.get(ref)
    with pytest.raises(NotSealed):
        store.latest(["asset"], None)


def test_a_value_put_in_anothers_place_is_found(tmp_path: Path) -> None:
    store = ValueStore(str(tmp_path), keys=RING)
    refs = [put(store, text, step) for text, step in (("one", "load"), ("two", "plot"))]
    first, second = files(tmp_path)
    first.write_bytes(second.read_bytes())
    with pytest.raises(Tampered, match="plot"):
        store.get(refs[0])
    assert store.get(refs[1]) == "two"


def test_a_changed_value_is_found(tmp_path: Path) -> None:
    store = ValueStore(str(tmp_path), keys=RING)
    ref = put(store, MARK)
    (path,) = files(tmp_path)
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(SealError):
            store.get(ref)


def test_a_rotation_gives_every_value_to_the_new_key_alone(url: str) -> None:
    store = ValueStore(url, keys=RING)
    refs = [put(store, f"value {number}", f"step{number}") for number in range(5)]
    store.set_latest(["asset"], "2024", refs[3])
    rotated = ValueStore(url, keys=KeyRing([NEW, OLD]))
    assert [result for _, result in rotated.rekey()] == [True] * 6
    assert [result for _, result in rotated.rekey()] == [False] * 6
    new = ValueStore(url, keys=KeyRing([NEW]))
    assert [new.get(ref) for ref in refs] == [f"value {number}" for number in range(5)]
    assert new.latest(["asset"], "2024") == refs[3]
    for ref in refs:
        with pytest.raises(UnknownKey):
            store.get(ref)


def test_a_rotation_tells_what_it_cannot_open_and_goes_on(url: str) -> None:
    put(ValueStore(url), "plain", "plain")
    put(ValueStore(url, keys=RING), "sealed", "sealed")
    results = dict(ValueStore(url, keys=KeyRing([NEW, OLD])).rekey())
    assert len(results) == 2
    assert [type(result) for result in results.values()].count(bool) == 1
