"""Version ranges as npm understands them."""

import pytest

from aether_dagster.script.ranges import is_range, satisfying, semantic_version


@pytest.mark.parametrize(
    ("range_", "inside", "outside"),
    [
        ("^1.4.0", ["1.4.0", "1.9.9"], ["1.3.9", "2.0.0", "1.5.0-rc.1"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4"]),
        ("~1.2.3", ["1.2.9"], ["1.3.0"]),
        ("~1", ["1.9.0"], ["2.0.0"]),
        (">=1.2 <2", ["1.2.0", "1.9.0"], ["2.0.0", "1.1.9"]),
        (">= 1.2.3", ["1.2.3"], ["1.2.2"]),
        ("<1.2", ["1.1.9"], ["1.2.0"]),
        ("^1 || ^3.1", ["1.0.0", "3.2.0"], ["2.0.0", "3.0.0"]),
        ("1.2.3", ["1.2.3", "1.2.3+build"], ["1.2.4"]),
        ("1.x", ["1.0.0"], ["2.0.0"]),
        ("1.2.*", ["1.2.7"], ["1.3.0"]),
        ("1.2 - 2.3", ["2.3.9"], ["2.4.0"]),
        ("*", ["0.0.1", "9.9.9"], ["1.0.0-rc.1"]),
        ("^1.2.3-beta.2", ["1.2.3-beta.4"], ["1.2.4-beta.2"]),
    ],
)
def test_ranges(range_, inside, outside):
    assert is_range(range_)
    assert satisfying([*inside, *outside], range_) == inside


@pytest.mark.parametrize("text", ["latest", "^", "^^1", "1.2.3.4", ">=1.0.0,<2", "^1.a", "01.2.3"])
def test_what_npm_does_not_understand_is_no_range(text):
    assert not is_range(text)


@pytest.mark.parametrize(
    ("version", "semantic"),
    [
        ("1.4", "1.4.0"),
        ("1.4.2", "1.4.2"),
        ("2.0rc1", "2.0.0-rc.1"),
        ("2.0.dev3", "2.0.0-dev.3"),
        ("1.4.post1", "1.4.0"),
        ("2024.01.05", "2024.1.5"),
        ("nightly", None),
    ],
)
def test_pythons_versions_as_semantic_ones(version, semantic):
    assert semantic_version(version) == semantic
