"""Warm workers beside Dagster's own multiprocess executor, and what becomes of those which die.

What the other executor tells of the same jobs stands in `worker_events.json`. It takes minutes, so
that file is compared with it in a long campaign only.
"""

import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.runs import PACKAGES, Driver, Left, check_clean, place

HERE = Path(__file__).parent
JOBS = ["everything", "limits", "cancelled", "assets"]
MOST_STEPS = 3

STEPS = """
    - {id: killed, type: python/call, args: {callable: "jobs:die"}}
    - {id: again, type: python/call, args: {callable: "jobs:die_once", marker: m}, retries: 1}
    - {id: below, type: core/echo, args: {message: "${steps.killed.output}"}}
    - {id: after, type: python/call, args: {callable: "jobs:note", name: "${steps.again.output}"}}
    - {id: met1, type: python/call, args: {callable: "jobs:meet", value: 1, own: a, other: b}}
    - {id: met2, type: python/call, args: {callable: "jobs:meet", value: 2, own: b, other: a}}
    - {id: alone, type: core/sleep, args: {seconds: 0.3}, dependsOn: [met1], parallel: false}
    - {id: beside1, type: core/sleep, args: {seconds: 0.1}, dependsOn: [met1]}
    - {id: beside2, type: core/sleep, args: {seconds: 0.1}, dependsOn: [met1]}
"""
LONG = """
    - {id: family, type: python/call, args: {callable: "jobs:family"}}
    - {id: shell, type: shell/run, args: {command: "sleep 300 & sleep 300"}}
"""


FORKS = """
import sys, threading
from aether_dagster.orchestration.workers.forking import may_fork

end = threading.Event()
print(may_fork())
threading.Thread(target=end.wait, name="interrupts", daemon=True).start()
print(may_fork())
sys.modules["duckdb"] = sys
print(may_fork())
del sys.modules["duckdb"]
threading.Thread(target=end.wait, name="somebody's", daemon=True).start()
print(may_fork())
"""


def run_jobs(folder: Path, executor: str) -> dict[str, Any]:
    with (folder / "stderr").open("wb") as stderr, (folder / "stdout").open("wb") as stdout:
        subprocess.run(
            [sys.executable, str(HERE / "worker_jobs.py"), executor],
            cwd=folder,
            env={
                **os.environ,
                "AETHER_TEST_FOLDER": str(folder),
                "PYTHONPATH": os.pathsep.join((str(HERE), PACKAGES)),
            },
            stdout=stdout,
            stderr=stderr,
            timeout=1_500,
            check=True,
        )
    return json.loads((folder / f"{executor}.json").read_bytes())


def story(job: dict[str, Any]) -> dict[str, Any]:
    """What is the same in each run of a job."""
    steps = {key: [said for said, _ in events] for key, events in job["steps"].items()}
    return {"status": job["status"], "steps": steps, "logs": job["logs"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def ours(folder: Path) -> dict[str, Any]:
    return run_jobs(folder, "ours")


@pytest.fixture(scope="module")
def stock() -> dict[str, Any]:
    return json.loads((HERE / "worker_events.json").read_bytes())


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Driver]]:
    base = tmp_path_factory.mktemp("workers")
    started = {
        "steps": Driver(
            place(base / "steps", steps=STEPS), [{"pipeline": "steps.aether.yaml", "workers": 3}]
        ),
        "orphans": Driver(
            place(base / "orphans", long=LONG), [{"pipeline": "long.aether.yaml", "workers": 2}]
        ),
    }
    yield started
    for driver in started.values():
        driver.kill()


@pytest.fixture(scope="module")
def left(drivers: dict[str, Driver]) -> Left:
    return drivers["steps"].left("steps")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("job", JOBS)
def test_each_step_tells_what_the_multiprocess_executor_tells(
    ours: dict[str, Any], stock: dict[str, Any], job: str
) -> None:
    assert story(ours[job])["steps"] == stock[job]["steps"]
    assert ours[job]["status"] == stock[job]["status"]


def test_what_steps_and_their_children_print_is_captured(
    ours: dict[str, Any], stock: dict[str, Any], folder: Path
) -> None:
    assert ours["everything"]["logs"] == stock["everything"]["logs"]
    assert ours["everything"]["logs"]["good"] == ["printed by good\n", "printed by a child\n"]
    # And it is passed on to the run's own output.
    assert "printed by good\n" in (folder / "stdout").read_text()
    assert "printed by a child\n" in (folder / "stderr").read_text()


def test_a_worker_runs_many_steps_and_is_replaced_in_time(ours: dict[str, Any]) -> None:
    ran = Counter(pid for pids in ours["everything"]["workers"].values() for pid in pids)
    assert max(ran.values()) == MOST_STEPS
    # A megabyte is less than any process has: each step gets a worker of its own.
    fresh = Counter(pid for pids in ours["limits"]["workers"].values() for pid in pids)
    assert set(fresh.values()) == {1}


def test_steps_under_a_tag_limit_take_turns_by_priority(ours: dict[str, Any]) -> None:
    began, ended = _times(ours["limits"])
    assert ended["high"] < began["middle"]
    assert ended["middle"] < began["low"]


def test_steps_in_a_pool_take_turns(ours: dict[str, Any]) -> None:
    began, ended = _times(ours["limits"])
    first, second = sorted(("pool_a", "pool_b"), key=lambda step: began[step])
    assert ended[first] < began[second]


def _times(job: dict[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    began: dict[str, float] = {}
    ended: dict[str, float] = {}
    for step, events in job["steps"].items():
        told = dict(events)
        began[step], ended[step] = told["STEP_START"], told["STEP_SUCCESS"]
    return began, ended


def test_a_worker_which_dies_fails_its_step_only(drivers: dict[str, Driver], left: Left) -> None:
    left.check()
    assert left.report["failed"] == ["killed"]
    assert left.nodes["killed"]["error"]["type"] == "WorkerLost"
    assert left.nodes["below"]["error"]["upstream"] == ["killed"]
    check_clean(drivers["steps"])


def test_a_step_whose_worker_died_once_is_tried_again_by_another(left: Left) -> None:
    assert left.attempt("again", 1)["error"]["type"] == "WorkerLost"
    assert (left.nodes["again"]["status"], left.nodes["again"]["retry_count"]) == ("succeeded", 1)
    assert left.nodes["after"]["output_payload"] == ["one"]
    assert left.state["context"]["artifacts"] == {"one": "/data/one"}


def test_a_step_which_is_not_parallel_runs_alone(left: Left) -> None:
    running: set[str] = set()
    beside: set[str] = set()
    together = 0
    for version in left.versions:
        for delta in version.deltas:
            for step, node in delta.nodes.items():
                if node.outcome is None:
                    continue
                if node.outcome.status == "executing":
                    running.add(step)
                else:
                    running.discard(step)
                together = max(together, len(running))
                if "alone" in running:
                    beside |= running
    assert beside == {"alone"}
    assert together >= 2


def test_a_process_is_forked_only_where_no_thread_may_hold_a_lock() -> None:
    told = subprocess.check_output([sys.executable, "-c", FORKS], text=True)
    assert told.split() == ["True", "True", "False", "False"]


def test_workers_end_with_their_run_s_process(drivers: dict[str, Driver]) -> None:
    driver = drivers["orphans"]
    driver.wait_for("family executing 1", "shell executing 1")
    driver.kill()
    assert driver.survivors() == []


def campaign(directory: Path, *, steps: int, every: float, workers: int) -> tuple[Driver, Left]:
    """Runs steps while workers are killed at random; returns what is left."""
    lines = "".join(
        f"""
    - {{id: s{number}, type: core/sleep, args: {{seconds: 0.05}}, retries: {number % 3}}}"""
        for number in range(steps)
    )
    driver = Driver(
        place(directory, many=lines), [{"pipeline": "many.aether.yaml", "workers": workers}]
    )
    chosen = random.Random(steps)
    killed = 0
    shared: set[Path] = set()
    while driver.process.poll() is None:
        time.sleep(every)
        shared |= _shared_memory(driver)
        found = _workers(driver)
        if found:
            with suppress(psutil.Error):
                chosen.choice(found).kill()
                killed += 1
    assert killed > 0
    assert not [path for path in shared if path.exists()]
    return driver, driver.left("many")


def _workers(driver: Driver) -> list[psutil.Process]:
    """The children of the process which starts them."""
    found: list[psutil.Process] = []
    with suppress(psutil.Error):
        for server in psutil.Process(driver.process.pid).children():
            found.extend(server.children())
    return found


def _shared_memory(driver: Driver) -> set[Path]:
    """Semaphores and other shared memory with a name, which the run's processes have now."""
    found: set[Path] = set()
    with suppress(psutil.Error):
        run = psutil.Process(driver.process.pid)
        for process in (run, *run.children(recursive=True)):
            with suppress(OSError):
                maps = Path(f"/proc/{process.pid}/maps").read_text()
                found |= {Path(name) for name in re.findall(r"/dev/shm/\S+", maps)}
    return found


def check_campaign(driver: Driver, left: Left) -> None:
    left.check()
    lost = 0
    for step, node in left.nodes.items():
        retries = int(step[1:]) % 3
        lost += node["retry_count"]
        if node["status"] == "failed":
            assert (node["error"]["type"], node["retry_count"]) == ("WorkerLost", retries)
            lost += 1
        else:
            assert node["status"] == "succeeded"
    assert lost > 0
    check_clean(driver)


def test_a_run_survives_workers_which_are_killed(tmp_path: Path) -> None:
    check_campaign(*campaign(tmp_path / "killed", steps=30, every=0.4, workers=3))


@pytest.mark.soak
@pytest.mark.timeout(3_000)
def test_500_steps_whose_workers_are_killed_every_second(tmp_path: Path) -> None:
    check_campaign(*campaign(tmp_path / "killed", steps=500, every=1.0, workers=4))


@pytest.mark.soak
@pytest.mark.timeout(1_600)
def test_the_multiprocess_executor_still_tells_what_is_written_down(
    tmp_path: Path, stock: dict[str, Any]
) -> None:
    told = run_jobs(tmp_path, "stock")
    assert {name: story(job) for name, job in told.items()} == stock
