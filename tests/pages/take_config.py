"""Lets the job of a document take a run configuration.

`take_config.py DOCUMENT CONFIG.yaml`, in a process which has Dagster.
"""

import sys
from pathlib import Path

import dagster as dg
import yaml

from aether_dagster import build_defs

if __name__ == "__main__":
    document, config = map(Path, sys.argv[1:])
    job = build_defs(document).resolve_job_def("nightly")
    dg.validate_run_config(job, yaml.safe_load(config.read_text("utf-8")))
