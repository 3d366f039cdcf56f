"""Runs a command, and prints how long its newest run's steps took, from the first to the last.

    python -m benchmarks.span aetherscript run …

The folder's own Dagster instance is read: the first step's start to the last one's end, by its log.
"""

import json
import subprocess
import sys
from pathlib import Path

from dagster import DagsterEventType

from aether_dagster.orchestration.instance import embedded_instance


def main() -> None:
    subprocess.run(sys.argv[1:], check=True)
    with embedded_instance(Path.cwd()) as instance:
        run = instance.get_runs(limit=1)[0].run_id
        began = instance.all_logs(run, of_type=DagsterEventType.STEP_START)
        ended = instance.all_logs(run, of_type=DagsterEventType.STEP_SUCCESS)
    span = max(event.timestamp for event in ended) - min(event.timestamp for event in began)
    print(json.dumps({"steps": span}))


if __name__ == "__main__":
    main()
