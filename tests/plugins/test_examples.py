"""The example plugins by their own tests, with the SDK alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import aethersdk

EXAMPLES = Path(__file__).parents[2] / "examples"
SDK = Path(aethersdk.__file__).parents[1]


@pytest.mark.parametrize("name", ["data-validator", "slack-notifier"])
def test_the_tests_of_an_example_pass(name, tmp_path):
    folder = EXAMPLES / name
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    path = os.pathsep.join([str(folder / "src"), str(SDK)])
    options = ["-q", "-c", os.devnull, "--rootdir", str(tmp_path), "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", *options, str(folder / "tests")],
        env={**kept, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
