"""The start of a program which imports much: nothing is collected until it is done."""

import gc
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager

_MANY_OBJECTS = 400_000


@contextmanager
def uncollected_start() -> Generator[Callable[[], None]]:
    """Keeps Python's garbage collector away while modules are imported and graphs are built.

    What they make stays until the end. Looking through it again and again for garbage, and once
    more when the interpreter ends, takes a third of the processor time of a small run.

    A graph of many steps leaves garbage of some megabytes, which the run then need not ask the
    system for again: it is worth one look, among what was made since the modules were imported.

    Yields:
        Ends the start: from then on garbage is collected, among what is made later.
    """
    if not gc.isenabled():
        yield lambda: None
        return

    going_on = True

    def started() -> None:
        nonlocal going_on
        if going_on:
            going_on = False
            if gc.get_count()[0] > _MANY_OBJECTS:
                gc.collect()
            gc.freeze()
            gc.enable()

    gc.disable()
    try:
        yield started
    finally:
        gc.enable()


_PYDANTIC_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"


@contextmanager
def no_pydantic_plugins() -> Generator[None]:
    """Builds the validators of models without looking for plugins of pydantic meanwhile.

    Pydantic reads the entry points of every distribution which is installed for them, a sixth of
    the processor time of a small command. They watch how an application's models validate; ours
    are the document's language. Models of a team's own code, built afterwards, have them, and no
    child process is told: the variable is as it was in the end. Other threads must not run yet.
    """
    before = os.environ.get(_PYDANTIC_PLUGINS)
    os.environ[_PYDANTIC_PLUGINS] = "__all__"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PYDANTIC_PLUGINS]
        else:
            os.environ[_PYDANTIC_PLUGINS] = before
