"""Runs whose state is sealed, as a user starts them: in processes of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import aether_dagster
from aether_dagster.crypto import KeyRing
from aether_dagster.journal import Journal
from aether_dagster.orchestration.instance import embedded_instance
from aether_dagster.snapshot import read_execution
from aether_dagster.state.document import canonical_bytes
from tests import audit

KEY = audit.KEY
RING = KeyRing([KEY])
PACKAGES = str(Path(aether_dagster.__file__).parents[1])
COMMAND = (sys.executable, "-m", "aether_dagster.cli")
MARK = "nobody-else-may-read-this"
TOGETHER = 3
CODE = """
import os, pathlib, time
def meet(n):
    folder = pathlib.Path("meeting"); folder.mkdir(exist_ok=True)
    (folder / str(n)).touch()
    until = time.monotonic() + 30
    while len(list(folder.iterdir())) < 3 and time.monotonic() < until: time.sleep(0.005)
    return "nobody-else-" + "may-read-this " + str(n)
def give(_):
    return "nobody-else-" + "may-read-this"
def fail(_):
    raise ValueError("nobody-else-" + "may-read-this")
def look(key_id):
    told = [p.read_bytes() for p in pathlib.Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    secret = os.environ["THE_KEY"].encode()
    return any(secret in words for words in told)
def wait(_):
    pathlib.Path("waiting").touch()
    time.sleep(60)
"""
DOCUMENT = """
version: "2.1"
metadata: {name: sealed}
pipeline:
  steps:
    - id: shell
      type: shell/run
      args: {command: "env | grep -c AETHERSCRIPT_STATE_KEY || true", output: text}
    - {id: argv, type: python/call, args: {callable: "jobs:look", key_id: 1}}
    - id: bad
      type: python/call
      args: {callable: "jobs:fail", _: 1}
      retries: 1
      retry: {delay: 0}
    - {id: give, type: python/call, args: {callable: "jobs:give", _: 1}}
"""
MEETING = """
version: "2.1"
metadata: {name: meeting}
pipeline:
  steps:
"""
MEETING += "".join(
    f"    - {{id: n{n}, type: python/call, args: {{callable: 'jobs:meet', n: {n}}}}}\n"
    for n in range(TOGETHER)
)
ONE_STEP = """
version: "2.1"
metadata: {name: %s}
pipeline:
  steps:
    - {id: first, type: core/echo, args: {message: one}}
    - {id: second, type: %s, dependsOn: [first]}
    - {id: third, type: core/echo, args: {message: three}, dependsOn: [second]}
"""


def environment(**more: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AETHERSCRIPT_", "DAGSTER_"))
    }
    return {**kept, "PYTHONPATH": PACKAGES, **more}


def call(
    place: Path, *words: str, prefix: tuple[str, ...] = (), **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, *COMMAND, *words],
        cwd=place,
        env=environment(**environ),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def everything(place: Path) -> Mapping[Path, bytes]:
    return {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a sealed run has left all that it leaves."""
    return run(tmp_path_factory.mktemp("sealed"), DOCUMENT, status=1)


def run(place: Path, document: str, *words: str, status: int = 0) -> Path:
    (place / "jobs.py").write_text(CODE)
    (place / "p.aether.yaml").write_text(document)
    words = ("run", *words, "--state-history", "executions", "--quiet")
    done = call(place, *words, "--state-encryption-key", "env:THE_KEY", THE_KEY=KEY.text())
    assert done.returncode == status, done.stderr
    return place


def verified(place: Path, *words: str, status: int = 0, **environ: str) -> list[dict[str, Any]]:
    done = call(place, "history", "verify", "--json", *words, **environ)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_nodes_which_end_together_in_several_processes_make_one_chain(tmp_path: Path) -> None:
    ran = run(tmp_path, MEETING, "--workers", str(TOGETHER))
    (result,) = verified(ran, AETHERSCRIPT_STATE_KEY=KEY.text())
    assert result["verdict"] == "whole"
    assert result["sealed"]
    assert result["journal"]
    with Journal.open(ran / ".aether/aether_journal.db") as journal:
        (record,) = journal.executions()
        links = journal.history_files(record.pipeline_id)
    assert [link.seq for link in links] == list(range(len(links)))
    assert len(links) == 2 + 2 * TOGETHER
    with embedded_instance(ran) as instance:
        (recorded,) = instance.get_runs()
        assert recorded.tags["aether/meeting.history_head"] == links[-1].link
    (folder,) = (ran / "executions").iterdir()
    assert set(read_execution(str(folder), RING).finals) == {f"n{n}" for n in range(TOGETHER)}


def test_the_final_state_is_the_fold_of_the_versions(ran: Path) -> None:
    (folder,) = (ran / "executions").iterdir()
    final = dict(read_execution(str(folder), RING).final or {})
    final.pop("report")
    with Journal.open(ran / ".aether/aether_journal.db", keys=RING) as journal:
        state = journal.state(final["pipeline"]["id"])
    assert canonical_bytes(state) == canonical_bytes(final)
    outputs = {name: node["output_payload"] for name, node in final["nodes"].items()}
    assert outputs["give"] == MARK
    assert MARK in final["nodes"]["bad"]["error"]["message"]


def test_no_payload_is_anywhere_in_the_clear(ran: Path) -> None:
    found = [path for path, data in everything(ran).items() if MARK.encode() in data]
    assert not found


def test_the_key_is_in_no_file_no_argument_list_and_no_command_of_a_step(ran: Path) -> None:
    for path, data in everything(ran).items():
        assert KEY.text().encode() not in data, path
        assert KEY.secret not in data, path
    (folder,) = (ran / "executions").iterdir()
    finals = read_execution(str(folder), RING).finals
    assert finals["argv"]["output_payload"] is False
    assert finals["shell"]["output_payload"].strip() == "0"


def test_a_folder_and_a_journal_which_were_rolled_back_together_are_found(
    ran: Path, tmp_path: Path
) -> None:
    place = tmp_path / "copy"
    shutil.copytree(ran, place)
    (folder,) = (place / "executions").iterdir()
    with Journal.open(place / ".aether/aether_journal.db") as journal:
        (record,) = journal.executions()
        links = journal.history_files(record.pipeline_id)
        with journal._database.writing() as session:
            session.sql(f"DELETE FROM aether_history_files WHERE seq >= {len(links) - 1}")
    (folder / links[-1].name).unlink()
    key = {"AETHERSCRIPT_STATE_KEY": KEY.text()}
    (result,) = verified(place, status=8, **key)
    assert any("Dagster run names another head" in f["message"] for f in result["findings"])


def test_a_killed_run_is_recovered_with_the_key_into_one_whole_chain(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").write_text(CODE)
    step = 'python/call, args: {callable: "jobs:wait", _: 1}'
    (tmp_path / "p.aether.yaml").write_text(ONE_STEP % ("killed", step))
    key = {"AETHERSCRIPT_STATE_KEY": KEY.text()}
    process = subprocess.Popen(
        [*COMMAND, "run", "--state-history", "executions", "--quiet"],
        cwd=tmp_path,
        env=environment(**key),
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "waiting").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    verified(tmp_path, "--no-dagster", status=4, **key)
    # What was recorded and not written when it was killed is issued again.
    (folder,) = (tmp_path / "executions").iterdir()
    with Journal.open(tmp_path / ".aether/aether_journal.db") as journal:
        (record,) = journal.executions()
        last = journal.history_files(record.pipeline_id)[-1]
    (folder / last.name).unlink()
    without = call(tmp_path, "recover")
    assert without.returncode == 1
    assert "no key was given" in without.stdout
    done = call(tmp_path, "recover", **key)
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = verified(tmp_path, **key)
    assert result["verdict"] == "whole"
    final = read_execution(str(folder), RING).final or {}
    assert final["nodes"]["second"]["error"]["type"] == "WorkerLost"


_MAY_MOUNT = (
    subprocess.run(
        ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"],
        check=False,
        capture_output=True,
    ).returncode
    == 0
    if shutil.which("unshare")
    else False
)


@pytest.mark.skipif(not _MAY_MOUNT, reason="a small disk needs a mount namespace")
@pytest.mark.parametrize(
    ("disk", "said", "required"),
    [
        ("full", "disk is full", False),
        ("read-only", "file system is read-only", True),
        pytest.param("full", "disk is full", True, marks=pytest.mark.soak),
        pytest.param("read-only", "file system is read-only", False, marks=pytest.mark.soak),
    ],
)
def test_a_disk_which_fails_in_the_middle_fails_the_history_and_leaves_nothing_half_written(
    tmp_path: Path, disk: str, said: str, required: bool
) -> None:
    history = tmp_path / "executions"
    history.mkdir()
    filling = f"cat /dev/zero > {history}/filler || true"
    breaking = filling if disk == "full" else f"mount -o remount,ro {history}"
    step = f'shell/run, args: {{command: "{breaking}"}}'
    (tmp_path / "p.aether.yaml").write_text(ONE_STEP % ("disk", step))
    # What is on the small disk is looked at from inside, where it is mounted.
    script = (
        f"mount -t tmpfs -o size=256k none {history} && "
        f"{' '.join(COMMAND)} run --state-history executions --json $FLAG > out.jsonl; "
        f"echo $? > status; mkdir left; cp -r {history}/2* left/; ls -A {history} > names"
    )
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script],
        cwd=tmp_path,
        env=environment(
            AETHERSCRIPT_STATE_KEY=KEY.text(), FLAG="--state-history-required" if required else ""
        ),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (tmp_path / "status").read_text().strip() == ("3" if required else "0"), done.stderr
    assert said in done.stderr
    names = (tmp_path / "names").read_text().split()
    assert not [name for name in names if name.endswith(".tmp")]
    (folder,) = (tmp_path / "left").iterdir()
    left = read_execution(str(folder), RING)
    assert left.init is not None
    assert left.final is None
    with Journal.open(tmp_path / ".aether/aether_journal.db", keys=RING) as journal:
        (record,) = journal.executions()
        report = journal.replica(record.pipeline_id).report or {}
    assert said in report["history_error"]
    assert report["nodes"]["succeeded"] == (3 if not required else report["nodes"]["succeeded"])
