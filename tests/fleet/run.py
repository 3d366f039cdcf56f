"""Runs jobs of the team's code location one after another, as a host's run process does.

`run.py [--config FILE] JOB…`; prints the run id of each job, as JSON by its name.
"""

import argparse
import json
import sys
from pathlib import Path

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    parser.add_argument("jobs", nargs="+")
    words = parser.parse_args()
    config = None if words.config is None else json.loads(words.config.read_text())
    location = ReconstructableRepository.for_module("team", "defs", str(Path.cwd()))
    with dg.DagsterInstance.get() as instance:
        for name in words.jobs:
            job = location.get_reconstructable_job(name)
            result = dg.execute_job(job, instance, run_config=config, raise_on_error=False)
            sys.stdout.write(json.dumps({name: result.run_id}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
