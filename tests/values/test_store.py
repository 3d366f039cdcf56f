import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import fsspec
import pytest

from aether_dagster.crypto import Key, KeyRing
from aether_dagster.errors import ValueStoreError
from aether_dagster.values import ValueRef, ValueStore

EXECUTION = "pipeline_01H3XYZ9"


def put(store: ValueStore, value: Any, **where: Any) -> ValueRef:
    return store.put(value, **({"execution": EXECUTION, "step": "load", "attempt": 1} | where))


def files(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


@pytest.fixture(params=["local", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "values")
    fsspec.filesystem("memory").store.clear()
    return "memory://bucket/values"


@pytest.mark.parametrize("value", [{"rows": [1, 2]}, "text", b"bytes", (1, 2), None])
def test_a_value_comes_back_from_its_reference_alone(url: str, value: Any):
    ref = ValueRef.from_json(json.loads(json.dumps(put(ValueStore(url), value).to_json())))
    assert ValueStore(url).get(ref) == value


def test_the_file_is_where_the_documentation_says(tmp_path: Path):
    ref = put(ValueStore(str(tmp_path)), {"a": 1}, attempt=2)
    (name,) = files(tmp_path)
    assert name == f"{EXECUTION}/load/attempt2/output.{ref.sha256[:16]}.json"
    assert ref.uri == (tmp_path / name).as_uri()
    assert (ref.bytes, (tmp_path / name).read_bytes()) == (7, b'{"a":1}')


def test_storing_the_same_value_again_writes_nothing(tmp_path: Path):
    store = ValueStore(str(tmp_path))
    ref = put(store, [1])
    path = tmp_path / files(tmp_path)[0]
    before = path.stat()
    assert put(store, [1]) == ref
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_value_of_the_same_attempt_never_overwrites_the_first(url: str):
    store = ValueStore(url)
    first, second = put(store, "one"), put(store, "two")
    assert (store.get(first), store.get(second)) == ("one", "two")


def test_two_executions_never_share_a_value(url: str):
    store = ValueStore(url)
    mine = put(store, [1])
    other = put(store, [1], execution="pipeline_01H3XYZA")
    assert mine.uri != other.uri
    store.remove("pipeline_01H3XYZA", keep=[])
    assert store.get(mine) == [1]


@pytest.mark.parametrize("damage", [b"", b'["Z"]', b'["a"] '])
def test_a_damaged_value_is_never_given_out(tmp_path: Path, damage: bytes):
    store = ValueStore(str(tmp_path))
    ref = put(store, ["a"])
    (tmp_path / files(tmp_path)[0]).write_bytes(damage)
    with pytest.raises(ValueStoreError, match=r"is damaged: \d bytes"):
        store.get(ref)


def test_a_truncated_object_is_written_again(tmp_path: Path):
    store = ValueStore(str(tmp_path))
    ref = put(store, ["a"])
    (tmp_path / files(tmp_path)[0]).write_bytes(b"")
    assert store.get(put(store, ["a"])) == ["a"]
    assert store.get(ref) == ["a"]


def test_a_missing_value_says_which_store_was_looked_in(url: str):
    store = ValueStore(url)
    ref = put(store, 1)
    store.remove(EXECUTION, keep=[])
    with pytest.raises(ValueStoreError, match=r"missing in .*values.*AETHERSCRIPT_ARTIFACTS"):
        store.get(ref)


def test_a_store_which_was_moved_still_serves_its_references(tmp_path: Path):
    ref = put(ValueStore(str(tmp_path / "old place")), {"a": 1})
    (tmp_path / "old place").rename(tmp_path / "new")
    assert ValueStore(str(tmp_path / "new")).get(ref) == {"a": 1}


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "x", "a/b/../c", "file:///a/%2e%2e/c/d"])
def test_a_reference_never_leads_out_of_the_store(tmp_path: Path, uri: str):
    (tmp_path / "secret").write_text("x")
    with pytest.raises(ValueStoreError, match=r"does not name a stored value|is missing"):
        ValueStore(str(tmp_path / "values")).get(ValueRef(uri, "0" * 64, 1, "application/json"))


def test_latest_points_where_it_was_last_set(url: str):
    store = ValueStore(url)
    key = ["sales", "load"]
    assert store.latest(key, None) is None
    store.set_latest(key, None, put(store, "old"))
    new = put(store, "new", attempt=2)
    store.set_latest(key, None, new)
    assert ValueStore(url).latest(key, None) == new
    assert store.latest(key, "2024-01-01") is None
    assert store.latest(["sales"], None) is None


def test_each_partition_has_its_own_pointer(url: str):
    store = ValueStore(url)
    partitions = ["2024-01-01", "2024-01-01|eu", "a/b", "a_b", ""]
    for n, partition in enumerate(partitions):
        store.set_latest(["sales"], partition, put(store, n))
    for n, partition in enumerate(partitions):
        ref = store.latest(["sales"], partition)
        assert ref is not None
        assert store.get(ref) == n


def test_a_damaged_pointer_is_an_error_and_not_an_older_value(tmp_path: Path):
    store = ValueStore(str(tmp_path))
    store.set_latest(["a"], None, put(store, 1))
    (tmp_path / "latest/a/unpartitioned.json").write_text("{}")
    with pytest.raises(ValueStoreError, match=r"unpartitioned\.json is damaged"):
        store.latest(["a"], None)


def test_remove_keeps_what_is_referenced_and_reports_the_rest(tmp_path: Path):
    store = ValueStore(str(tmp_path))
    kept, gone = put(store, "kept"), put(store, "gone!", step="other")
    (tmp_path / EXECUTION / "load/attempt1/.half.tmp").write_bytes(b"123")
    report = store.remove(EXECUTION, keep={kept.uri})
    assert (report.files, report.bytes, report.failures) == (2, gone.bytes + 3, ())
    assert store.get(kept) == "kept"
    assert not (tmp_path / EXECUTION / "other").exists()
    assert store.remove(EXECUTION, keep=[]).files == 1
    assert not (tmp_path / EXECUTION).exists()
    assert store.remove(EXECUTION, keep=[]) == type(report)(0, 0)


def test_remove_works_behind_a_url(url: str):
    store = ValueStore(url)
    kept = put(store, "kept")
    put(store, "gone", step="other")
    assert store.remove(EXECUTION, keep=[kept.uri]).files == 1
    assert store.get(kept) == "kept"


def test_readers_see_a_pointer_whole_while_it_changes(tmp_path: Path):
    store = ValueStore(str(tmp_path))
    refs = [put(store, "x" * n) for n in (1, 10)]
    store.set_latest(["a"], None, refs[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for ref in refs:
                store.set_latest(["a"], None, ref)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert {store.latest(["a"], None) for _ in range(300)} <= set(refs)
    finally:
        stop.set()
        writer.join()


def test_a_killed_writer_leaves_whole_values_or_none(tmp_path: Path):
    code = (
        "import sys\n"
        "from aether_dagster.values import ValueStore\n"
        "store = ValueStore(sys.argv[1])\n"
        "for n in range(10**6):\n"
        "    ref = store.put('x' * 500_000 + str(n), execution='e', step='s', attempt=n)\n"
        "    print(ref.uri, flush=True)\n"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    acknowledged = writer.stdout.readline().strip()
    time.sleep(0.1)
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    assert Path(acknowledged.removeprefix("file://")).exists()
    whole = [name for name in files(tmp_path) if not name.endswith(".tmp")]
    assert whole
    assert all((tmp_path / name).stat().st_size > 500_000 for name in whole)


def test_a_durable_store_gives_the_same_references(tmp_path: Path):
    assert (
        put(ValueStore(str(tmp_path / "a"), durable=True), 1).sha256
        == put(ValueStore(str(tmp_path / "b")), 1).sha256
    )


def test_a_store_which_cannot_be_written_says_where_and_why(tmp_path: Path):
    (tmp_path / "values").write_text("a file, not a folder")
    with pytest.raises(ValueStoreError, match=r"values/.* cannot be written: (Not a|File exists)"):
        put(ValueStore(str(tmp_path / "values")), 1)


def test_credentials_of_a_url_are_in_no_message():
    with pytest.raises(ValueStoreError, match="nosuch://host/path cannot be opened") as caught:
        ValueStore("nosuch://user:hunter22@host/path?token=abc")
    assert "hunter22" not in str(caught.value)


def test_an_execution_cannot_take_the_pointers_place(tmp_path: Path):
    with pytest.raises(ValueStoreError, match="cannot be called 'latest'"):
        put(ValueStore(str(tmp_path)), 1, execution="latest")


def test_a_store_tells_whether_it_holds_a_value(tmp_path: Path):
    keys = KeyRing([Key.generate()])
    plain, sealed = ValueStore(str(tmp_path / "a")), ValueStore(str(tmp_path / "b"), keys=keys)
    for store in (plain, sealed):
        ref = store.put({"a": 1}, execution="e", step="s", attempt=1)
        assert store.holds(ref)
        store.remove("e", keep=())
        assert not store.holds(ref)
    ref = plain.put("text", execution="e", step="s", attempt=1)
    next((tmp_path / "a" / "e").rglob("*.txt")).write_text("cut")
    assert not plain.holds(ref)


def test_what_a_killed_writer_of_a_pointer_leaves_goes_with_its_execution(tmp_path: Path):
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from aether_dagster.values import ValueStore\n"
        "store = ValueStore(sys.argv[1])\n"
        "ref = store.put(1, execution='e', step='s', attempt=1)\n"
        "Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "store.set_latest(['a'], None, ref)\n"
    )
    writer = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert writer.returncode == -signal.SIGKILL
    assert len(files(tmp_path)) == 2
    ValueStore(str(tmp_path)).remove("e", keep=[])
    assert files(tmp_path) == []
