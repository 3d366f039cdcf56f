"""The live page with ten thousand steps: until it is painted, and how it moves as the run goes on.

    python benchmarks/page.py [STEPS]

Needs a Chromium and the package playwright. Expected (spec 4): painted under 1 s; panning, with
five frames a second which change two hundred steps each, never below 30 frames a second.
"""

import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from aether_dagster.journal import Journal
from tests.journal.builders import HASH, initialization
from tests.page.conftest import browsing
from tests.page.server import Execution, PageServer
from tests.sidecar.running import sidecar

LAYERS = 25
SECONDS = 6
RECORD = """
() => {
  window.intervals = [];
  let last = performance.now();
  const next = (now) => {
    window.intervals.push(now - last);
    last = now;
    window.recording = requestAnimationFrame(next);
  };
  window.recording = requestAnimationFrame(next);
}
"""
STOP = "() => { cancelAnimationFrame(window.recording); return window.intervals.slice(2); }"


def pipeline(count: int) -> list[dict[str, Any]]:
    """Steps in layers, each after one to three of the layer before."""
    chance = random.Random(7)
    width = max(1, count // LAYERS)
    steps = []
    for number in range(count):
        layer, place = divmod(number, width)
        near = [(layer - 1) * width + (place + chance.randint(-3, 3)) % width for _ in range(3)]
        after = sorted(set(near[: chance.randint(1, 3)])) if layer else []
        steps.append(
            {
                "id": f"step_{number:05}",
                "type": chance.choice(["python/call", "sql/query", "http/get"]),
                "dependencies": [f"step_{each:05}" for each in after],
            }
        )
    return steps


class Run(threading.Thread):
    """Five frames a second, each of which ends a hundred steps and starts a hundred."""

    def __init__(self, execution: Execution):
        super().__init__(daemon=True)
        self.execution, self.frames, self.over = execution, 0, threading.Event()

    def run(self) -> None:
        names = list(self.execution.document["nodes"])
        execution, at = self.execution, 0
        while not self.over.wait(0.2):
            ended = {names[(at + n) % len(names)]: "succeeded" for n in range(100)}
            at += 100
            begun = {names[(at + n) % len(names)]: "executing" for n in range(100)}
            changed = {
                name: {"status": status, "execution_time": 1.5}
                for name, status in {**ended, **begun}.items()
            }
            execution.past = execution.past[:1]
            execution.change(changed)
            self.frames += 1


def measured(page: Any, seconds: float, scale: float) -> list[float]:
    """Milliseconds between frames while a hand drags the graph to and fro."""
    box = page.locator(".graph-canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.keyboard.press("0")
    for _ in range(round(scale)):
        page.mouse.wheel(0, -200)
    page.wait_for_timeout(300)
    page.mouse.down()
    page.evaluate(RECORD)
    end = time.monotonic() + seconds
    step = 0
    while time.monotonic() < end:
        step += 1
        phase = step % 160
        page.mouse.move(x + 3 * (phase if phase < 80 else 160 - phase) - 120, y + step % 40)
    intervals = page.evaluate(STOP)
    page.mouse.up()
    return intervals


def report(title: str, intervals: list[float]) -> None:
    ordered = sorted(intervals)
    per_second = 1000 * len(ordered) / sum(ordered)
    p99 = ordered[int(len(ordered) * 0.99)]
    slow = sum(each > 1000 / 30 + 1 for each in ordered)
    print(
        f"{title:34} {per_second:5.1f} frames/s   p99 {p99:5.1f} ms   worst {ordered[-1]:5.1f} ms"
        f"   slower than 1/30 s: {slow} of {len(ordered)}"
    )


def painted(browser: Any, url: str) -> list[float]:
    """Milliseconds from the beginning of the navigation until the graph is there, five times."""
    found = []
    for _ in range(5):
        page = opened(browser, url)
        found.append(page.evaluate("performance.getEntriesByName('graph-painted')[0].startTime"))
        page.close()
    return found


def opened(browser: Any, url: str) -> Any:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(url)
    page.locator(".graph-canvas[data-painted]").wait_for()
    return page


@contextmanager
def on_the_sidecar(steps: list[dict[str, Any]]) -> Iterator[str]:
    """The page's address where the sidecar itself serves an execution of these steps."""
    written = [
        {"id": step["id"], "type": step["type"], "dependsOn": step["dependencies"]}
        for step in steps
    ]
    document = {"metadata": {"name": "large"}, "pipeline": {"steps": written}}
    with (
        TemporaryDirectory() as folder,
        Journal.open(f"sqlite:///{folder}/state.db") as journal,
    ):
        execution = journal.reserve("run", "large", config_hash=HASH, document=document)
        names = [step["id"] for step in steps]
        journal.append(execution.pipeline_id, [initialization(execution.pipeline_id, *names)])
        with sidecar(journal.url, Path(folder)) as running:
            yield f"{running.url}#token={running.token}&execution={execution.pipeline_id}"


def main(count: int) -> None:
    steps = pipeline(count)
    edges = sum(len(step["dependencies"]) for step in steps)
    print(f"{count} steps, {edges} dependencies; load of the machine {os.getloadavg()[0]:.1f}")
    server = PageServer()
    execution = server.add(Execution(steps, start=time.time() - 60))
    with browsing() as browser:
        with on_the_sidecar(steps) as url:
            times = painted(browser, url)
        print(
            f"first paint of the graph, from the sidecar: median {statistics.median(times):.0f} ms,"
            f" worst {max(times):.0f} ms after the beginning of the navigation"
        )
        page = opened(browser, server.url())
        for title, zoomed in (("all in view", 0), ("a part, names readable", 9)):
            report(f"panning, {title}, quiet", measured(page, SECONDS, zoomed))
            run = Run(execution)
            run.start()
            report(f"panning, {title}, running", measured(page, SECONDS, zoomed))
            run.over.set()
            run.join()
    server.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
