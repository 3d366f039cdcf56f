"""`aetherscript secrets`: the sealed files which `secret_store: file://…` reads (spec 5)."""

from aether_dagster.cli.secrets.group import secrets

__all__ = ["secrets"]
