"""The example, run as the README says: what it leaves, and what it does when something is wrong."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import pytest

import aether_dagster
from tests.example.printed import masked
from tests.schemas import errors

ROOT = Path(__file__).parents[2]
EXAMPLE = "definitions/pipelines/earthquakes"
WAREHOUSE = f"{EXAMPLE}/output/warehouse.duckdb"
HISTORY = "--state-history=./executions/"
EVENTS = 1605  # of the feed's 1,707 pass every rule


@dataclass(frozen=True)
class Run:
    """An execution which has ended."""

    status: int
    printed: str
    folder: Path

    @property
    def final(self):
        return json.loads((self.folder / "state_final.json").read_text())

    def file(self, node_id, part):
        return json.loads((self.folder / f"state_node_{node_id}_{part}.json").read_text())


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What a clone holds besides the product, so that nothing is left in this one."""
    clone = tmp_path_factory.mktemp("clone")
    shutil.copy(ROOT / "pyproject.toml", clone)
    for name in ("definitions", "hooks", "resources"):
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "output")
            shutil.copytree(ROOT / name, clone / name, ignore=ignore)
    return clone


def aetherscript(clone, *arguments):
    package = str(Path(aether_dagster.__file__).parents[1])
    environ = {name: text for name, text in os.environ.items() if name != "DAGSTER_HOME"}
    before = set((clone / "executions").glob("*"))
    ended = subprocess.run(
        [sys.executable, "-m", "aether_dagster.cli", *arguments],
        cwd=clone,
        env=environ | {"PYTHONPATH": package},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    (folder,) = set((clone / "executions").glob("*")) - before
    return Run(ended.returncode, ended.stdout + ended.stderr, folder)


@pytest.fixture(scope="module")
def run(clone):
    """The README's first command, from where it calls us."""
    readme = (ROOT / "README.md").read_text("utf-8")
    (command,) = re.findall(r"^.*\.venv/bin/aetherscript (run .*)$", readme, re.MULTILINE)
    return aetherscript(clone, *shlex.split(command))


def test_the_readmes_command_succeeds(run):
    assert run.status == 0, run.printed
    assert run.final["report"]["status"] == "succeeded"
    assert str(run.folder.name) in run.printed


def test_it_prints_what_the_readme_shows(run, clone):
    readme = (ROOT / "README.md").read_text("utf-8")
    (shown,) = re.findall(r"^```text\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    lines = [line for line in masked(shown, "/home/you/aether-dagster") if line != "…"]
    printed = masked(run.printed, str(clone))
    assert [line for line in printed if line in lines] == lines


def test_the_download_fails_once_and_is_retried(run):
    extract = run.final["nodes"]["extract"]
    assert (extract["status"], extract["retry_count"], extract["error"]) == ("succeeded", 1, None)
    assert run.final["report"]["retries"] == 1

    first = run.file(extract["node_id"], "attempt1")
    assert (first["status"], first["error"]["type"]) == ("retrying", "ConnectionResetError")
    assert "200,000 of 257,352 bytes" in first["error"]["message"]
    assert "in download" in first["error"]["traceback"]
    assert run.file(extract["node_id"], "attempt2")["status"] == "succeeded"


def test_the_history_holds_exactly_the_files_which_the_specification_names(run):
    expected = {"state_init.json", "state_final.json"}
    for node in run.final["nodes"].values():
        attempts = range(1, node["retry_count"] + 2)
        expected |= {f"state_node_{node['node_id']}_attempt{n}.json" for n in attempts}
        expected.add(f"state_node_{node['node_id']}_final.json")
    assert {path.name for path in run.folder.iterdir()} == expected
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d{6}_pipeline_[0-9A-HJKMNP-TV-Z]{8}", run.folder.name)


def test_every_file_of_the_history_fits_its_schema(run):
    kinds = {"state_init.json": "state", "state_final.json": "final"}
    for path in run.folder.iterdir():
        assert errors(kinds.get(path.name, "node"), json.loads(path.read_text())) == []


def test_tables_between_steps_are_parquet_beside_the_journal(run):
    kept = run.final["nodes"]["validate"]["output_payload"]
    assert kept["media_type"].startswith("application/vnd.apache.parquet")
    table = pl.read_parquet(kept["$artifact"].removeprefix("file://"))
    assert table.height == EVENTS
    assert table["time"].dtype == pl.Datetime("us", "UTC")


def test_the_warehouse_and_the_page_show_the_week(run, clone):
    with duckdb.connect(clone / WAREHOUSE, read_only=True) as db:
        assert db.execute("select count(*), max(magnitude) from earthquakes").fetchone() == (
            EVENTS,
            6.4,
        )
    artifacts = run.final["context"]["artifacts"]
    assert sorted(artifacts) == ["quarantine", "raw_feed", "report"]
    page = Path(artifacts["report"])
    assert "1,605 earthquakes, the strongest of magnitude 6.4" in page.read_text("utf-8")
    names = sorted(path.name for path in page.parent.iterdir())
    assert names == ["all_week.csv", "quarantine.csv", "report.html", "report.tar.gz"]


def test_a_second_run_adds_no_rows_and_needs_no_retry_of_a_connection_which_holds(run, clone):
    again = aetherscript(clone, "run", EXAMPLE, HISTORY, "--var", "CONNECTION_LIMIT=0")
    assert again.status == 0, again.printed
    assert again.final["report"]["retries"] == 0
    with duckdb.connect(clone / WAREHOUSE, read_only=True) as db:
        assert db.execute("select count(*) from earthquakes").fetchone() == (EVENTS,)


def test_a_bad_feed_stops_before_the_warehouse_and_says_why(clone):
    variables = ["--var", "MAX_REFUSED=0.01", "--var", "OUTPUT=output/strict"]
    failed = aetherscript(clone, "run", EXAMPLE, HISTORY, *variables)
    assert failed.status == 1
    nodes = failed.final["nodes"]
    assert nodes["validate"]["error"]["type"] == "TooManyRefused"
    assert "6.0% of 1707 events failed a rule" in failed.printed
    assert nodes["quarantine"]["status"] == "succeeded"
    assert (nodes["load"]["status"], nodes["load"]["error"]["type"]) == (
        "pending",
        "UpstreamFailed",
    )
    assert failed.final["report"]["failed"] == ["validate"]


VOLATILE = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]+Z"  # when it ran
    r"|file://[^\"]*"  # where values lie, by execution
    r"|[0-9a-f]{64}"  # digests of what holds an id
)
TIMES = ("execution_time", "start_timestamp", "end_timestamp", "duration")


def without_ids_and_times(final):
    """The text of a final state, with what differs between two runs of one pipeline masked."""
    text = json.dumps(final, indent=1)
    for name, node in final["nodes"].items():
        text = text.replace(node["node_id"], name)
    text = VOLATILE.sub("<volatile>", text.replace(final["pipeline"]["id"], "<id>"))
    return re.sub(rf'"({"|".join(TIMES)}|bytes)": [\d.e+-]+', r'"\1": 0', text)


def test_a_run_launched_by_dg_gives_the_same_state_but_for_ids_and_times(run, clone, tmp_path):
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    before = set((clone / "executions").glob("*"))
    launched = subprocess.run(
        [Path(sys.executable).parent / "dg", "launch", "--job", "earthquakes"],
        cwd=clone,
        env=os.environ
        | {
            "DAGSTER_HOME": str(tmp_path),
            "AETHERSCRIPT_STATE_HISTORY": str(clone / "executions"),
            "PYTHONPATH": str(Path(aether_dagster.__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert launched.returncode == 0, launched.stdout + launched.stderr
    (folder,) = set((clone / "executions").glob("*")) - before
    theirs = json.loads((folder / "state_final.json").read_text())
    ours = without_ids_and_times(run.final)
    assert without_ids_and_times(theirs) == ours
    assert "<volatile>" in ours
