"""The JSON Schema of a pipeline document (draft 2020-12), generated from the models."""

from typing import Any


def json_schema() -> dict[str, Any]:
    """Return the schema which is shipped as `aetherscript-2.1.schema.json`."""
    raise NotImplementedError
