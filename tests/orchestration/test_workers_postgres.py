"""Warm workers in an instance, and a journal, which PostgreSQL keeps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs import place

pytestmark = pytest.mark.postgres

STEPS = """
    - {id: first, type: core/echo, args: {message: "one"}}
    - {id: again, type: python/call, args: {callable: "jobs:die_once", marker: m}, retries: 1}
    - {id: last, type: core/echo, args: {message: "${steps.again.output}"}, dependsOn: [first]}
"""
INSTANCE = """
telemetry: {{enabled: false}}
storage:
  postgres:
    postgres_url: {url}
"""


@pytest.mark.timeout(240)
def test_workers_keep_state_and_log_in_postgresql(tmp_path: Path, postgres_url: str) -> None:
    directory = place(tmp_path / "place", steps=STEPS)
    home = tmp_path / "home"
    home.mkdir()
    url = postgres_url.replace("postgresql+psycopg:", "postgresql+psycopg2:")
    (home / "dagster.yaml").write_text(INSTANCE.format(url=json.dumps(url)))
    command = Path(sys.executable).with_name("aetherscript")
    ran = subprocess.run(
        [str(command), "run", "steps.aether.yaml", "--workers", "2", "--json"],
        cwd=directory,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("AETHERSCRIPT_")},
            "DAGSTER_HOME": str(home),
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert '"WorkerLost"' in ran.stdout
    assert not list(home.rglob("*.db"))
    assert not list(directory.rglob("*.db"))
