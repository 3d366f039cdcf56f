"""The sidecar as a process: its event loop, its signals, and when it ends."""

import asyncio
import gc
import resource
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import IO

from aether_dagster.errors import AetherError
from aether_dagster.sidecar.replay import Replay
from aether_dagster.sidecar.server import Sidecar, SidecarSettings
from aether_dagster.sidecar.source import Source

# A thread which reads the journal lets the event loop go on after this many seconds.
_SWITCH_SECONDS = 0.001
# How long clients may take to read the end, and a browser to start.
_PATIENCE_SECONDS = 10.0
_BROWSER_SECONDS = 20.0

EXPECT_BROWSER = "open"
"""What a run says when it has started a browser."""

Announce = Callable[[str], None]


def serve(source: Source, settings: SidecarSettings, announce: Announce) -> None:
    """Serves a source until an interrupt or a signal ends it.

    Args:
        source: An open journal, or a replay.
        settings: How to listen.
        announce: Is told the page's URL, without the token, when it can be opened.

    Raises:
        SettingsError: It may not listen there.
        JournalError: The journal cannot be read.
        OSError: The address cannot be listened on.
    """
    _run(source, settings, announce, _for_ever)


def serve_replay(replay: Replay, settings: SidecarSettings, announce: Announce) -> None:
    """Serves a replay, which begins with the first client; arguments and errors as of `serve`."""

    async def begin(sidecar: Sidecar) -> None:
        await sidecar.arrival()
        replay.begin()
        await _for_ever(sidecar)

    _run(replay, settings, announce, begin)


def serve_run(source: Source, settings: SidecarSettings, announce: Announce, said: IO[str]) -> None:
    """Serves a journal for one run, until its clients have its final state.

    Args:
        source: The journal.
        settings: How to listen.
        announce: Is told the page's URL.
        said: What the run says, a word on a line: the pipeline id when it is known, and
            `EXPECT_BROWSER`. Its end is the run's.
    """

    async def watch(sidecar: Sidecar) -> None:
        heard = _Heard()
        await heard.listen(said)
        if heard.browser:
            with suppress(TimeoutError):
                await asyncio.wait_for(sidecar.arrival(), _BROWSER_SECONDS)
        if heard.pipeline_id is not None:
            with suppress(AetherError):
                await sidecar.finished(heard.pipeline_id, _PATIENCE_SECONDS)

    _run(source, settings, announce, watch)


class _Heard:
    """What a run has said."""

    def __init__(self) -> None:
        self.pipeline_id: str | None = None
        self.browser = False

    async def listen(self, said: IO[str]) -> None:
        """Returns when the run has ended."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def read() -> None:
            for line in said:
                self._hear(line.strip())
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=read, name="run", daemon=True).start()
        await ended.wait()

    def _hear(self, word: str) -> None:
        if word == EXPECT_BROWSER:
            self.browser = True
        elif word:
            self.pipeline_id = word


async def _for_ever(_: Sidecar) -> None:
    await asyncio.Event().wait()


def _run(
    source: Source,
    settings: SidecarSettings,
    announce: Announce,
    until: Callable[[Sidecar], Awaitable[None]],
) -> None:
    async def serving() -> None:
        _end_at_signals()
        sidecar = Sidecar(source, settings)
        try:
            await sidecar.start()
            announce(sidecar.url)
            await until(sidecar)
        finally:
            await sidecar.stop()

    _raise_limits()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner, suppress(asyncio.CancelledError):
        runner.run(serving())


def _end_at_signals() -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def _raise_limits() -> None:
    """Room for many clients, and no pauses which the garbage collector need not make."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
