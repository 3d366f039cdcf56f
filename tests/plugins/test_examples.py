"""The example plugins by their own tests, with the SDK alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import aethersdk

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NAMES = ("data-validator", "slack-notifier")
SDK = Path(aethersdk.__file__).parents[1]


@pytest.mark.parametrize("name", NAMES)
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


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.skipif(not (ROOT / "aether_dagster").is_dir(), reason="needs the source tree")
def test_they_are_packages_which_a_fresh_environment_installs(tmp_path):
    """From nothing to `aetherscript plugins list`; it downloads what the product needs."""

    def call(*words):
        done = subprocess.run(
            words, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call(sys.executable, "-m", "venv", "fresh")
    python = str(tmp_path / "fresh" / "bin" / "python")
    sources = [str(ROOT), *(str(EXAMPLES / name) for name in NAMES)]
    call(python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", "dist", *sources)
    wheels = sorted(str(path) for path in (tmp_path / "dist").iterdir())
    assert [Path(wheel).name.split("-")[:2] for wheel in wheels][1:] == [
        ["datavalidator", "1.4.0"],
        ["slacknotifier", "3.2.1"],
    ]
    call(python, "-m", "pip", "install", "-q", *wheels, "pytest")
    for name in NAMES:
        tests = tmp_path / name
        shutil.copytree(EXAMPLES / name / "tests", tests)
        assert "passed" in call(python, "-m", "pytest", "-q", str(tests))
    listed = json.loads(
        call(str(Path(python).with_name("aetherscript")), "plugins", "list", "--json")
    )
    assert [(each["name"], each["version"], each["from"]) for each in listed] == [
        ("DataValidator", "1.4.0", "installed"),
        ("SlackNotifier", "3.2.1", "installed"),
    ]
