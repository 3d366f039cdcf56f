"""Canary: no secret is in a byte of what a run writes, streams or shows (spec 5, "Secrets").

One secret is in a plugin's secret store and in no environment, one in an environment variable. Both
go through payloads, errors, tracebacks, output of commands, artifacts, and hooks which do all that
a hook can do to leak them.
"""

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from aether_dagster.crypto import Key
from tests.journals import journal_environment
from tests.orchestration.scenarios import PACKAGES, document
from tests.sidecar.running import Follower, Running

pytestmark = pytest.mark.timeout(300)  # whole runs, each of a dozen processes

STEPS = """
    - {id: first, type: core/sleep, args: {seconds: 1}}
    - id: shell
      type: shell/run
      args: {command: "echo out $KEY; echo err $KEY >&2", env: {KEY: "${secrets.STORED}"}}
    - id: fails
      type: shell/run
      args: {command: "echo last $KEY >&2; exit 3", env: {KEY: "${secrets.STORED}"}}
    - id: script
      type: python/script
      args:
        code: "import os; print(os.environ['KEY'])"
        env: {KEY: "${SECRET_VARIABLE}"}
        output: text
    - id: payload
      type: python/call
      args: {callable: "canary:give", word: "${secrets.STORED}"}
    - id: error
      type: python/call
      args: {callable: "canary:fail", word: "${secrets.STORED}"}
      retries: 1
      retry: {delay: 0}
    - id: child
      type: python/call
      args: {callable: "canary:fail", word: "${secrets.STORED}"}
      timeout: 60
    - {id: query, type: sql/query, args: {connector: db, query: "select 1"}}
"""
MORE = """context: {secret_store: 'box://canary', secret_env: [SECRET_VARIABLE]}
plugins: [{name: Box}]
connectors: {db: {type: sql, url: "postgresql+psycopg://me:${secrets.STORED}@127.0.0.1:1/x"}}
hooks:
  onFailure:
    - {type: shell/run, args: {command: "echo hook $KEY; exit 1", env: {KEY: "${secrets.STORED}"}}}
"""
JOBS = """
import json
def give(word, context):
    context.logger.info("given %s", word)
    context.artifacts["made"] = "s3://bucket/" + word
    return {"nested": [word], word: "before " + word + " after", "json": json.dumps([word])}
def fail(word, context):
    try:
        int(word)
    except ValueError as error:
        raise RuntimeError("it is " + word + " and no other") from error
"""
# What it leaks: all of it goes into the journal, Dagster's log and standard error.
HOOK = """
import os
from pathlib import Path
from typing import Self
from aethersdk import StateHook, StateVeto
from dataclasses import replace

def stored():
    return Path(os.environ["WHERE"]).read_text()

class Leaky(StateHook):
    retry_delay = 0.01
    def pre_state_initialize(self, context):
        return replace(context, artifacts={**context.artifacts, "begun": stored()})
    def pre_state_mutation(self, mutation):
        if mutation.value is not None:
            self.logger.warning("saw %s", mutation.value)
            raise ValueError(os.environ["SECRET_VARIABLE"])
        if any("nodes.child." in path for path in mutation.paths):
            raise StateVeto("because of " + stored())
        raise KeyError(stored())
    def post_node_execute(self, node_id, current_state):
        self.logger.info("state %s %s", current_state, stored())
        if node_id.startswith("payload"):
            with self.transaction() as tx:
                tx.set("context.artifacts.leaked", stored())
                tx.private["kept"] = {"it is": [stored(), os.environ["SECRET_VARIABLE"]]}
        raise RuntimeError("told of " + stored() + os.environ["SECRET_VARIABLE"])
"""
BOX = """
import os
from pathlib import Path
from typing import Self
from aethersdk import Plugin

def opened(url):
    return lambda name: {"STORED": Path(os.environ["WHERE"]).read_text()}[name]

class Box(Plugin):
    secret_stores = {"box": opened}
    def cleanup(self):
        raise OSError("left open with " + Path(os.environ["WHERE"]).read_text())
"""
METADATA = """
[project]
name = "Box"
version = "1.0.0"
[project.entry-points."aetherscript.plugins"]
box = "canary_box:Box"
"""


@dataclass
class Case:
    """A folder to run in, and what must not be found there."""

    folder: Path
    environ: dict[str, str]
    secrets: tuple[bytes, bytes]
    key: Path

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "aether_dagster.cli", *words]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    folder = tmp_path / "work"
    plugin = folder / "plugins" / "box"
    plugin.mkdir(parents=True)
    (plugin / "pyproject.toml").write_text(METADATA)
    (plugin / "canary_box.py").write_text(BOX)
    (folder / "plugins" / "leaky.py").write_text(HOOK)
    (folder / "canary.py").write_text(JOBS)
    (folder / "tiny.aether.yaml").write_text(document(STEPS, more=MORE))
    stored, declared = f"cnry{uuid.uuid4().hex}", f"cnry{uuid.uuid4().hex}"
    (tmp_path / "box").write_text(stored)
    key = tmp_path / "key"
    key.write_text(Key.generate().text())
    key.chmod(0o600)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AETHERSCRIPT", "DAGSTER"))}
    environ = {
        **kept,
        "WHERE": str(tmp_path / "box"),
        "SECRET_VARIABLE": declared,
        "PYTHONPATH": os.pathsep.join(PACKAGES),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        **journal_environment(folder),
    }
    return Case(folder, environ, (stored.encode(), declared.encode()), key)


class CommandLines:
    """What `ps` shows of every process of this machine, as long as the body runs."""

    def __enter__(self) -> Self:
        self.seen = b""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.05):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    self.seen += file.read_bytes()


def assert_clean(case: Case, shown: bytes, *, sealed: bool) -> None:
    files = {p: p.read_bytes() for p in case.folder.rglob("*") if p.is_file()}
    names = {path.name for path in files}
    assert {"state_final.json", "runs.db"} <= names
    for secret in case.secrets:
        holding = [path for path, data in files.items() if secret in data]
        # What a step returns is stored as it is, for the next step; sealed where there is a key.
        assert [p for p in holding if sealed or "aether_artifacts" not in p.parts] == []
        at = shown.find(secret)
        assert at < 0, shown[max(0, at - 300) : at]
    assert b"***" in shown


@pytest.mark.parametrize("sealed", [False, True])
def test_no_secret_is_in_a_file_or_printed(case: Case, sealed: bool) -> None:
    # Unsealed the lines are JSON, and the runs are of an instance which keeps compute logs.
    sealing = [f"--state-encryption-key=file:{case.key}"] if sealed else ["--json"]
    home = case.folder / "home"
    home.mkdir()
    instance = {} if sealed else {"DAGSTER_HOME": str(home)}
    with CommandLines() as lines:
        done = subprocess.run(
            case.command("run", "--state-history=ex", *sealing),
            cwd=case.folder,
            env={**case.environ, **instance},
            capture_output=True,
            timeout=250,
            check=False,
        )
    shown = done.stdout + done.stderr
    assert done.returncode == 1, shown[-3000:]
    for words in (["--hooks"], ["--json"]):
        told = subprocess.run(
            case.command("history", "show", "--state-history=ex", *words, *sealing[:sealed]),
            cwd=case.folder,
            env={**case.environ, **instance},
            capture_output=True,
            timeout=60,
            check=True,
        )
        shown += told.stdout + told.stderr
    for part in (b"Leaky", b"Vetoed", b"left open with ***", b"s3://bucket/***"):
        assert part in shown, part
    assert_clean(case, shown + lines.seen, sealed=sealed)


def test_no_secret_is_in_the_live_stream_or_on_a_terminal(case: Case) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(case.folder)
        words = case.command("run", "--vis", "--state-history=ex")
        os.execve(sys.executable, words, {**case.environ, "TERM": "xterm-256color"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    output = bytearray()

    def read() -> Iterator[bytes]:
        with suppress(OSError):
            while data := os.read(terminal, 65_536):
                yield data

    def drain() -> None:
        for data in read():
            output.extend(data)

    with CommandLines() as lines:
        thread = threading.Thread(target=drain)
        thread.start()
        give_up = time.monotonic() + 120
        while (found := re.search(rb"Live at (http://[^\s#\x1b]+)", bytes(output))) is None:
            assert time.monotonic() < give_up, bytes(output)
            time.sleep(0.05)
        token = Path(case.environ["XDG_STATE_HOME"], "aetherscript", "sidecar.token").read_text()
        frames = asyncio.run(watched(found[1].decode().rstrip("/"), token.strip()))
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        thread.join()
    os.close(terminal)
    assert status == 1, bytes(output)
    assert b'"status":"failed"' in frames.replace(b" ", b"")
    assert b"***" in frames
    assert_clean(case, frames + bytes(output) + lines.seen, sealed=False)


async def watched(address: str, token: str) -> bytes:
    """Every frame of the run, from when it began to its end."""
    running = Running(address, token, None)  # type: ignore[arg-type]
    kept = b""
    async with asyncio.timeout(200):
        name = None
        async with running.connected("/executions") as listed:
            while name is None:
                message = await listed.recv()
                kept += message.encode() if isinstance(message, str) else message
                frame = Follower().take(message)
                name = next(iter(frame["payload"]["executions"]), None)
        async with running.connected(f"/executions/{name}") as connection:
            async for message in connection:
                kept += message.encode() if isinstance(message, str) else message
    return kept
