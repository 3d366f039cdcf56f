import subprocess
import sys
from pathlib import Path

import pytest

import aether_dagster

ROOT = str(Path(aether_dagster.__file__).parents[1])
HEAVY = ("dagster", "dagster_shared", "dagster_graphql", "pandas", "polars", "pyarrow")


def loaded_by(statement: str) -> set[str]:
    """Returns the top-level modules which a fresh interpreter has after a statement."""
    program = f"import sys; sys.path.insert(0, {ROOT!r})\n{statement}\nprint(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in result.stdout.split()}


@pytest.mark.parametrize(
    "module",
    [
        "aether_dagster",
        "aether_dagster.errors",
        "aether_dagster.script",
        "aether_dagster.state",
        "aether_dagster.journal",
    ],
)
def test_importing_is_cheap(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert "aether_dagster" in loaded
    assert not loaded & set(HEAVY)


def test_a_public_name_below_dagster_does_not_bring_it() -> None:
    loaded = loaded_by("from aether_dagster import IllegalTransition, Pipeline, load_pipeline")
    assert not loaded & set(HEAVY)


def test_every_public_name_is_listed_before_it_is_loaded() -> None:
    names = set(dir(aether_dagster))
    assert set(aether_dagster.__all__) <= names


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'build_def'"):
        _ = aether_dagster.build_def  # type: ignore[attr-defined]
