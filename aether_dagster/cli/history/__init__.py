"""`aetherscript history`: what is on disk of past executions (spec 3), without Dagster."""

from aether_dagster.cli.history.group import history

__all__ = ["history"]
