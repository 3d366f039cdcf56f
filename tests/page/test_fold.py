"""The page's own fold of frames, beside the one in Python."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aether_dagster.state import apply
from aether_dagster.state.mask import join_path
from tests.page.server import PageServer
from tests.state.test_mask import documents, keys, values

pytestmark = pytest.mark.browser

FOLD = """
async ([state, message]) => {
  const { fold } = await import("/fold.js");
  return JSON.stringify(fold(JSON.parse(state), JSON.parse(message)));
}
"""
odd_keys = keys | st.sampled_from(["__proto__", "constructor", "nodes", "context"])
paths = st.lists(odd_keys, min_size=1, max_size=3).map(tuple)


@pytest.fixture(scope="module")
def fold(browser: Any) -> Iterator[Any]:
    server = PageServer()
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{server.port}/fold.js")
    yield lambda state, message: json.loads(
        page.evaluate(FOLD, [json.dumps(state), json.dumps(message)])
    )
    page.close()
    server.close()


@given(documents, st.sets(paths, max_size=4), documents | st.dictionaries(odd_keys, values))
@settings(max_examples=120, deadline=None)
def test_the_page_applies_a_mask_as_python_does(fold, state, masked, payload):
    apart = [p for p in masked if not any(q != p and p[: len(q)] == q for q in masked)]
    mask = [written for p in sorted(apart) if (written := join_path(p)) != "*"]
    assert fold(state, {"update_mask": mask, "payload": payload}) == apply(state, mask, payload)


def test_a_snapshot_takes_the_place_of_everything(fold):
    message = {"update_mask": ["*"], "payload": {"nodes": {}}}
    assert fold({"nodes": {"old": {}}, "context": {}}, message) == {"nodes": {}}


def test_a_step_may_be_named_as_what_every_object_inherits(fold):
    payload = {"nodes": {"__proto__": {"status": "failed"}}}
    message = {"update_mask": ["nodes.__proto__.status"], "payload": payload}
    folded = fold({"nodes": {}}, message)
    assert folded["nodes"]["__proto__"] == {"status": "failed"}
