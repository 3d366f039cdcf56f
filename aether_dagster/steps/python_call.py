"""The step type `python/call`: calls a function of the user's (spec 2)."""

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Mapping
from difflib import get_close_matches
from typing import Any

from aether_dagster.errors import StepFailed
from aether_dagster.steps.context import StepContext
from aether_dagster.steps.imports import load_callable


def call(args: Mapping[str, Any], context: StepContext) -> Any:
    """Call `callable` with the other arguments as keywords and give what it returns.

    An async function is run to its end. A parameter called `context` is given the StepContext,
    unless the document gives an argument of that name.

    Raises:
        StepFailed: There is no such function, it does not take these arguments (checked before
            it is called), or it gives a generator.
        Exception: What the function raises.
    """
    reference = str(args["callable"])
    keywords = {name: value for name, value in args.items() if name != "callable"}
    function = load_callable(reference, context.directory)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise _generator(reference)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        signature = None
    if signature is not None:
        if "context" in signature.parameters and "context" not in keywords:
            keywords["context"] = context
        _check(reference, signature, keywords)
    value = function(**keywords)
    if inspect.iscoroutine(value):
        value = _run(value)
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        raise _generator(reference)
    return value


def _check(reference: str, signature: inspect.Signature, keywords: Mapping[str, Any]) -> None:
    parameters = signature.parameters.values()
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    problems: list[str] = []
    for name in keywords:
        if name not in names and not takes_any:
            near = get_close_matches(name, names, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            problems.append(f"it takes no {name!r}{hint}")
    problems += [
        f"it needs {p.name!r}"
        for p in parameters
        if p.default is p.empty and p.name in names and p.name not in keywords
    ]
    problems += [
        f"its parameter {p.name!r} cannot be given by name"
        for p in parameters
        if p.kind is p.POSITIONAL_ONLY and p.default is p.empty
    ]
    if problems:
        message = f"{reference!r} cannot be called so: {', and '.join(problems)}. It is"
        raise StepFailed("TypeError", f"{message} {reference.partition(':')[2]}{signature}.", "")


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    if _loop_runs():
        return _in_thread(lambda: asyncio.run(coroutine))
    return asyncio.run(coroutine)


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _in_thread(work: Callable[[], Any]) -> Any:
    # A loop which runs already, as under some hosts of Dagster, cannot run another in its thread.
    outcome: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="python/call")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


def _generator(reference: str) -> StepFailed:
    return StepFailed(
        "TypeError",
        f"{reference!r} gives a generator, which cannot be stored; return a list or a table.",
        "",
    )
