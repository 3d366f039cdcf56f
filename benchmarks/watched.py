"""One run, watched side by side: by the sidecar, and by Dagster's own GraphQL subscription.

    python benchmarks/watched.py                   40 steps of half a second, embedded instance

The run, the sidecar, `dagster-webserver` and this client are processes of their own. The sidecar's
latency is from the commit of a version to the arrival of its frame; Dagster's from the timestamp of
a step's event to its arrival.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from aether_dagster.journal import Journal
from tests.fleet.watchers import SidecarWatch, percentiles, watch_logs

_RUNS = "{ runsOrError(limit: 1) { ... on Runs { results { runId } } } }"
# How long Dagster's subscription may take to tell of the last events, in seconds: its polling
# backs off up to 16.
_LAGGARDS = 20


def document(steps: int) -> str:
    """A chain whose steps do nothing for half a second each."""
    lines = ['version: "2.1"', "metadata: {name: watched}", "pipeline:", "  steps:"]
    for number in range(steps):
        after = f", dependsOn: [s{number - 1:03}]" if number else ""
        lines.append(f"    - {{id: s{number:03}, type: core/sleep, args: {{seconds: 0.5}}{after}}}")
    return "\n".join(lines) + "\n"


@contextmanager
def command(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A command of ours, which is ended at the end."""
    environ = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    with subprocess.Popen(
        [sys.executable, "-m", "aether_dagster.cli", *words],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def address(process: subprocess.Popen[str]) -> str:
    """The address which a server prints."""
    assert process.stdout is not None
    for line in process.stdout:
        for word in line.split():
            if word.startswith("http://"):
                return word
    raise SystemExit("The server printed no address.")


def graphql(url: str, query: str) -> Any:
    """Asks the webserver; None while it does not answer."""
    request = urllib.request.Request(
        f"{url.rstrip('/')}/graphql",
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json"},
    )
    with suppress(OSError), urllib.request.urlopen(request) as answer:
        return json.load(answer)["data"]
    return None


async def watch(
    folder: Path, ui: str, sidecar: str, token: str
) -> tuple[SidecarWatch, list[float]]:
    """Runs the pipeline while both watch it."""
    ours, theirs = SidecarWatch(sidecar, token), list[float]()
    following = asyncio.create_task(ours.follow())
    words = [sys.executable, "-m", "aether_dagster.cli", "run", "--quiet"]
    run = await asyncio.create_subprocess_exec(*words, cwd=folder)
    found: list[Any] = []
    while not found:
        await asyncio.sleep(0.1)
        answer = await asyncio.to_thread(graphql, ui, _RUNS)
        found = answer["runsOrError"]["results"] if answer else []
    port = int(ui.rstrip("/").rpartition(":")[2])
    logs = asyncio.create_task(watch_logs(port, found[0]["runId"], theirs))
    await run.wait()
    await asyncio.sleep(_LAGGARDS)
    for task in (following, logs):
        task.cancel()
    await asyncio.gather(following, logs, return_exceptions=True)
    return ours, theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "watched.aether.yaml").write_text(document(given.steps))
        ui = address(stack.enter_context(command(folder, "ui", "--port", str(free_port()))))
        journal_file = str(folder / ".aether" / "aether_journal.db")
        Journal.open(journal_file).close()  # which the first run would make
        token = folder / "token"
        served = stack.enter_context(
            command(folder, "sidecar", "--port", "0", "--token", str(token))
        )
        url = address(served).partition("#")[0]
        ours, theirs = asyncio.run(watch(folder, ui, url, token.read_text().strip()))
        ((execution, seen),) = ours.executions.items()
        with Journal.open(journal_file, read_only=True) as journal:
            rows = [
                ("sidecar: commit to frame", seen.latencies(journal.versions(execution))),
                ("GraphQL subscription: event to arrival", theirs),
            ]
    print("| watched through | samples | p50 | p99 | p99.9 | worst |\n|---|---|---|---|---|---|")
    for title, seconds in rows:
        told = " | ".join(f"{value:.0f}" for value in percentiles(seconds).values())
        print(f"| {title} | {len(seconds)} | {told} |")


if __name__ == "__main__":
    main()
