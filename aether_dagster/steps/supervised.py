"""A process which ends, with all its descendants, when it is left or when the run is gone."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Self

from aether_dagster.errors import StepFailed
from aether_dagster.steps import reaper

_REAPER = str(Path(reaper.__file__))
_LONGEST_END = reaper.GRACE_SECONDS + reaper.KILL_SECONDS + 5.0


class Supervised:
    """A command below a reaper of its own; see `reaper`.

    Used as a context manager: leaving it, in whatever way, ends the command and everything which
    it started, politely first (SIGTERM, two seconds), then with SIGKILL.

    Args:
        command: Program and arguments; the program is looked up in the PATH of `env`.
        env: The command's whole environment.
        cwd: Its working directory.
        stdin: An open file for its input; nothing otherwise.
        capture: Give its output as `stdout` and `stderr`; else it inherits this process's.
        pass_fds: File descriptors which it inherits.

    Raises:
        StepFailed: The working directory is none.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        stdin: IO[bytes] | None = None,
        capture: bool = False,
        pass_fds: Sequence[int] = (),
    ):
        self._command = command[0]
        self._status: int | None = None
        self.control, theirs = socket.socketpair()
        python = [sys.executable, "-I", "-S", _REAPER, str(theirs.fileno()), str(os.getpid())]
        pipe = subprocess.PIPE if capture else None
        try:
            self._reaper = subprocess.Popen(
                [*python, _psutil_folder(), *command],
                env=dict(env),
                cwd=cwd,
                stdin=stdin or subprocess.DEVNULL,
                stdout=pipe,
                stderr=pipe,
                pass_fds=[theirs.fileno(), *pass_fds],
                start_new_session=True,
            )
        except OSError as error:
            self.control.close()
            raise StepFailed(
                type(error).__name__,
                f"The process cannot be started in {str(cwd)!r}: {error.strerror}.",
                "",
            ) from error
        finally:
            theirs.close()
        self.stdout, self.stderr = self._reaper.stdout, self._reaper.stderr

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def status(self) -> int | None:
        """Give the exit status once the command has ended, waiting for it; negative for a signal.

        Returns None where it is not known, because the reaper itself was killed.

        Raises:
            StepFailed: The command could not be started.
        """
        word = self.control.recv(64)
        if word.startswith(b"E"):
            number = int(word[1:])
            raise StepFailed(
                "FileNotFoundError" if number == 2 else "OSError",
                f"The command {self._command!r} cannot be started: {os.strerror(number)}.",
                "",
            )
        if word.startswith(b"S"):
            self._status = os.waitstatus_to_exitcode(int(word[1:]))
        return self._status

    def end(self) -> None:
        """End the command and all which it started; to call it again does nothing."""
        if self.control.fileno() == -1:
            return
        with suppress(OSError):
            self.control.shutdown(socket.SHUT_RDWR)
        try:
            self._reaper.wait(_LONGEST_END)
        except subprocess.TimeoutExpired:
            self._reaper.kill()
            self._reaper.wait()
        finally:
            self.control.close()
            for stream in (self.stdout, self.stderr):
                if stream is not None:
                    stream.close()
        if self._reaper.returncode != 0:
            _end_session(self._reaper.pid)


def _psutil_folder() -> str:
    spec = find_spec("psutil")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent.parent)


def _end_session(session: int) -> None:
    # Only where the reaper was killed: what it watched is still in its session.
    import psutil

    for pid in psutil.pids():
        try:
            if os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)
        except OSError:
            continue
