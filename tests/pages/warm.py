"""A process which has imported Dagster once, and forks for each command which is to run with it.

`warm.py SOCKET` serves. `warm.py SOCKET aetherscript|python WORDS` asks it for a command with this
process' files, folder and environment, and ends as that one ended.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import sys
from pathlib import Path


def ask(address: str, words: list[str]) -> int:
    """Has a command run, hands signals on to it, and returns its exit status."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        order = {"words": words, "folder": str(Path.cwd()), "environ": dict(os.environ)}
        socket.send_fds(connection, [b"?"], [0, 1, 2])
        with connection.makefile("rw") as told:
            told.write(json.dumps(order) + "\n")
            told.flush()
            child = int(told.readline())
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda number, _: os.kill(child, number))
            return int(told.readline() or 70)


def serve(address: str) -> None:
    """Forks for whoever asks, until standard input ends."""
    _import_what_a_run_needs()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(16)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _answer(connection)
            connection.close()


def _import_what_a_run_needs() -> None:
    """Imports, once for all, what a first run imported, in a process of its own."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        from aether_dagster.cli.main import main

        main(["run", "--quiet", "--state-history=./executions/"])
        os.write(writer, " ".join(sys.modules).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        for name in told.read().split():
            # What only a run may import, such as its steps' own code, it imports again.
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def _answer(connection: socket.socket) -> None:
    """Lets a child do what is asked, and tells its process id and its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rw") as told:
        order = json.loads(told.readline())
        child = os.fork()
        if child == 0:
            for number, file in enumerate(files):
                os.dup2(file, number)
            os.closerange(3, 256)
            _become(order)
        told.write(f"{child}\n")
        told.flush()
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        told.write(f"{code if code >= 0 else 128 - code}\n")
    os._exit(0)


def _become(order: dict) -> None:
    import runpy
    import traceback

    from aether_dagster.cli.main import main

    status = 70
    try:
        os.setsid()
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environ"])
        sys.stdout.reconfigure(line_buffering=True)
        program, *words = order["words"]
        sys.argv = [program, *words] if program == "aetherscript" else words
        if program == "aetherscript":
            status = main(words)
        else:
            sys.path.insert(0, str(Path(words[0]).parent))
            runpy.run_path(words[0], run_name="__main__")
            status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        status = 130
    except BaseException:  # noqa: BLE001 - as Python itself does
        traceback.print_exc()
        status = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(sys.argv[1])
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
