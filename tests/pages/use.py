"""Executes a block of Python as a reader's module, and uses what it defines.

`use.py BLOCK.py`, in a process which has Dagster.
"""

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import dagster as dg

from aethersdk import Plugin, StateHook
from aethersdk.testing import HookTester

SAYS = re.compile(r"^(\w\S*)  # ('[^']*')$", re.MULTILINE)
"""An expression, and what the comment behind it says that it is."""


def use(value: Any) -> None:
    """Does with a value what it was defined for."""
    if isinstance(value, dg.Definitions):
        dg.Definitions.validate_loadable(value)
    elif isinstance(value, type) and issubclass(value, StateHook) and value is not StateHook:
        HookTester(value)
    elif isinstance(value, type) and issubclass(value, Plugin) and value is not Plugin:
        for hook in value.hooks:
            HookTester(hook)
        value().cleanup()


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    defined = runpy.run_path(sys.argv[1])
    for name, value in defined.items():
        use(value)
        if name.startswith("test_"):
            value()
    for expression, said in SAYS.findall(Path(sys.argv[1]).read_text("utf-8")):
        assert repr(eval(expression, defined)) == said, expression
