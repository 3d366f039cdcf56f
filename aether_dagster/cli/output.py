"""Where the commands write: their own standard output, and consoles on it."""

import os
import sys
from collections.abc import Iterable
from typing import IO, Any, TextIO

from rich.console import Console
from rich.text import Text


class OutputConsole(Console):
    """A console which a run outlives: when nobody reads any more, it falls silent."""

    def on_broken_pipe(self) -> None:
        """Falls silent; the pipeline's work goes on."""
        self.quiet = True
        _to_nowhere(self.file)

    def write_text(self, text: Text) -> None:
        """Writes text as it is, without wrapping: a terminal and a file get the same lines."""
        if text:
            self.print(text, end="", soft_wrap=True)


def console(stream: TextIO) -> OutputConsole:
    """Returns a console; it has colours on a terminal only, and not with NO_COLOR set."""
    options: dict[str, Any] = {} if stream.isatty() else {"force_terminal": False}
    return OutputConsole(file=stream, highlight=False, markup=False, emoji=False, **options)


def own_stdout(*, exclusive: bool = False) -> TextIO:
    """Returns a stream to this process's standard output which nobody else's redirection reaches.

    Dagster points the file descriptor elsewhere while it captures what a step prints, so what
    the command itself says goes through a duplicate.

    Args:
        exclusive: Sends everything else which is written to standard output, by a step or by a
            child process, to standard error, so that only the returned stream reaches it.
    """
    sys.stdout.flush()
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    if exclusive:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return stream


def write_lines(stream: IO[str], lines: Iterable[str]) -> None:
    """Writes lines at once; when nobody reads any more, they go nowhere, and a run goes on."""
    try:
        stream.write("".join(f"{line}\n" for line in lines))
        stream.flush()
    except BrokenPipeError:
        _to_nowhere(stream)


def _to_nowhere(stream: IO[str]) -> None:
    # What is left in the stream's buffer would raise again when it is closed.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
