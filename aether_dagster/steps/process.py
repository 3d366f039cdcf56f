"""Runs a command for a step: its output shown, kept within bounds, and made the step's output."""

import codecs
import json
import os
import selectors
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TextIO

from aether_dagster.errors import StepFailed, StepTimeout
from aether_dagster.steps.context import Mask
from aether_dagster.steps.environment import inherited_environment
from aether_dagster.steps.supervised import Supervised

KEPT_BYTES = 1_048_576
WHOLE_BYTES = 67_108_864
SHOWN_IN_ERRORS = 2_000


def run_process(
    command: Sequence[str],
    args: Mapping[str, Any],
    directory: Path,
    timeout: float | None,
    *,
    masked: Callable[[], Mask] | None = None,
) -> Any:
    """Run a command to its end.

    Its environment is this process's and `env`. What it writes goes on to this process's standard
    output and error as it comes, and 1 MiB of each is kept, the middle cut out; with `output`
    `text`, `lines` or `json`, all of standard output up to 64 MiB. Processes which it leaves
    running are ended.

    Args:
        command: Program and arguments.
        args: `cwd`, `env`, `stdin`, `check` and `output` of the step type (spec 2).
        directory: The document's folder.
        timeout: Seconds, or None.
        masked: Makes what masks secrets in what is shown; see `StepContext`.

    Returns:
        What `output` asks for; by default `{"exit_code", "stdout", "stderr"}`.

    Raises:
        StepFailed: It cannot be started, its exit status is not 0 (`ExitStatus`), or its output
            is not what `output` asks for.
        StepTimeout: The timeout passed, and nothing of it runs any more.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    whole = args["output"] != "result"
    mask = masked or _unmasked
    stdout = _Kept(sys.stdout, WHOLE_BYTES if whole else KEPT_BYTES, mask(), whole=whole)
    stderr = _Kept(sys.stderr, KEPT_BYTES, mask(), whole=False)
    given = {name: _word(value) for name, value in args["env"].items()}
    environ = inherited_environment() | given
    with (
        _input(args["stdin"]) as stdin,
        Supervised(
            command, env=environ, cwd=directory / (args["cwd"] or "."), stdin=stdin, capture=True
        ) as process,
    ):
        if not _follow(process, stdout, stderr, deadline):
            assert timeout is not None
            raise StepTimeout(timeout)
        exit_code = process.status()
    if exit_code is None:
        raise StepFailed("WorkerLost", "The command's supervisor was killed.", "")
    if exit_code != 0 and args["check"]:
        raise StepFailed("ExitStatus", _ended(command, exit_code, stderr.tail()), "")
    return _output(args["output"], exit_code, stdout, stderr, mask())


def command_words(words: Sequence[Any]) -> list[str]:
    """Give arguments as text, as a shell would see them written in the document."""
    return [_word(word) for word in words]


def _unmasked() -> Mask:
    return lambda text, _: text


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _input(text: str | None) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller's with statement closes it
    file.write((text or "").encode())
    file.seek(0)
    return file


def _follow(process: Supervised, stdout: "_Kept", stderr: "_Kept", deadline: float | None) -> bool:
    with selectors.DefaultSelector() as selector:
        for stream, kept in ((process.stdout, stdout), (process.stderr, stderr)):
            assert stream is not None
            selector.register(stream, selectors.EVENT_READ, kept)
        # The command's end counts, not the end of its output: something it left running may
        # hold that open.
        selector.register(process.control, selectors.EVENT_READ, None)
        ended = False
        while selector.get_map():
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready = selector.select(0.0 if ended else wait)
            if not ready or (not ended and wait == 0.0):
                return ended
            for key, _ in ready:
                if key.data is None:
                    ended = True
                    selector.unregister(key.fileobj)
                elif not key.data.take(os.read(key.fd, 65_536)):
                    selector.unregister(key.fileobj)
    return True


class _Kept:
    """The head and the tail of a stream, which is shown on another as it comes.

    What may be cut is masked before it is: half of a secret is not found any more. Of what is kept
    whole, which may be JSON, its strings are masked once it is read.
    """

    def __init__(self, shown_on: TextIO | None, limit: int, mask: Mask, *, whole: bool):
        self._mask, self._whole = mask, whole
        self._shown_on = shown_on
        self._half = limit // 2
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._head = bytearray()
        self._tail = bytearray()
        self.left_out = 0

    def take(self, data: bytes) -> bool:
        shown = self._mask(self._decoder.decode(data, final=not data), not data)
        self._show(shown)
        kept = data if self._whole else shown.encode()
        room = self._half - len(self._head)
        self._head += kept[:room]
        self._tail += kept[max(0, room) :]
        # Twice as much may gather before it is cut, so that cutting does not cost at every read.
        if len(self._tail) > 2 * self._half:
            self._cut()
        return bool(data)

    def text(self) -> str:
        self._cut()
        if not self.left_out:
            return (self._head + self._tail).decode(errors="replace")
        notice = f"\n… [{self.left_out} bytes left out] …\n"
        return self._head.decode(errors="ignore") + notice + self._tail.decode(errors="ignore")

    def tail(self) -> str:
        text = self.text().rstrip()
        return text if len(text) <= SHOWN_IN_ERRORS else f"…{text[-SHOWN_IN_ERRORS:]}"

    def _cut(self) -> None:
        excess = len(self._tail) - self._half
        if excess > 0:
            self.left_out += excess
            del self._tail[:excess]

    def _show(self, text: str) -> None:
        if text and self._shown_on is not None:
            # What the run shows must not decide whether its steps succeed.
            with suppress(OSError, ValueError):
                self._shown_on.write(text)
                self._shown_on.flush()


def _ended(command: Sequence[str], exit_code: int, tail: str) -> str:
    how = f"exit status {exit_code}" if exit_code > 0 else f"signal {-exit_code}"
    program = Path(command[0]).name
    return f"{program!r} ended with {how}." + (f" Its last words:\n{tail}" if tail else "")


def _output(form: str, exit_code: int, stdout: _Kept, stderr: _Kept, mask: Mask) -> Any:
    if form == "result":
        return {"exit_code": exit_code, "stdout": stdout.text(), "stderr": stderr.text()}
    text = stdout.text()
    if stdout.left_out:
        raise StepFailed(
            "OutputTooLarge",
            f"Standard output is larger than {WHOLE_BYTES} bytes; write it to a file and print "
            "the file's name.",
            "",
        )
    if form == "lines":
        return text.splitlines()
    if form == "text":
        return text.removesuffix("\n")
    try:
        return json.loads(text)
    except ValueError as error:
        begins = mask(text, True)[:80]
        raise StepFailed(
            "JSONDecodeError", f"Standard output is not JSON: {error}. It begins {begins!r}.", ""
        ) from error
