"""The start of a program which imports much: nothing is collected until it is done."""

import gc
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
