import json
import os
import subprocess
import sys

import pytest

from aether_dagster.manager.identity import is_gone, own_identity

PRINT = (
    "from aether_dagster.manager.identity import own_identity; print(own_identity(), flush=True)"
)


@pytest.fixture
def process() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", f"{PRINT}; input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    )


def changed(**members: object) -> str:
    return json.dumps({**json.loads(own_identity()), **members})


def test_a_process_is_gone_once_it_was_killed(process: subprocess.Popen[str]) -> None:
    with process:
        assert process.stdout is not None
        identity = process.stdout.readline()
        assert is_gone(identity) is False
        process.kill()
        # Nobody has waited for it yet: it is a zombie, and does nothing any more.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(identity) is True
    assert is_gone(identity) is True


def test_another_process_of_the_same_id_is_not_the_same_process() -> None:
    started = json.loads(own_identity())["start"]
    assert is_gone(own_identity()) is False
    assert is_gone(changed(start=started - 1)) is True


def test_nothing_is_proven_of_another_host_or_another_container() -> None:
    assert is_gone(changed(host="elsewhere")) is None
    assert is_gone(changed(pids="pid:[1]")) is None


def test_all_which_ran_before_this_boot_is_gone() -> None:
    assert is_gone(changed(boot="another")) is True


@pytest.mark.parametrize("identity", ["", "{}", "[]", "null", '{"host": 1}'])
def test_an_identity_which_cannot_be_read_proves_nothing(identity: str) -> None:
    assert is_gone(identity) is None


def test_a_forked_child_is_another_process() -> None:
    reading, writing = os.pipe()
    own_identity()
    pid = os.fork()
    if pid == 0:
        os.write(writing, own_identity().encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert json.loads(os.read(reading, 4096))["pid"] == pid
    os.close(reading)
    os.close(writing)
