"""What proves that the process which keeps an execution is dead, and what does not (spec 1.3)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from aether_dagster.journal import ExecutionRecord, Journal
from aether_dagster.manager.identity import own_identity
from aether_dagster.orchestration.keeper import Keeper, find_keeper, has_ended, reconciler
from tests.journal.builders import initialization
from tests.journals import journal_url

STARTED, FAILED = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.FAILURE


@dg.job
def nothing() -> None:
    pass


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


class Case:
    """An execution of a run, kept by whom a test says."""

    def __init__(self, instance: dg.DagsterInstance, journal: Journal, status: Any):
        self.instance, self.journal = instance, journal
        self.run = None
        run_id = "a run of another instance"
        if status is not None:
            self.run = instance.create_run_for_job(nothing, status=status)
            run_id = self.run.run_id
        self.record: ExecutionRecord = journal.reserve(run_id, "tiny", config_hash="h", document={})
        journal.append(self.record.pipeline_id, [initialization(self.record.pipeline_id, "a")])

    def held(self, holder: str, *, expired: bool = False) -> Keeper:
        seconds = 0.0 if expired else 30.0
        assert self.journal.acquire(self.record.pipeline_id, holder, seconds)
        return self.found()

    def found(self) -> Keeper:
        return find_keeper(self.instance, self.journal, self.record, self.run)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(journal_url(tmp_path, "state.db")) as journal:
        yield journal


def somebody(**members: Any) -> str:
    return json.dumps({**json.loads(own_identity()), **members})


ELSEWHERE = somebody(host="elsewhere")
BEFORE_REBOOT = somebody(boot="another boot")
GONE = somebody(start=0.0)


@pytest.mark.parametrize(
    ("status", "holder", "expired", "lives"),
    [
        pytest.param(STARTED, own_identity(), False, True, id="lives"),
        pytest.param(STARTED, own_identity(), True, True, id="lives, and was stopped"),
        pytest.param(FAILED, own_identity(), False, True, id="is finalizing"),
        pytest.param(FAILED, own_identity(), True, False, id="never finalized, the run ended"),
        pytest.param(STARTED, GONE, False, False, id="gone"),
        pytest.param(STARTED, GONE, True, False, id="gone for long"),
        pytest.param(STARTED, BEFORE_REBOOT, False, False, id="the machine was restarted"),
        pytest.param(STARTED, ELSEWHERE, False, True, id="elsewhere, heard of just now"),
        pytest.param(STARTED, ELSEWHERE, True, None, id="elsewhere and silent"),
        pytest.param(FAILED, ELSEWHERE, True, False, id="elsewhere, the run ended"),
        pytest.param(STARTED, "who knows", True, None, id="unreadable"),
        pytest.param(None, GONE, True, None, id="a run of another instance"),
        pytest.param(None, own_identity(), False, True, id="of another instance, lives"),
    ],
)
def test_only_proof_of_death_is_taken(
    status: Any,
    holder: str,
    expired: bool,
    lives: bool | None,
    instance: dg.DagsterInstance,
    journal: Journal,
) -> None:
    keeper = Case(instance, journal, status).held(holder, expired=expired)
    assert keeper.lives is lives, keeper.reason
    assert ("--force" in keeper.reason) == (lives is None)


@pytest.mark.parametrize(("status", "lives"), [(STARTED, None), (FAILED, False), (None, None)])
def test_what_nobody_keeps_hangs_on_the_run(
    status: Any, lives: bool | None, instance: dg.DagsterInstance, journal: Journal
) -> None:
    keeper = Case(instance, journal, status).found()
    assert keeper.lease is None
    assert keeper.lives is lives


def test_a_reconciliation_which_stopped_is_taken_over_when_its_lease_ends(
    instance: dg.DagsterInstance, journal: Journal
) -> None:
    case = Case(instance, journal, STARTED)
    assert case.held(reconciler()).lives is True
    assert case.held(reconciler(), expired=True).lives is False


def test_a_run_which_the_daemon_will_resume_is_not_dead(
    instance: dg.DagsterInstance, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Dagster's launchers for clusters can; the one for tests cannot.
    monkeypatch.setattr(instance, "run_will_resume", lambda _: True)
    assert Case(instance, journal, STARTED).held(GONE).lives is True
    assert Case(instance, journal, FAILED).held(GONE).lives is False


def test_a_reason_names_the_process_and_how_long_to_wait(
    instance: dg.DagsterInstance, journal: Journal
) -> None:
    keeper = Case(instance, journal, STARTED).held(ELSEWHERE)
    pid = json.loads(ELSEWHERE)["pid"]
    assert keeper.reason.startswith(f"Process {pid} on elsewhere keeps it")
    assert "try again in 30 s" in keeper.reason or "try again in 29 s" in keeper.reason


def test_a_run_without_a_record_has_not_ended() -> None:
    assert not has_ended(None)
