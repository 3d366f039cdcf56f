"""State hooks in whole runs, each a process of its own: what hooks do, and what becomes of it."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from aether_dagster.journal import Journal
from aether_dagster.journal.outbox import HookCallRecord
from tests.journals import journal_url
from tests.orchestration.scenarios import Place, Places

HOOKS = Path(__file__).with_name("hook_cases.py")
STEPS = """
    - {id: one, type: core/echo, args: {message: hello}}
    - {id: two, type: core/echo, args: {message: "${steps.one.output}"}}
"""
EVENTS = ("pre_state_initialize", "pre_state_mutation", "post_node_execute", "post_state_finalize")
BEHAVIOURS = ("returns", "amends", "amends wrongly", "vetoes", "raises", "hangs", "exits")
NAMES = ("First", "Middle", "Last")
MATRIX = list(product(EVENTS, BEHAVIOURS, NAMES))


@dataclass
class Ran:
    """What one case left."""

    directory: Path
    status: str
    document: dict[str, Any]
    calls: list[HookCallRecord]
    met: list[str]
    log: str

    def outcomes(self, hook: str, event: str) -> list[str | None]:
        found = [c for c in self.calls if c.hook.endswith(f".{hook}") and c.event == event]
        if event == "pre_state_mutation":
            # Of many mutations the output of the first step is what the case is about.
            told = sum(c.startswith(f"{hook} {event}") for c in self.met)
            found = [c for c in found if c.node == "one"][1 : 1 + told]
        if event == "post_node_execute":
            found = [c for c in found if c.node == "one"]
        return [call.outcome for call in found]


def prepare(places: Places, files: dict[str, str], steps: str = STEPS, more: str = "") -> Place:
    """Makes a directory with a document and files in `plugins/` beside it."""
    place = places(steps, more)
    (place.directory / "plugins").mkdir()
    for file, content in files.items():
        (place.directory / "plugins" / file).write_text(content)
    return place


def run(place: Place, action: str = "run", **order: Any) -> str:
    """Does something there in a process of its own, to its end; returns what it printed."""
    child = place.start(action, **order)
    assert child.ended(90), child.log.read_text()
    return child.log.read_text()


def look(directory: Path, log: str = "") -> Ran:
    """What the only execution left, and what the hooks of `hook_cases.py` met."""
    with Journal.open(journal_url(directory)) as journal:
        (record,) = journal.executions()
        met = directory / "met.txt"
        return Ran(
            directory,
            record.status,
            journal.state(record.pipeline_id),
            journal.outbox.calls(record.pipeline_id),
            met.read_text().splitlines() if met.exists() else [],
            log,
        )


@pytest.fixture(scope="module")
def cases(places: Places) -> Iterator[dict[tuple[str, str, str], "Future[Ran]"]]:
    """Every case of the matrix, run beside each other."""

    def one(event: str, behaviour: str, hook: str) -> Ran:
        case = json.dumps({"event": event, "behaviour": behaviour, "hook": hook})
        files = {"hook_cases.py": HOOKS.read_text(), "case.json": case}
        place = prepare(places, files)
        log = run(place)
        ran = look(place.directory, log)
        if behaviour == "exits":
            run(place, "recover")
            if event.startswith("post_"):
                ran.calls = look(place.directory).calls
            with Journal.open(journal_url(place.directory)) as journal:
                records = journal.executions()
                ran.status = records[0].status if records else "removed"
        return ran

    with ThreadPoolExecutor(4) as pool:
        yield {case: pool.submit(one, *case) for case in MATRIX}


RUN_OUTCOMES = {
    ("pre_state_initialize", "vetoes"): ("refused",),
    # It never began, so that nothing of it is kept once it is recovered.
    ("pre_state_initialize", "exits"): ("removed",),
    ("pre_state_mutation", "vetoes"): ("failed",),
    ("pre_state_mutation", "exits"): ("failed",),
    # The run goes on beside the delivery; it is killed with it, maybe after its last step.
    ("post_node_execute", "exits"): ("failed", "succeeded"),
}
LEDGER = {
    "returns": "returned",
    "amends": "amended",
    "amends wrongly": "invalid",
    "vetoes": "vetoed",
    "raises": "raised",
    "hangs": "timed out",
    "exits": None,
}
OBSERVERS = {
    "returns": ["returned"],
    "amends": ["amendment ignored"],
    "amends wrongly": ["amendment ignored"],
    "vetoes": ["veto ignored"],
    "raises": ["raised"] * 4 + ["dead"],
    "hangs": ["timed out"] * 4 + ["dead"],
}


@pytest.mark.parametrize(("event", "behaviour", "hook"), MATRIX)
def test_whatever_a_hook_does(
    cases: dict[tuple[str, str, str], "Future[Ran]"], event: str, behaviour: str, hook: str
) -> None:
    ran = cases[event, behaviour, hook].result()
    others = [name for name in NAMES if name != hook]
    asked = event.startswith("pre_")

    # The run's outcome.
    assert ran.status in RUN_OUTCOMES.get((event, behaviour), ("succeeded",)), ran.log
    if (event, behaviour) == ("pre_state_mutation", "vetoes"):
        error = ran.document["nodes"]["one"]["error"]
        assert (error["type"], error["hook"]) == ("Vetoed", hook)
        assert ran.document["nodes"]["one"]["retry_count"] == 0
        assert ran.document["nodes"]["two"]["error"]["type"] == "UpstreamFailed"
    if (event, behaviour) == ("pre_state_initialize", "amends"):
        assert ran.document["context"]["artifacts"] == {"amended": "/by/a/hook"}
    if (event, behaviour) == ("pre_state_mutation", "amends"):
        assert ran.document["nodes"]["two"]["output_payload"] == {"amended": True}

    # The ledger's entry of the call.
    found = ran.outcomes(hook, event)
    if asked:
        assert found == [LEDGER[behaviour]]
    elif behaviour == "exits":
        assert found[0] is None
    else:
        assert found == OBSERVERS[behaviour]

    # The other hooks were called, but for those who come after one which ended it.
    ended = asked and behaviour in ("vetoes", "exits")
    for other in others:
        if ended and NAMES.index(other) > NAMES.index(hook):
            assert ran.outcomes(other, event) == []
        else:
            assert ran.outcomes(other, event)[0] == "returned"
