import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from aether_dagster.errors import StepFailed
from aether_dagster.steps.supervised import Supervised

Started = Callable[[], list[psutil.Process]]

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]


def start(*command: str) -> Supervised:
    return Supervised(command, env=os.environ, cwd=Path.cwd())


@pytest.mark.parametrize(("code", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9)])
def test_the_exit_status_is_the_commands(code: str, status: int):
    with start("sh", "-c", code) as process:
        assert process.status() == status


def test_leaving_ends_the_command_and_ending_twice_is_nothing(started: Started):
    with start(*SLEEP) as process:
        assert len(started()) >= 1
    process.end()
    assert started() == []


def test_a_command_which_cannot_be_started_is_a_failure():
    with start("no-such-command") as process, pytest.raises(StepFailed, match="No such file"):
        process.status()


def test_a_killed_reaper_takes_the_command_with_it(started: Started):
    with start(*SLEEP) as process:
        reaper = started()[0]
        deadline = time.monotonic() + 10
        while not (below := reaper.children()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        reaper.kill()
        assert process.status() is None
    assert psutil.wait_procs(below, timeout=10)[1] == []


def test_the_reaper_holds_none_of_the_commands_files_open():
    reading, writing = os.pipe()
    with Supervised(
        ["sh", "-c", f"exec {writing}>&-; sleep 600"],
        env=os.environ,
        cwd=Path.cwd(),
        pass_fds=[writing],
    ):
        os.close(writing)
        assert os.read(reading, 1) == b""
    os.close(reading)
