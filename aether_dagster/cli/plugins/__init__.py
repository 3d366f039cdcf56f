"""`aetherscript plugins`: which plugins are there and what they bring (spec 5), without Dagster."""

from aether_dagster.cli.plugins.group import plugins

__all__ = ["plugins"]
