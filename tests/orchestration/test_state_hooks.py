"""State hooks in whole runs, each a process of its own: what hooks do, and what becomes of it."""

import json
import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import product
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from aether_dagster import AetherSettings, build_state_hook_sensors
from aether_dagster.journal import Journal
from aether_dagster.journal.outbox import HookCallRecord
from aether_dagster.orchestration import active
from aether_dagster.orchestration.instance import embedded_instance
from tests.journals import journal_environment, journal_url
from tests.orchestration.scenarios import Place, Places, interrupt
from tests.schemas import errors

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
    child = (
        place.start(action, **order)
        if "environ" not in order
        else (place.zygote.start(place.directory, action, **order))
    )
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
    one_at_a_time = threading.Lock()

    def one(event: str, behaviour: str, hook: str) -> Ran:
        case = json.dumps({"event": event, "behaviour": behaviour, "hook": hook})
        files = {"hook_cases.py": HOOKS.read_text(), "case.json": case}
        with one_at_a_time:
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


STATE_LOGGER = Path(__file__).parents[2] / "hooks" / "state_logger.py"

SLOW = """
import os, time
from pathlib import Path
from aethersdk import StateHook

class Slow(StateHook):
    def post_node_execute(self, node_id):
        here = Path(__file__).parents[1]
        with (here / "told.txt").open("a") as file:
            file.write(self.delivery_id + "\\n")
        while (here / "wait").exists() and node_id.startswith("one"):
            time.sleep(0.02)
        with (here / "done.txt").open("a") as file:
            file.write(self.delivery_id + "\\n")
"""


RETRIED = """
    - id: bad
      type: python/call
      args: {callable: "jobs:boom"}
      retries: 1
      retry: {delay: 0}
"""


def ledger(place: Place) -> list[HookCallRecord]:
    return look(place.directory).calls


def test_the_users_state_logger_logs_the_end_of_each_attempt(places: Places) -> None:
    steps = (
        STEPS + '    - {id: bad, type: python/call, args: {callable: "jobs:boom"}, retries: 1,\n'
    )
    steps += "       retry: {delay: 0}}\n"
    place = prepare(places, {"state_logger.py": STATE_LOGGER.read_text()}, steps)
    log = run(place)
    lines = [
        line.partition("INFO  ")[2] for line in log.splitlines() if "INFO  StateLogger" in line
    ]
    told = [line.partition("Node ")[2].partition(" transitioned: ") for line in lines]
    assert sorted((node.rpartition("_")[0], change) for node, _, change in told) == [
        ("bad", "executing → failed"),
        ("bad", "executing → retrying"),
        ("one", "executing → succeeded"),
        ("two", "executing → succeeded"),
    ]
    assert look(place.directory).document["context"]["active_plugins"] == ["state_logger@0.0.0"]
    with place.opened() as opened:
        (dagster_run,) = opened.instance.get_runs()
        entries = opened.instance.all_logs(dagster_run.run_id)
        shown = [e.user_message for e in entries if "StateLogger" in (e.user_message or "")]
    assert len(shown) == 4, "it is in Dagster's log of the run too"


def test_a_delivery_which_was_killed_in_the_middle_is_made_again_with_the_same_id(
    places: Places,
) -> None:
    place = prepare(places, {"slow.py": SLOW})
    (place.directory / "wait").touch()
    child = place.start()
    place.wait_for("told.txt", child)
    child.signal(signal.SIGKILL)
    assert child.ended(30)
    (place.directory / "wait").unlink()
    run(place, "recover")
    told = (place.directory / "told.txt").read_text().split()
    done = (place.directory / "done.txt").read_text().split()
    assert told[0] == told[1], "the repeated one has the same id"
    assert len(set(done)) == len(done), "none was made twice but the one in the middle"
    nodes = {identity.split("/")[2] for identity in done}
    state = look(place.directory).document["nodes"]
    assert nodes == {name for name, node in state.items() if node["status"] != "pending"}
    outcomes = [call.outcome for call in ledger(place) if call.node == "one"]
    assert outcomes == [None, "returned"]
    run(place, "recover")
    assert (place.directory / "done.txt").read_text().split() == done


LOADED = """import sys

def loaded():
    return sorted(name for name in sys.modules if name.startswith("aether_dagster."))
"""


def test_what_has_no_hooks_pays_nothing_for_them(places: Places) -> None:
    place = places('    - {id: look, type: python/call, args: {callable: "loaded:loaded"}}\n')
    (place.directory / "loaded.py").write_text(LOADED)
    run(place)
    left = look(place.directory)
    names = {"manager", "call", "hooks", "outbox", "resolver", "contributions", "activation"}
    node = left.document["nodes"]["look"]
    assert node["status"] == "succeeded", node["error"]
    loaded = node["output_payload"]
    assert not {f"aether_dagster.plugins.{name}" for name in names} & set(loaded)
    assert "aether_dagster.manager.deliveries" not in loaded
    assert "aether_dagster.manager.execution" in loaded, "it is this process which was asked"
    assert left.calls == []


DOCUMENT_HOOKS = """hooks:
  onSuccess: [{type: shell/run, args: {command: "echo ${steps.one.output} > success.txt"}}]
  onFailure: [{type: shell/run, args: {command: "echo failed > failure.txt"}}]
  onComplete: [{type: python/call, args: {callable: "jobs:boom"}}]
"""


def test_hooks_of_a_document_are_deliveries_of_the_same_outbox(places: Places) -> None:
    place = places(STEPS, DOCUMENT_HOOKS)
    run(place)
    assert (place.directory / "success.txt").read_text() == "hello\n"
    assert not (place.directory / "failure.txt").exists()
    outcomes: dict[str, list[str | None]] = {}
    for call in ledger(place):
        outcomes.setdefault(call.hook, []).append(call.outcome)
    assert outcomes["document.onSuccess[0]"] == ["returned"]
    assert outcomes["document.onComplete[0]"] == ["raised"] * 4 + ["dead"]
    assert look(place.directory).status == "succeeded", "it ended before"


COUNT = """
from aethersdk import StateHook

class {name}(StateHook):
    def pre_state_mutation(self, mutation):
        if any(path.endswith(".status") for path in mutation.paths):
            for _ in range(5):
                self.transact(lambda tx: tx.set("context.artifacts.count",
                    str(int(tx.get("context.artifacts.count", "0")) + 1)), attempts=200)
"""


def test_two_plugins_which_update_one_artifact_from_two_processes_lose_no_update(
    places: Places,
) -> None:
    files = {f"{name.lower()}.py": COUNT.format(name=name) for name in ("Left", "Right")}
    steps = "".join(f"    - {{id: s{n}, type: core/echo}}\n" for n in range(4))
    place = prepare(places, files, steps)
    run(place, workers=2)
    left = look(place.directory)
    assert left.status == "succeeded"
    asked = [c for c in left.calls if c.node and c.event == "pre_state_mutation"]
    assert len(asked) == 2 * 4 * 2, "two hooks, each step's start and output"
    assert left.document["context"]["artifacts"]["count"] == str(5 * len(asked))
    assert {call.outcome for call in asked} == {"returned"}


CLEANED = """
from pathlib import Path
from aethersdk import Plugin

class {name}(Plugin):
    def cleanup(self):
        with Path("cleaned.txt").open("a") as file:
            file.write("{name}\\n")
        {then}
"""
CLEANED_METADATA = """
[project]
name = "{name}"
version = "1.0.0"
[project.entry-points."aetherscript.plugins"]
main = "cleaned_{name}:{name}"
[tool.aetherscript.requires]
{requires}
"""


def test_plugins_clean_up_in_reverse_order_also_when_a_run_is_cancelled(places: Places) -> None:
    steps = '    - {id: wait, type: python/call, args: {callable: "jobs:wait"}}\n'
    place = places(steps, "plugins: [{name: Upper}]\n")
    for name, requires, then in (("Upper", 'Lower = "*"', "raise OSError('open')"),
                                 ("Lower", "", "pass")):  # fmt: skip
        home = place.directory / "plugins" / name
        home.mkdir(parents=True)
        metadata = CLEANED_METADATA.format(name=name, requires=requires)
        (home / "pyproject.toml").write_text(metadata)
        (home / f"cleaned_{name}.py").write_text(CLEANED.format(name=name, then=then))
    child = place.start()
    interrupt(place, child)
    assert child.ended(90), child.log.read_text()
    assert (place.directory / "cleaned.txt").read_text().split() == ["Upper", "Lower"]
    (folder,) = (place.directory / "executions").iterdir()
    final = json.loads((folder / "state_final.json").read_text())
    assert final["report"]["status"] == "cancelled"
    assert [(p["plugin"], p["outcome"], p["error"]) for p in final["report"]["plugins"]] == [
        ("Upper@1.0.0", "raised", "OSError: open"),
        ("Lower@1.0.0", "returned", None),
    ]
    assert errors("final", final) == []


WRITER = """
from aethersdk import StateHook

class Writer(StateHook):
    def post_node_execute(self, node_id, current_state):
        for path in ("nodes.one.status", "pipeline.id", "context.secret_store"):
            try:
                with self.transaction() as tx:
                    tx.set(path, "x")
            except Exception as error:
                self.logger.info("%s %s", type(error).__name__, path)
"""


def test_a_plugin_cannot_write_outside_of_artifacts(places: Places) -> None:
    place = prepare(places, {"writer.py": WRITER})
    log = run(place)
    for path in ("nodes.one.status", "pipeline.id", "context.secret_store"):
        assert f"ReadOnlyState {path}" in log
    assert look(place.directory).status == "succeeded"


STRICT = """
from aethersdk import StateHook

class Strict(StateHook):
    on_error = "fail_run"
    retry_delay = 0.01
    def post_node_execute(self, node_id):
        raise OSError("the audit log is full")
"""


def test_a_hook_whose_failures_count_fails_the_run(places: Places) -> None:
    place = prepare(places, {"strict.py": STRICT})
    run(place)
    with place.opened() as opened:
        (dagster_run,) = opened.instance.get_runs()
        assert dagster_run.status.value == "FAILURE"
        report = opened.journal.replica(opened.record().pipeline_id).report
    assert report is not None
    assert report["status"] == "failed"


EXAMPLES = Path(__file__).parents[2] / "examples"
LISTED = """plugins:
  - {name: DataValidator, version: "^1.4.0"}
  - {name: SlackNotifier, version: "~3.2"}
context: {artifacts: {data_rules: rules.json}}
"""
CHECKED = """
    - {id: good, type: core/echo, args: {message: [{id: 1, amount: 2}]}}
    - {id: sure, type: DataValidator/check, args: {rows: "${steps.good.output}", min_rows: 1}}
    - {id: bad, type: core/echo, args: {message: [{id: 1}, {id: 1}]}}
"""


class Slack(HTTPServer):
    """Stands in for Slack."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Post)


class _Post(BaseHTTPRequestHandler):
    server: Slack

    def do_POST(self) -> None:
        self.server.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_the_example_plugins_check_and_tell_in_a_run(places: Places) -> None:
    place = places(CHECKED, LISTED)
    for example in ("data-validator", "slack-notifier"):
        shutil.copytree(EXAMPLES / example, place.directory / "plugins" / example)
    (place.directory / "rules.json").write_text(json.dumps({"bad": {"unique": ["id"]}}))
    with Slack() as slack:
        thread = threading.Thread(target=slack.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{slack.server_port}/x"
        log = run(place, environ={"SLACK_WEBHOOK_URL": url, **journal_environment(place.directory)})
        slack.shutdown()
        thread.join()
    left = look(place.directory, log)
    plugins = left.document["context"]["active_plugins"]
    assert plugins == ["DataValidator@1.4.0", "SlackNotifier@3.2.1"]
    assert left.document["nodes"]["sure"]["output_payload"] == {"rows": 1}
    error = left.document["nodes"]["bad"]["error"]
    assert (error["type"], error["hook"], error["plugin"]) == (
        "Vetoed",
        "OutputRules",
        "DataValidator@1.4.0",
    )
    assert "id has 1 values" in error["message"]
    texts = [post["text"] for post in slack.posts]
    assert [text.partition(" failed")[0].rpartition("_")[0] for text in texts] == [
        ":x: `bad",
        ":x: `pipeline",
    ]
    with place.opened() as opened:
        report = opened.journal.replica(opened.record().pipeline_id).report
    assert report is not None
    assert [each["outcome"] for each in report["plugins"]] == ["returned", "returned"]


@pytest.fixture
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks which a test makes active are no other test's."""
    monkeypatch.setattr(active, "_of_sensors", {})


@pytest.mark.usefixtures("_forget")
def test_a_sensor_beside_a_command_line_delivers_nothing_twice(places: Places) -> None:
    place = prepare(places, {"slow.py": SLOW})
    (place.directory / "wait").touch()
    settings = AetherSettings(journal=journal_url(place.directory))
    (sensor,) = build_state_hook_sensors(place.directory / "plugins", settings=settings)
    child = place.start()
    place.wait_for("told.txt", child)
    with embedded_instance(place.directory) as instance:
        context = dg.build_sensor_context(instance=instance)
        for _ in range(3):
            told = sensor.evaluate_tick(context).skip_message
            assert told is not None
            assert told.startswith("0 delivered"), "the command line is in the middle of it"
        (place.directory / "wait").unlink()
        while not child.ended(0.05):
            sensor.evaluate_tick(context)
        sensor.evaluate_tick(context)
    told_ids = (place.directory / "told.txt").read_text().split()
    assert sorted(identity.split("/")[2] for identity in told_ids) == ["one", "two"]
    assert (place.directory / "done.txt").read_text().split() == told_ids
    assert [call.outcome for call in ledger(place)] == ["returned", "returned"]
