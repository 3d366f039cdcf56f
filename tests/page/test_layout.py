"""Where the nodes of a graph are drawn."""

import json
import random
from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.page.server import PageServer

pytestmark = pytest.mark.browser

HEIGHT = 44
LAYOUT = """
async ([widths, edges, vertical]) => {
  const { layout } = await import("/layout.js");
  const { x, y, width, height, routes } = layout(widths, edges, vertical);
  return JSON.stringify({ x: [...x], y: [...y], width, height, routes });
}
"""


@pytest.fixture(scope="module")
def layout(browser: Any) -> Iterator[Any]:
    server = PageServer()
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{server.port}/layout.js")
    yield lambda widths, edges, vertical=False: json.loads(
        page.evaluate(LAYOUT, [widths, edges, vertical])
    )
    page.close()
    server.close()


@st.composite
def graphs(draw: Any) -> tuple[list[int], list[list[int]]]:
    count = draw(st.integers(2, 14))
    widths = draw(st.lists(st.integers(132, 260), min_size=count, max_size=count))
    possible = st.sampled_from([*combinations(range(count), 2)])
    return widths, [list(edge) for edge in draw(st.sets(possible, max_size=24))]


@given(graphs(), st.booleans())
@settings(max_examples=80, deadline=None)
def test_no_node_covers_another_and_edges_lead_onwards(layout, graph, vertical):
    widths, edges = graph
    laid = layout(widths, edges, vertical)
    boxes = list(zip(laid["x"], laid["y"], widths, strict=True))
    for (x, y, width), (left, top, wide) in combinations(boxes, 2):
        apart = x + width <= left or left + wide <= x or y + HEIGHT <= top or top + HEIGHT <= y
        assert apart
    for x, y, width in boxes:
        assert x >= -0.01
        assert y >= -0.01
        assert x + width <= laid["width"] + 0.01
        assert y + HEIGHT <= laid["height"] + 0.01
    for (start, end), route in zip(edges, laid["routes"], strict=True):
        onwards = route[1::2] if vertical else route[::2]
        assert onwards == sorted(onwards)
        if vertical:
            first, last = laid["y"][start] + HEIGHT, laid["y"][end]
        else:
            first, last = laid["x"][start] + widths[start], laid["x"][end]
        assert onwards[0] == pytest.approx(first)
        assert onwards[-1] == pytest.approx(last)


@given(graphs())
@settings(max_examples=60, deadline=None)
def test_no_edge_runs_across_a_node_which_it_does_not_join(layout, graph):
    widths, edges = graph
    laid = layout(widths, edges)
    for edge, route in zip(edges, laid["routes"], strict=True):
        points = list(zip(route[::2], route[1::2], strict=True))
        for index, ((left, y), (right, _)) in enumerate(pairwise(points)):
            if index % 2 == 0:
                continue  # Between two columns, where no node stands.
            for node, (x, top) in enumerate(zip(laid["x"], laid["y"], strict=True)):
                over = x < right and left < x + widths[node] and top < y < top + HEIGHT
                assert node in edge or not over


def crossings(laid, edges):
    """Pairs of straight edges between neighbouring layers which cross."""
    ends = [(*route[:2], *route[-2:]) for route in laid["routes"]]
    found = 0
    for (ax, ay, bx, by), (cx, cy, dx, dy) in combinations(ends, 2):
        if abs(ax - cx) < 200 and abs(bx - dx) < 200:
            found += (ay - cy) * (by - dy) < -0.01
    return found


def test_a_tree_is_drawn_without_crossings(layout):
    edges = [[(child - 1) // 3, child] for child in range(1, 121)]
    # The order of the document is no help: children are told last to first.
    assert crossings(layout([140] * 121, edges[::-1]), edges) == 0


@pytest.mark.parametrize("seed", range(4))
def test_crossings_of_a_shuffled_lattice_are_undone(layout, seed):
    chance = random.Random(seed)
    rows = [chance.sample(range(8 * layer, 8 * layer + 8), 8) for layer in range(5)]
    edges = [
        [upper[at], lower[near]]
        for upper, lower in pairwise(rows)
        for at in range(8)
        for near in (at, at + 1)
        if near < 8
    ]
    assert crossings(layout([140] * 40, edges), edges) == 0


def test_a_node_stands_in_the_middle_of_its_dependents(layout):
    laid = layout([140] * 4, [[0, 1], [0, 2], [0, 3]])
    assert laid["y"][0] == pytest.approx(sorted(laid["y"][1:])[1])


def test_ten_thousand_nodes_without_edges_fill_a_window_instead_of_a_line(layout):
    laid = layout([140] * 10_000, [])
    assert 0.5 < laid["width"] / laid["height"] < 4


def test_a_layer_of_thousands_is_folded_into_columns(layout):
    laid = layout([140] * 5001, [[0, n] for n in range(1, 5001)])
    assert 0.5 < laid["width"] / laid["height"] < 4
    assert min(laid["x"][1:]) > laid["x"][0] + 140
