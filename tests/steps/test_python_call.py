import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aether_dagster.errors import StepFailed
from aether_dagster.steps import StepContext, run_step

Write = Callable[[str], str]
MODES = pytest.mark.parametrize("timeout", [None, 30.0], ids=["here", "in a child"])


def failure(context: StepContext, timeout: float | None = None, /, **args: Any) -> StepFailed:
    with pytest.raises(StepFailed) as caught:
        run_step("python/call", args, context, timeout=timeout)
    return caught.value


@MODES
def test_a_function_is_called_with_keywords(
    context: StepContext, module: Write, timeout: float | None
):
    name = module("def add(a, *, b=1, **more):\n    return [a + b, more]")
    args = {"callable": f"{name}:add", "a": 1, "c": {"d": None}}
    assert run_step("python/call", args, context, timeout=timeout) == [2, {"c": {"d": None}}]


@MODES
def test_an_async_function_is_run_to_its_end(
    context: StepContext, module: Write, timeout: float | None
):
    name = module(
        "import asyncio\nasync def twice(n):\n    await asyncio.sleep(0)\n    return 2 * n\n"
    )
    args = {"callable": f"{name}:twice", "n": 21}
    assert run_step("python/call", args, context, timeout=timeout) == 42


@MODES
def test_the_context_tells_the_step_about_itself(
    context: StepContext,
    module: Write,
    timeout: float | None,
    caplog: pytest.LogCaptureFixture,
    connectors: dict[str, Any],
):
    connectors["warehouse"] = {"type": "sql", "url": "sqlite://"}
    context.artifacts["raw"] = "/tmp/raw"
    context.artifacts["old"] = "/tmp/old"
    name = module(
        "def tell(context):\n"
        "    context.logger.info('half %d%%', 50)\n"
        "    context.logger.debug('too quiet')\n"
        "    context.artifacts.set('clean', context.artifacts['raw'] + '.clean')\n"
        "    context.artifacts.delete('old')\n"
        "    context.artifacts.delete('never was')\n"
        "    return [context.step_id, context.attempt, context.execution_id, context.pipeline,\n"
        "            context.connection('warehouse')['url'], sorted(context.artifacts),\n"
        "            context.artifacts.get('nothing'), str(context.directory)]\n"
    )
    told = run_step("python/call", {"callable": f"{name}:tell"}, context, timeout=timeout)
    assert told == [
        "load",
        2,
        "pipeline_01H3XYZ9",
        "nightly",
        "sqlite://",
        ["clean", "raw"],
        None,
        str(context.directory),
    ]
    assert dict(context.artifacts) == {"raw": "/tmp/raw", "clean": "/tmp/raw.clean"}
    assert [record.getMessage() for record in caplog.records] == ["half 50%"]


@MODES
def test_what_refuses_an_artifact_is_the_cause_of_the_failure(
    context: StepContext, module: Write, timeout: float | None
):
    name = module("def f(context):\n    context.artifacts['forbidden'] = 'x'")
    failed = failure(context, timeout, callable=f"{name}:f")
    assert failed.type == "PermissionError"
    assert isinstance(failed.__cause__, PermissionError)


@MODES
def test_an_error_keeps_its_type_text_and_the_users_frames_alone(
    context: StepContext, module: Write, timeout: float | None
):
    name = module(
        "class NoRows(ValueError): pass\n"
        "def inner(): raise NoRows('no rows in München')\n"
        "def outer(): inner()\n"
    )
    failed = failure(context, timeout, callable=f"{name}:outer")
    assert (failed.type, failed.message) == ("NoRows", "no rows in München")
    lines = failed.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith(f'{name}.py", line 3, in outer')
    assert "aether_dagster" not in failed.traceback
    assert lines[-1].endswith("NoRows: no rows in München")


def test_an_async_error_shows_the_users_frames_alone(context: StepContext, module: Write):
    name = module("async def f():\n    return {}['missing']")
    failed = failure(context, callable=f"{name}:f")
    assert (failed.type, failed.message) == ("KeyError", "'missing'")
    assert "asyncio" not in failed.traceback
    assert "return {}['missing']" in failed.traceback


def test_an_error_which_cannot_tell_its_text_still_fails_its_step_alone(
    context: StepContext, module: Write
):
    name = module(
        "class Mute(Exception):\n    def __str__(self): raise RuntimeError\ndef f(): raise Mute\n"
    )
    failed = failure(context, callable=f"{name}:f")
    assert failed.type == "Mute"
    assert "its text cannot be had" in failed.message


@MODES
def test_sys_exit_fails_the_step_and_not_the_run(
    context: StepContext, module: Write, timeout: float | None
):
    name = module("import sys\ndef f(): sys.exit(3)")
    failed = failure(context, timeout, callable=f"{name}:f")
    assert failed.type == "SystemExit"
    assert "sys.exit(3)" in failed.message


def test_an_interrupt_is_not_the_steps_failure(context: StepContext, module: Write):
    name = module("def f(): raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        run_step("python/call", {"callable": f"{name}:f"}, context)


@pytest.mark.parametrize(
    "source", ["def f():\n    yield 1", "def f():\n    return (n for n in 'a')"]
)
@MODES
def test_a_generator_is_refused(
    context: StepContext, module: Write, source: str, timeout: float | None
):
    name = module(source)
    failed = failure(context, timeout, callable=f"{name}:f")
    assert "gives a generator, which cannot be stored; return a list" in failed.message


def test_a_missing_module_names_the_nearest(context: StepContext, tmp_path: Path):
    (tmp_path / "shipping").mkdir()
    (tmp_path / "shipping" / "orders.py").write_text("")
    failed = failure(context, callable="shipping.order:load")
    assert failed.type == "ModuleNotFoundError"
    assert "no module 'shipping.order'" in failed.message
    assert "did you mean 'shipping.orders'?" in failed.message
    assert "did you mean 'shipping'?" in failure(context, callable="shiping:load").message


def test_a_missing_import_inside_a_module_is_the_modules_own_error(
    context: StepContext, module: Write
):
    name = module("import surely_not_installed")
    failed = failure(context, callable=f"{name}:load")
    assert failed.message == "No module named 'surely_not_installed'"
    assert f"{name}.py" in failed.traceback
    assert "importlib" not in failed.traceback


def test_a_missing_function_names_the_nearest(context: StepContext, module: Write):
    name = module("def transform(): pass")
    failed = failure(context, callable=f"{name}:tranform")
    assert failed.type == "AttributeError"
    assert "has no 'tranform' (did you mean 'transform'?)" in failed.message


def test_what_is_no_function_cannot_be_called(context: StepContext, module: Write):
    name = module("load = 7")
    assert "is int, no function" in failure(context, callable=f"{name}:load").message


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"path": 1, "lmit": 2}, "it takes no 'lmit' (did you mean 'limit'?)"),
        ({"limit": 2}, "it needs 'path'"),
        ({}, "load(path, limit=10)"),
    ],
)
def test_wrong_keywords_are_found_before_the_call(
    context: StepContext, module: Write, keywords: dict[str, Any], message: str
):
    name = module("def load(path, limit=10):\n    raise AssertionError('it was called')")
    failed = failure(context, callable=f"{name}:load", **keywords)
    assert failed.type == "TypeError"
    assert message in failed.message


def test_a_positional_only_parameter_is_explained(context: StepContext, module: Write):
    name = module("def f(a, /): pass")
    assert "'a' cannot be given by name" in failure(context, callable=f"{name}:f", a=1).message


def test_a_method_of_a_class_and_a_builtin_can_be_called(context: StepContext, module: Write):
    name = module("class Jobs:\n    @staticmethod\n    def run(n): return n + 1")
    assert run_step("python/call", {"callable": f"{name}:Jobs.run", "n": 1}, context) == 2
    assert run_step("python/call", {"callable": "builtins:dict", "a": 1}, context) == {"a": 1}


def test_an_async_function_runs_where_a_loop_runs_already(context: StepContext, module: Write):
    name = module("async def one(): return 1\nasync def bad(): raise LookupError('x')")

    async def host() -> Any:
        with pytest.raises(StepFailed, match="LookupError: x"):
            run_step("python/call", {"callable": f"{name}:bad"}, context)
        return run_step("python/call", {"callable": f"{name}:one"}, context)

    assert asyncio.run(host()) == 1
