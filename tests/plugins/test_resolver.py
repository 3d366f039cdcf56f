"""Plugins are resolved to exact versions; what cannot be is told with everybody's requirements."""

import pytest

from aether_dagster.errors import PluginError
from aether_dagster.plugins.discovery import FoundPlugin
from aether_dagster.plugins.resolver import Requirement, resolve_plugins


def plugin(name: str, version: str, yanked: str | None = None, **requires: str) -> FoundPlugin:
    return FoundPlugin(name, version, {}, None, requires, yanked)


CASES = {
    "the newest which fits": (
        {"A": "^1.0.0"},
        [plugin("A", "1.0.0"), plugin("A", "1.4.0"), plugin("A", "2.0.0")],
        ["A@1.4.0"],
    ),
    "a diamond meets in the middle": (
        {"A": "^1", "B": "^1"},
        [
            plugin("A", "1.0.0", C="^1.2.0"),
            plugin("B", "1.0.0", C="<1.4.0"),
            plugin("C", "1.2.0"),
            plugin("C", "1.3.0"),
            plugin("C", "1.5.0"),
        ],
        ["C@1.3.0", "A@1.0.0", "B@1.0.0"],
    ),
    "a conflict names who requires what": (
        {"A": "^1", "B": "^1"},
        [
            plugin("A", "1.0.0", C="^1.2.0"),
            plugin("B", "1.0.0", C="^2"),
            plugin("C", "1.2.0"),
            plugin("C", "2.0.0"),
        ],
        "The plugins cannot be resolved:\n"
        "  A@1.0.0 requires C ^1.2.0\n"
        "  B@1.0.0 requires C ^2\n"
        "  of C there is 2.0.0 (installed), 1.2.0 (installed)",
    ),
    "a pre-release is not taken by a range": (
        {"A": "^2"},
        [plugin("A", "2.0.0rc1"), plugin("A", "1.4.0")],
        "The plugins cannot be resolved:\n"
        "  the document requires A ^2\n"
        "  of A there is 2.0.0rc1 (installed), 1.4.0 (installed)",
    ),
    "a pre-release which the range names": (
        {"A": "^2.0.0-rc.0"},
        [plugin("A", "2.0.0rc1"), plugin("A", "1.4.0")],
        ["A@2.0.0rc1"],
    ),
    "a missing one names who needs it": (
        {"A": "^1"},
        [plugin("A", "1.0.0", Gone="^1.2.0")],
        "The plugins cannot be resolved:\n  A@1.0.0 requires Gone ^1.2.0\n  Gone is not installed",
    ),
    "a circle is told step by step": (
        {"A": "*"},
        [plugin("A", "1.0.0", B="*"), plugin("B", "1.0.0", C="*"), plugin("C", "1.0.0", A="*")],
        "Plugins require each other in a circle:\n"
        "  A@1.0.0 requires B *\n"
        "  B@1.0.0 requires C *\n"
        "  C@1.0.0 requires A *",
    ),
    "an older one whose requirements can be met": (
        {"A": "^1"},
        [plugin("A", "1.5.0", B="^2"), plugin("A", "1.4.0", B="^1"), plugin("B", "1.0.0")],
        ["B@1.0.0", "A@1.4.0"],
    ),
    "a yanked one is passed over": (
        {"A": "^1"},
        [plugin("A", "1.5.0", "loses rows"), plugin("A", "1.4.0")],
        ["A@1.4.0"],
    ),
    "a yanked one which is named exactly": (
        {"A": "=1.5.0"},
        [plugin("A", "1.5.0", "loses rows"), plugin("A", "1.4.0")],
        ["A@1.5.0"],
    ),
    "a range in which all are yanked": (
        {"A": "^1.5"},
        [plugin("A", "1.5.0", "loses rows"), plugin("A", "1.4.0")],
        "The plugins cannot be resolved:\n"
        "  the document requires A ^1.5\n"
        "  of A there is 1.5.0 (installed, yanked: loses rows), 1.4.0 (installed)",
    ),
    "alternatives of a range": (
        {"A": "1.x || >=3 <4"},
        [plugin("A", "1.9.0"), plugin("A", "2.0.0"), plugin("A", "3.2.1"), plugin("A", "4.0.0")],
        ["A@3.2.1"],
    ),
    "versions of Python's kind": (
        {"A": "~1.4"},
        [plugin("A", "1.4"), plugin("A", "1.5")],
        ["A@1.4"],
    ),
    "the wrong kind of range in a plugin": (
        {"A": "*"},
        [plugin("A", "1.0.0", B="about 2")],
        "A@1.0.0 requires B 'about 2', which is no version range; write one such as '^1.4.0'.",
    ),
}


@pytest.mark.parametrize(("wanted", "found", "expected"), CASES.values(), ids=CASES)
def test_cases_from_the_wild(wanted, found, expected):
    requirements = [Requirement(name, wish) for name, wish in wanted.items()]

    def resolve():
        return [p.label for p in resolve_plugins(requirements, found, lambda p: p.requires)]

    if isinstance(expected, list):
        assert resolve() == expected
    else:
        with pytest.raises(PluginError) as caught:
            resolve()
        assert str(caught.value) == expected


def test_each_stands_after_those_which_it_requires():
    found = [plugin("A", "1.0.0", B="*"), plugin("B", "1.0.0", Z="*"), plugin("Z", "1.0.0")]
    chosen = resolve_plugins([Requirement("A", "*")], found, lambda p: p.requires)
    assert [p.name for p in chosen] == ["Z", "B", "A"]
