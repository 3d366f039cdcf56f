"""The environment which commands and child processes of steps get."""

import os

from aether_dagster.crypto import KEY_VARIABLE


def inherited_environment() -> dict[str, str]:
    """Returns this process's environment without the key which seals state (spec 3)."""
    return {name: value for name, value in os.environ.items() if name != KEY_VARIABLE}
