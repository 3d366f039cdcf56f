import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from aether_dagster.errors import StepFailed, StepTimeout
from aether_dagster.steps import StepContext, run_step

Write = Callable[[str], str]
Started = Callable[[], list[psutil.Process]]
Find = Callable[[str], list[psutil.Process]]

# Every way to get away: deaf to SIGTERM, a grandchild, a session of its own, forked twice.
FUGITIVES = """
import os, signal, subprocess, sys, time
SLEEP = [sys.executable, '-S', '-c', 'import time; time.sleep(600)']
DEAF = 'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)'

def run(mark, ready, stay=600):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen([*SLEEP, mark])
    subprocess.Popen([sys.executable, '-S', '-c', DEAF, mark], start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(SLEEP[0], [*SLEEP, mark])
        os._exit(0)
    open(ready, 'w').close()
    time.sleep(stay)
    return 'done'
"""


def gone(find: Find, mark: str, seconds: float = 0.0) -> bool:
    deadline = time.monotonic() + seconds
    while find(mark):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_at_the_timeout_nothing_of_the_attempt_remains(
    started: Started, context: StepContext, module: Write, marked: Find, tmp_path: Path
):
    name = module(FUGITIVES)
    mark, ready = f"mark-{name}", tmp_path / "ready"
    with pytest.raises(StepTimeout, match=r"longer than its timeout of 1\.5 s") as caught:
        run_step(
            "python/call",
            {"callable": f"{name}:run", "mark": mark, "ready": str(ready)},
            context,
            timeout=1.5,
        )
    assert caught.value.seconds == 1.5
    assert ready.exists()
    assert marked(mark) == []
    assert started() == []


def test_what_a_step_left_running_is_ended_when_it_succeeds(
    context: StepContext, module: Write, marked: Find, tmp_path: Path
):
    name = module(FUGITIVES)
    args = {"mark": f"mark-{name}", "ready": str(tmp_path / "ready"), "stay": 0.3}
    args["callable"] = f"{name}:run"
    assert run_step("python/call", args, context, timeout=60) == "done"
    assert marked(f"mark-{name}") == []


RUN = """
import logging, sys
from pathlib import Path
from aether_dagster.steps import StepContext, run_step
directory, name, step_type = sys.argv[1:4]
mark, ready = 'mark-' + name, directory + '/ready'
context = StepContext('s', 1, 'e', 'p', logging.getLogger(), None, None, Path(directory))
if step_type == 'shell/run':
    code = f'import {name}; {name}.run({mark!r}, {ready!r})'
    args, timeout = {'command': [sys.executable, '-c', code]}, None
else:
    args, timeout = {'callable': name + ':run', 'mark': mark, 'ready': ready}, 600
run_step(step_type, args, context, timeout=timeout)
"""


@pytest.mark.parametrize(
    ("number", "step_type"),
    [
        (signal.SIGKILL, "python/call"),
        (signal.SIGKILL, "shell/run"),
        (signal.SIGINT, "python/call"),
    ],
)
def test_nothing_remains_of_a_run_which_is_killed_or_interrupted(
    module: Write, marked: Find, tmp_path: Path, number: signal.Signals, step_type: str
):
    name = module(FUGITIVES)
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(tmp_path), name, step_type],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "ready").exists():
            assert time.monotonic() < deadline
            assert run.poll() is None
            time.sleep(0.05)
        while len(marked(f"mark-{name}")) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(run.pid, number)
        assert run.wait(30) != 0
        # Whoever was interrupted waits for the end himself; nobody waits for the killed one.
        assert gone(marked, f"mark-{name}", 0.0 if number == signal.SIGINT else 10.0)
    finally:
        run.kill()
        run.wait()


def test_an_attempt_in_a_thread_outlives_no_timeout(
    started: Started, context: StepContext, module: Write
):
    name = module("import time\ndef f(): time.sleep(600)")
    raised: list[BaseException] = []

    def attempt() -> None:
        try:
            run_step("python/call", {"callable": f"{name}:f"}, context, timeout=0.2)
        except StepTimeout as error:
            raised.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join(30)
    assert len(raised) == 1
    assert started() == []


def test_the_step_may_clean_up_when_its_time_is_over(
    context: StepContext, module: Write, tmp_path: Path
):
    name = module(
        "import time\n"
        "def f(path):\n"
        "    try:\n"
        "        time.sleep(600)\n"
        "    finally:\n"
        "        open(path, 'w').close()\n"
    )
    args = {"callable": f"{name}:f", "path": str(tmp_path / "cleaned")}
    with pytest.raises(StepTimeout):
        run_step("python/call", args, context, timeout=0.2)
    assert (tmp_path / "cleaned").exists()


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("os._exit(3)", "ended by itself with exit status 3"),
        ("os._exit(0)", "ended by itself with exit status 0"),
        ("os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
        ("os.kill(os.getppid(), 9); time.sleep(600)", "was killed together with its supervisor"),
        ("os.killpg(0, 9)", "was killed by SIGKILL"),
    ],
)
def test_a_process_which_ends_without_an_outcome_is_a_lost_worker(
    started: Started, context: StepContext, module: Write, code: str, how: str
):
    name = module(f"import os, time\ndef f(): {code}")
    with pytest.raises(StepFailed) as caught:
        run_step("python/call", {"callable": f"{name}:f"}, context, timeout=30)
    assert caught.value.type == "WorkerLost"
    assert how in caught.value.message
    assert started() == []


def test_the_child_does_not_import_dagster(context: StepContext, module: Write):
    name = module("import sys\ndef f(): return sorted(sys.modules)")
    loaded = run_step("python/call", {"callable": f"{name}:f"}, context, timeout=30)
    assert "aether_dagster.steps" in loaded
    assert not {"dagster", "pydantic", "sqlalchemy", "yaml"} & set(loaded)


def test_the_child_has_a_session_of_its_own_and_the_runs_environment_and_path(
    context: StepContext, module: Write, monkeypatch: pytest.MonkeyPatch
):
    name = module(
        "import os, sys\n"
        "def f():\n"
        "    get = os.environ.get\n"
        "    return [os.getsid(0), get('PYTHONPATH'), get('MINE'), sys.path]\n"
    )
    monkeypatch.setenv("MINE", "yes")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    # Without the folders of documents whose steps other tests ran in this process.
    monkeypatch.setattr(sys, "path", [p for p in sys.path if "pytest-of-" not in p])
    got = run_step("python/call", {"callable": f"{name}:f"}, context, timeout=30)
    assert got[0] != os.getsid(0)
    assert got[1:3] == [None, "yes"]
    assert got[3] == [str(context.directory), *(p for p in sys.path if p != got[3][0])]


def test_what_the_step_prints_goes_to_the_runs_own_output(
    context: StepContext, module: Write, capfd: pytest.CaptureFixture[str]
):
    name = module("import sys\ndef f():\n    print('out')\n    print('err', file=sys.stderr)")
    run_step("python/call", {"callable": f"{name}:f"}, context, timeout=30)
    assert capfd.readouterr() == ("out\n", "err\n")


def test_a_value_of_the_documents_own_class_crosses_both_ways(context: StepContext, module: Write):
    name = module(
        "class Row:\n"
        "    def __init__(self, n): self.n = n\n"
        "def make(): return Row(1)\n"
        "def grow(row):\n"
        "    row.n += 1\n"
        "    return row\n"
    )
    row = run_step("python/call", {"callable": f"{name}:make"}, context, timeout=30)
    assert (
        run_step("python/call", {"callable": f"{name}:grow", "row": row}, context, timeout=30).n
        == 2
    )
    assert row.n == 1


def test_a_large_value_crosses(context: StepContext, module: Write):
    name = module("def f(data): return data + data")
    data = os.urandom(5_000_000)
    args: dict[str, Any] = {"callable": f"{name}:f", "data": data}
    assert run_step("python/call", args, context, timeout=30) == data + data


def test_what_cannot_be_pickled_is_named(context: StepContext, module: Write):
    name = module("def f(x=None): return lambda: 1")
    with pytest.raises(StepFailed, match="The argument 'x', of type function, cannot be sent"):
        run_step("python/call", {"callable": f"{name}:f", "x": lambda: 1}, context, timeout=30)
    with pytest.raises(StepFailed, match="The output, of type function, cannot leave the process"):
        run_step("python/call", {"callable": f"{name}:f"}, context, timeout=30)


def test_a_thread_which_never_ends_does_not_hold_up_the_outcome(
    context: StepContext, module: Write
):
    name = module(
        "import threading, time\n"
        "def f():\n"
        "    threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "    return 1\n"
    )
    start = time.monotonic()
    assert run_step("python/call", {"callable": f"{name}:f"}, context, timeout=60) == 1
    assert time.monotonic() - start < 15


def test_no_descriptor_is_left_open(context: StepContext, module: Write):
    name = module("import time\ndef f(s): time.sleep(s)")
    run_step("python/call", {"callable": f"{name}:f", "s": 0}, context, timeout=30)
    before = psutil.Process().num_fds()
    run_step("python/call", {"callable": f"{name}:f", "s": 0}, context, timeout=30)
    with pytest.raises(StepTimeout):
        run_step("python/call", {"callable": f"{name}:f", "s": 600}, context, timeout=0.1)
    assert psutil.Process().num_fds() == before
