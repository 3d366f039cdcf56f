"""The example's folder, and its jobs as the steps import them."""

from pathlib import Path
from types import SimpleNamespace

import pytest

EXAMPLE = Path(__file__).parents[2] / "definitions" / "pipelines" / "earthquakes"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    return EXAMPLE


@pytest.fixture
def context(example):
    """What a job may use of a step's context, with the artifacts in a dictionary."""
    artifacts = {}
    return SimpleNamespace(
        directory=example,
        artifacts=SimpleNamespace(set=artifacts.__setitem__, get=artifacts.get),
    )
