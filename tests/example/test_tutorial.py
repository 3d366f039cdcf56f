"""The tutorial, done as it says: what it shows is what happens."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import aether_dagster
from tests.example.printed import masked

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text("utf-8")


def shown(language, containing):
    """The block of the page in which a text stands."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if containing in block]
    return block


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("tutorial")


@pytest.fixture(scope="module")
def aetherscript(place):
    def run(*arguments):
        package = str(Path(aether_dagster.__file__).parents[1])
        environ = {name: text for name, text in os.environ.items() if name != "DAGSTER_HOME"}
        folder = place / "sales"
        return subprocess.run(
            [sys.executable, "-m", "aether_dagster.cli", *arguments],
            cwd=folder if folder.exists() else place,
            env=environ | {"PYTHONPATH": package},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert run("init", "sales").returncode == 0
    return run


@pytest.fixture(scope="module")
def failing(aetherscript, place):
    """The project after step 4, whose first attempt fails."""
    jobs = place / "sales" / "starter_jobs.py"
    block = shown("python", "did not answer")
    head = "".join(block.splitlines(keepends=True)[:2])
    assert head in jobs.read_text("utf-8")
    jobs.write_text(jobs.read_text("utf-8").replace(head, block), "utf-8")
    return aetherscript("run", "--state-history=./executions/")


def test_the_pipeline_is_the_one_which_init_makes(aetherscript, place):
    assert shown("yaml", "read_orders") in (place / "sales/starter.aether.yaml").read_text("utf-8")
    assert masked(aetherscript("plan").stdout) == masked(shown("text", "TYPE"))


def test_a_mistake_is_told_as_shown(aetherscript, place):
    document = place / "sales" / "starter.aether.yaml"
    text = document.read_text("utf-8")
    document.write_text(text.replace("retries: 2", "retires: 2"), "utf-8")
    told = aetherscript("validate")
    document.write_text(text, "utf-8")
    assert told.returncode == 2
    assert masked(told.stderr) == masked(shown("text", "retires"))
    assert aetherscript("validate").returncode == 0


def test_the_run_fails_and_retries_as_shown(failing, place):
    assert failing.returncode == 0
    assert masked(failing.stdout, str(place / "sales")) == masked(shown("text", "started"))


def test_the_files_are_those_shown(failing, place):
    (folder,) = (place / "sales" / "executions").iterdir()
    names = "\n".join(sorted(path.name for path in folder.iterdir()))
    assert masked(names) == masked(shown("text", "state_init.json"))
    (attempt,) = folder.glob("*_read_orders_*_attempt1.json")
    told, expected = json.loads(attempt.read_text()), json.loads(shown("json", "node_id"))
    assert told["error"].pop("traceback").replace(str(place), "/home/you") == expected["error"].pop(
        "traceback"
    )
    for volatile in ("node_id", "execution_time"):
        del told[volatile], expected[volatile]
    assert told == expected


def test_a_missing_file_fails_for_good_as_shown(failing, aetherscript, place):
    told = aetherscript("run", "--state-history=./executions/", "--var", "ORDERS=missing.csv")
    assert told.returncode == 1
    lines = masked(told.stdout, str(place / "sales"))
    before, after = shown("text", "Not run").split("    …\n")
    assert set(masked(before)) <= set(lines)
    assert lines[-len(masked(after)) :] == masked(after)
