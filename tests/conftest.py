"""Fixtures which every ring's tests may use."""

pytest_plugins = ["tests.postgres"]
