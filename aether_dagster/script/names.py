"""Names of the language as names in Dagster (spec 2 and 7), without importing Dagster."""

import keyword
import re

DAGSTER_RESERVED = frozenset(
    {
        *("context", "conf", "config", "meta", "arg_dict", "dict", "input_arg_dict"),
        *("output_arg_dict", "int", "str", "float", "bool", "input", "output", "type"),
        *keyword.kwlist,
    }
)
"""Names which Dagster refuses for ops, jobs and resources."""

RESERVED_CONNECTORS = frozenset({"io_manager", "aether_io_manager"})
"""Resource keys which are taken, so that no connector can have them."""

_NOT_SAFE = re.compile(r"[^A-Za-z0-9_]")


def dagster_name(name: str) -> str:
    """Return a name which Dagster accepts: every other character becomes `_`."""
    return _NOT_SAFE.sub("_", name)
