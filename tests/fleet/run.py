"""Runs jobs of the team's code location one after another, as a host's run process does."""

import json
import sys
from pathlib import Path

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository


def main() -> None:
    """Prints the run id of each job in `sys.argv`, as JSON by its name."""
    location = ReconstructableRepository.for_module("team", "defs", str(Path.cwd()))
    with dg.DagsterInstance.get() as instance:
        for name in sys.argv[1:]:
            job = location.get_reconstructable_job(name)
            result = dg.execute_job(job, instance, raise_on_error=False)
            sys.stdout.write(json.dumps({name: result.run_id}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
