import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.protocol import Subscription
from aether_dagster.state.mask import join_path

DOCUMENT = {
    "pipeline": {"id": "p"},
    "nodes": {"a": {"status": "failed", "error": {"type": "E"}}, "*": {"status": "pending"}},
    "context": {"secret_store": None, "artifacts": {"x.y": "/1"}, "environment_vars": {}},
}


def concrete(*mask: str) -> set[str]:
    return {join_path(path) for path in Subscription.parse(mask).concrete(DOCUMENT)}


def test_a_star_matches_one_key_and_a_quoted_star_is_a_key() -> None:
    assert concrete("nodes.*.status") == {"nodes.a.status", "nodes.`*`.status"}
    assert concrete("nodes.`*`.status") == {"nodes.`*`.status"}


def test_a_path_covers_what_is_below_it_down_to_the_leaves() -> None:
    assert concrete("nodes.a") == {"nodes.a.status", "nodes.a.error"}
    assert concrete("context") == {
        "context.secret_store",
        "context.artifacts",
        "context.environment_vars",
    }


def test_a_map_which_loses_keys_is_sent_whole_and_a_key_of_it_alone() -> None:
    assert concrete("context.artifacts") == {"context.artifacts"}
    assert concrete("context.artifacts.*") == {"context.artifacts.`x.y`"}


@pytest.mark.parametrize("path", ["nodes.b.status", "nodes.a.error.type", "other", "nodes.a.`*`"])
def test_a_path_which_nothing_has_gives_nothing(path: str) -> None:
    assert concrete(path) == set()


def test_what_is_above_the_leaves_is_a_deletion_and_concerns_who_is_below() -> None:
    wanted = Subscription.parse(["executions.*.status"])
    assert wanted.covers(("executions", "p"))
    assert wanted.covers(("executions", "p", "status"))
    assert not wanted.covers(("executions", "p", "nodes"))
    inside = Subscription.parse(["nodes.a.error.type"])
    assert not inside.covers(("nodes", "a", "error")), "what is atomic has no inside"


def test_the_whole_state_covers_everything() -> None:
    for mask in (["*"], ["nodes.a.status", "*"]):
        assert Subscription.parse(mask).patterns is None


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a b", "`a", "a`b`", "**", "a*", "ü"]
)
def test_what_is_no_path_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not a path"):
        Subscription.parse([text])


def test_too_many_paths_are_an_error() -> None:
    with pytest.raises(ValueError, match="at most 1000"):
        Subscription.parse(["a.b"] * 1001)


@given(st.lists(st.lists(st.text(max_size=3), min_size=1, max_size=3), min_size=1, max_size=4))
def test_commas_separate_paths_unless_they_are_quoted(paths: list[list[str]]) -> None:
    written = [join_path(tuple(path)) for path in paths]
    assert Subscription.split(",".join(written)) == written
    assert Subscription.parse(written).patterns == {tuple(path) for path in paths}
