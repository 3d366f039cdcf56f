import subprocess
import sys
from collections.abc import Callable
from types import MappingProxyType

import pytest

from aether_dagster.errors import StepFailed
from aether_dagster.script import STEP_ARGUMENTS
from aether_dagster.steps import STEP_TYPES, StepContext, StepType, run_step


def test_every_step_type_of_the_language_can_be_done():
    assert STEP_TYPES.keys() == STEP_ARGUMENTS.keys()
    for kind in STEP_TYPES.values():
        assert callable(kind.load())


def test_an_unknown_step_type_is_named(context: StepContext):
    with pytest.raises(StepFailed, match=r"no step type 'Mail/send'; core/echo, "):
        run_step("Mail/send", {}, context)


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_a_plugins_step_type_runs_like_a_built_in(
    context: StepContext, module: Callable[[str], str], timeout: float | None
):
    name = module("def send(args, context): return [args['to'], context.step_id]")
    sys.path.insert(0, str(context.directory))
    types = {**STEP_TYPES, "Mail/send": StepType(f"{name}:send")}
    args = MappingProxyType({"to": "ann"})
    sent = run_step("Mail/send", args, context, timeout=timeout, step_types=types)
    assert sent == ["ann", "load"]


def test_the_ring_is_cheap_to_import():
    code = (
        "import sys, aether_dagster.steps\n"
        "heavy = {'dagster', 'pydantic', 'sqlalchemy', 'httpx', 'duckdb', 'yaml', 'psutil'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
