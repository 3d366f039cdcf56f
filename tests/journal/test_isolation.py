"""The anomalies which serializable transactions do not have, each tried by two processes."""

from collections.abc import Iterator

import pytest

from aether_dagster.journal import Journal
from tests.journal.actor import Actor, actors
from tests.journal.builders import X, Y, artifact, outcome


@pytest.fixture
def two(journal_url: str, journal: Journal) -> Iterator[list[Actor]]:
    with actors(journal_url, 2) as pair:
        yield pair


@pytest.fixture
def given(journal: Journal, execution: str) -> str:
    """Both artifacts are there before anybody begins."""
    journal.append(execution, [artifact("x0", "x", "old"), artifact("y0", "y", "old")])
    return execution


def artifacts(journal: Journal, execution: str) -> dict[str, str]:
    return journal.state(execution)["context"]["artifacts"]


def test_no_dirty_write(two: list[Actor], journal: Journal, given: str) -> None:
    a, b = two
    a.begin(given), b.begin(given)
    a.set(X, "a"), b.set(X, "b"), b.set(Y, "b"), a.set(Y, "a")
    assert b.commit() == 3
    assert a.commit() == [X, Y]
    assert artifacts(journal, given) == {"x": "b", "y": "b"}


def test_no_dirty_read(two: list[Actor], journal: Journal, given: str) -> None:
    a, b = two
    a.begin(given)
    a.set(X, "a")
    assert a.get(X) == "a"
    b.begin(given)
    assert b.get(X) == "old"
    a.commit()
    assert b.get(X) == "old"


def test_no_aborted_read(two: list[Actor], journal: Journal, given: str) -> None:
    a, b = two
    a.begin(given)
    a.set(X, "a")
    a.remember("seen", 1)
    a.abandon()
    b.begin(given)
    assert (b.get(X), b.recall("seen")) == ("old", None)
    assert artifacts(journal, given) == {"x": "old", "y": "old"}
    assert len(journal.versions(given)) == 2


def test_no_lost_update(two: list[Actor], journal: Journal, given: str) -> None:
    a, b = two
    a.begin(given), b.begin(given)
    a.set(X, a.get(X) + "+a")
    b.set(X, b.get(X) + "+b")
    assert a.commit() == 3
    assert b.commit() == [X]
    assert artifacts(journal, given)["x"] == "old+a"


def test_no_increment_is_lost_when_each_conflict_is_tried_again(
    journal_url: str, journal: Journal, execution: str
) -> None:
    with actors(journal_url, 3) as several:
        for actor in several:
            actor._connection.send(("increment", execution, X, 30))
        for actor in several:
            assert actor._connection.poll(60)
            assert actor._connection.recv() is None
    assert artifacts(journal, execution) == {"x": "90"}


def test_no_read_skew(two: list[Actor], journal: Journal, given: str) -> None:
    a, b = two
    a.begin(given)
    assert a.get(X) == "old"
    b.begin(given)
    b.set(X, "new"), b.set(Y, "new")
    assert b.commit() == 3
    assert a.get(Y) == "old"
    assert a.commit() is None


def test_no_write_skew(two: list[Actor], journal: Journal, given: str) -> None:
    a, b = two
    a.begin(given), b.begin(given)
    for actor in two:
        assert {actor.get(X), actor.get(Y)} == {"old"}
    a.delete(X)
    b.delete(Y)
    assert a.commit() == 3
    assert b.commit() == [X]
    assert artifacts(journal, given) == {"y": "old"}


@pytest.mark.parametrize("path", ["context.artifacts", "context"])
def test_no_phantom_below_a_prefix(
    two: list[Actor], journal: Journal, given: str, path: str
) -> None:
    a, b = two
    a.begin(given)
    seen = a.get(path)
    a.set("context.artifacts.count", str(len(seen)))
    b.begin(given)
    b.set("context.artifacts.another", "b")
    assert b.commit() == 3
    assert a.get(path).keys() - {"count"} == seen.keys()
    assert a.commit() == ["context.artifacts.another"]


def test_a_deletion_below_a_prefix_conflicts_too(
    two: list[Actor], journal: Journal, given: str
) -> None:
    a, b = two
    a.begin(given), b.begin(given)
    a.get("context.artifacts")
    a.set("context.artifacts.count", "2")
    b.delete(X)
    assert b.commit() == 3
    assert a.commit() == [X]


def test_a_value_which_came_back_has_changed_all_the_same(
    two: list[Actor], journal: Journal, given: str
) -> None:
    a, b = two
    a.begin(given)
    a.set(Y, a.get(X))
    for value in ("other", "old"):
        b.begin(given)
        b.set(X, value)
        b.commit()
    assert a.commit() == [X]


def test_keys_of_their_own_do_not_conflict(two: list[Actor], journal: Journal, given: str) -> None:
    a, b = two
    a.begin(given), b.begin(given)
    a.set(X, a.get(X) + "+a")
    b.set(Y, b.get(Y) + "+b")
    assert (a.commit(), b.commit()) == (3, 4)
    assert artifacts(journal, given) == {"x": "old+a", "y": "old+b"}


def test_the_runtime_conflicts_only_with_who_read_what_it_changed(
    two: list[Actor], journal: Journal, given: str
) -> None:
    a, b = two
    a.begin(given), b.begin(given)
    a.set(X, "a")
    b.set(Y, b.get("nodes.load.status"))
    journal.append(given, [outcome("s", "load", 1, "executing")])
    assert a.commit() == 4
    assert b.commit() == ["nodes.load.status"]


def test_what_is_inside_a_payload_changes_with_the_payload(
    two: list[Actor], journal: Journal, given: str
) -> None:
    a, _ = two
    journal.append(given, [outcome("s", "load", 1, "succeeded", {"rows": 3})])
    a.begin(given)
    a.set(X, str(a.get("nodes.load.output_payload.rows")))
    journal.append(given, [outcome("t", "load", 2, "executing")])
    assert a.commit() == ["nodes.load.output_payload"]


def test_what_a_plugin_remembers_is_not_lost_either(
    two: list[Actor], journal: Journal, given: str
) -> None:
    a, b = two
    a.begin(given), b.begin(given)
    a.remember("count", 1)
    b.recall("count"), b.remember("other", 1)
    assert a.commit() is None
    assert b.commit() == ["private.count"]
