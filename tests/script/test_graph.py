"""The order of steps."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aether_dagster.script.graph import topological_order


@st.composite
def graphs(draw):
    ids = [f"s{n}" for n in draw(st.permutations(range(draw(st.integers(1, 12)))))]
    edges = draw(st.lists(st.tuples(st.sampled_from(ids), st.sampled_from(ids)), max_size=25))
    return ids, {step: [b for a, b in edges if a == step] for step in ids}


@given(graphs())
def test_each_step_comes_after_its_dependencies_or_a_cycle_is_named(graph):
    ids, dependencies = graph
    order, cycles = topological_order(ids, dependencies)
    place = {step: n for n, step in enumerate(order)}
    for step in order:
        assert all(place[needed] < place[step] for needed in dependencies[step])
    assert bool(cycles) == (len(order) < len(ids))
    for cycle in cycles:
        assert cycle[0] == cycle[-1]
        for step, needed in pairwise(cycle):
            assert needed in dependencies[step]


@given(graphs())
def test_ties_are_broken_by_document_order(graph):
    ids, dependencies = graph
    order, _ = topological_order(ids, dependencies)
    done = set()
    for step in order:
        ready = [s for s in ids if s not in done and set(dependencies[s]) <= done]
        assert step == ready[0]
        done.add(step)


def test_independent_cycles_are_all_told():
    dependencies = {"a": ["b"], "b": ["a"], "c": ["a", "d"], "d": ["e"], "e": ["d"], "f": ["f"]}
    _, cycles = topological_order("abcdef", dependencies)
    assert cycles == (("a", "b", "a"), ("d", "e", "d"), ("f", "f"))


def test_a_chain_of_ten_thousand_steps_needs_no_recursion():
    ids = [f"s{n}" for n in range(10_000)]
    chain = {step: [ids[n + 1]] for n, step in enumerate(ids[:-1])}
    assert topological_order(ids, chain) == (tuple(reversed(ids)), ())
    _, cycles = topological_order(ids, {**chain, ids[-1]: [ids[0]]})
    assert [len(cycle) for cycle in cycles] == [10_001]
