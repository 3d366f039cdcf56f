import os
import time

import pytest

from aether_dagster.journal import Journal
from tests.journal.actor import FORKSERVER


def test_a_lease_has_one_holder(journal: Journal, execution: str) -> None:
    assert journal.lease(execution) is None
    assert journal.acquire(execution, "run", 60)
    assert not journal.acquire(execution, "sensor", 60)
    held = journal.lease(execution)
    assert held is not None
    assert held.holder == "run"
    assert held.expires == pytest.approx(time.time() + 60, abs=5)
    assert not journal.release(execution, "sensor")
    assert journal.release(execution, "run")
    assert journal.acquire(execution, "sensor", 60)


def test_a_lease_which_ran_out_is_free_and_still_says_whose_it_was(
    journal: Journal, execution: str
) -> None:
    assert journal.acquire(execution, "run", 0.05)
    assert not journal.acquire(execution, "sensor", 60)
    time.sleep(0.1)
    held = journal.lease(execution)
    assert held is not None
    assert (held.holder, held.expires <= time.time()) == ("run", True)
    assert journal.acquire(execution, "sensor", 60)
    assert not journal.renew(execution, "run", 60)


def test_its_holder_prolongs_it(journal: Journal, execution: str) -> None:
    assert journal.acquire(execution, "run", 0.2)
    assert journal.renew(execution, "run", 60)
    assert journal.acquire(execution, "run", 0.3)
    assert journal.renew(execution, "run", 60)
    time.sleep(0.4)
    assert not journal.acquire(execution, "sensor", 60)
    assert not journal.renew(execution, "sensor", 60)


def test_leases_of_other_names_and_executions_are_others(journal: Journal, execution: str) -> None:
    assert journal.acquire(execution, "run", 60)
    assert journal.acquire(execution, "hook", 60, name="hook:StateLogger")
    assert journal.release(execution, "hook", name="hook:StateLogger")
    held = journal.lease(execution)
    assert held is not None
    assert held.holder == "run"


def test_releasing_what_never_was_is_no_error(journal: Journal) -> None:
    assert not journal.release("pipeline_00000000", "me")


def test_a_lease_from_before_the_clock_began_anew_does_not_bind(
    journal: Journal, execution: str
) -> None:
    assert journal.acquire(execution, "run", 5)
    with journal._database.writing() as session:
        session.sql("UPDATE aether_leases SET expires = expires + 100000")
    held = journal.lease(execution)
    assert held is not None
    assert held.expires <= time.time()
    assert journal.acquire(execution, "sensor", 60)


def _take(url: str, execution: str, start: float, answers: object) -> None:
    with Journal.open(url) as journal:
        time.sleep(max(0, start - time.monotonic()))
        taken = journal.acquire(execution, str(os.getpid()), 60)
        answers.put(taken)  # type: ignore[attr-defined]


def test_of_several_processes_one_gets_it(
    journal_url: str, journal: Journal, execution: str
) -> None:
    answers = FORKSERVER.SimpleQueue()
    start = time.monotonic() + 0.5
    processes = [
        FORKSERVER.Process(target=_take, args=(journal_url, execution, start, answers))
        for _ in range(4)
    ]
    for process in processes:
        process.start()
    taken = [answers.get() for _ in processes]
    for process in processes:
        process.join()
    assert sorted(taken) == [False, False, False, True]
