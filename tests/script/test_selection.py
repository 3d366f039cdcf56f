import pytest

from aether_dagster.errors import SettingsError
from aether_dagster.script.selection import select_steps

# extract → clean → load → report, lookup → load, and notify which stands alone.
ORDER = ("extract", "lookup", "clean", "load", "report", "notify")
ABOVE = {"clean": ("extract",), "load": ("clean", "lookup"), "report": ("load",)}


@pytest.mark.parametrize(
    ("selection", "steps"),
    [
        ("load", "load"),
        ("+load", "extract lookup clean load"),
        ("load+", "load report"),
        ("+load+", "extract lookup clean load report"),
        ("1+load", "lookup clean load"),
        ("extract+2", "extract clean load"),
        ("0+load", "load"),
        ("*", "extract lookup clean load report notify"),
        ("l*", "lookup load"),
        ("notify, +clean", "extract clean notify"),
        ("report notify", "report notify"),
        (" notify ,report, ", "report notify"),
        ("load,load+", "load report"),
    ],
)
def test_a_selection_means_these_steps_in_running_order(selection: str, steps: str) -> None:
    assert select_steps(selection, ORDER, ABOVE) == tuple(steps.split())


def test_an_unknown_step_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(SettingsError, match="'laod', which no step is called; did you mean 'load'"):
        select_steps("+laod", ORDER, ABOVE)


def test_an_unknown_step_with_no_near_one_is_answered_with_the_steps_there_are() -> None:
    with pytest.raises(SettingsError, match="the steps are extract, lookup, clean"):
        select_steps("zzz", ORDER, ABOVE)


@pytest.mark.parametrize("selection", ["", " , ", "++load", "load++", "a:b", "+", "load-+x"])
def test_what_is_not_a_selection_is_refused_with_the_grammar(selection: str) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read at .* write a step's id"):
        select_steps(selection, ORDER, ABOVE)


def test_a_deep_graph_is_walked_without_recursion() -> None:
    order = tuple(f"s{i}" for i in range(5000))
    above = {f"s{i}": (f"s{i - 1}",) for i in range(1, 5000)}
    assert select_steps("+s4999", order, above) == order
