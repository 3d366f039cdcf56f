"""`aetherscript recover`, as somebody calls it who finds a run dead."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aether_dagster.manager.identity import own_identity
from tests.cli.conftest import COMMAND, Completed, environment
from tests.journals import journal_environment, journal_url
from tests.orchestration.scenarios import Place, Places

STEPS = """
    - {id: one, type: core/echo, args: {message: one}}
    - {id: runs, type: python/call, args: {callable: "jobs:die"}, dependsOn: [one]}
    - {id: next, type: core/echo, args: {message: "${steps.runs.output}"}}
"""


@pytest.fixture
def dead(places: Places) -> Place:
    """A directory in which a run's process was killed."""
    place = places(STEPS)
    assert place.start().end() is None
    return place


def recover(place: Place, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Runs the command with --json; returns its exit status and what it printed."""
    child = place.start("recover", arguments=arguments)
    status = child.end()["exit"]
    return status, child.lines()


def test_a_dead_execution_is_brought_to_its_end_once(dead: Place) -> None:
    def call(*arguments: str) -> Completed:
        return subprocess.run(
            [*COMMAND, "recover", *arguments],
            cwd=dead.directory,
            env=environment(**journal_environment(dead.directory)),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    with dead.opened() as opened:
        pipeline_id = opened.record().pipeline_id
    first = call()
    assert first.stdout == f"{pipeline_id}  ended: Brought to its end: failed.\n"
    assert (first.returncode, first.stderr) == (0, "")
    left = dead.left()
    assert left.nodes["runs"]["error"]["type"] == "WorkerLost"
    assert left.nodes["next"]["error"]["upstream"] == ["runs"]
    left.check()

    second = call()
    assert (second.returncode, second.stdout) == (0, "Every execution has ended.\n")
    status, [named] = recover(dead, pipeline_id)
    assert (status, named["verdict"], named["status"]) == (0, "already", "failed")


def test_two_at_once_end_it_once(dead: Place) -> None:
    children = [dead.start("recover") for _ in range(2)]
    ends = [child.end() for child in children]
    said = [line["verdict"] for child in children for line in child.lines()]
    assert [end["exit"] for end in ends] == [0, 0]
    assert said.count("ended") == 1
    assert set(said) <= {"ended", "alive", "already"}
    dead.left().check()


def test_a_process_elsewhere_is_waited_for_then_asked_about_then_forced(dead: Place) -> None:
    holder = json.dumps({**json.loads(own_identity()), "host": "elsewhere"})
    with dead.opened() as opened:
        pipeline_id = opened.record().pipeline_id
        lease = opened.journal.lease(pipeline_id)
        assert lease is not None
        opened.journal.release(pipeline_id, lease.holder)
        opened.journal.acquire(pipeline_id, holder, 30)
    status, [said] = recover(dead, "--force")
    assert (status, said["verdict"]) == (0, "alive"), "force is for silence, not for life"
    assert "elsewhere" in said["reason"]

    with dead.opened() as opened:
        opened.journal.renew(pipeline_id, holder, 0)
    status, [said] = recover(dead)
    assert (status, said["verdict"]) == (1, "unproven")
    assert "--force" in said["reason"]
    status, [said] = recover(dead, "--force", pipeline_id)
    assert (status, said["verdict"], said["status"]) == (0, "ended", "failed")
    dead.left().check()


def test_a_living_run_is_left_as_it_is(places: Places) -> None:
    place = places('\n    - {id: runs, type: python/call, args: {callable: "jobs:wait"}}\n')
    child = place.start()
    place.wait_for("waiting", child)
    status, [said] = recover(place)
    assert (status, said["verdict"]) == (0, "alive")
    assert str(child.pid) in said["reason"]
    (place.directory / "go").touch()
    assert child.end() == {"status": "succeeded"}


def test_a_run_which_the_instance_does_not_know_is_left_to_the_one_which_does(
    dead: Place, places: Places, tmp_path: Path
) -> None:
    other = places(STEPS)
    order = {"environ": {"AETHERSCRIPT_JOURNAL": journal_url(dead.directory)}}
    child = places.zygote.start(other.directory, "recover", **order)
    assert child.end() == {"exit": 1}
    [said] = child.lines()
    assert said["verdict"] == "unproven"
    assert "DAGSTER_HOME" in said["reason"]


def test_wrong_words_are_told_without_a_traceback(
    aetherscript: Callable[..., Completed], folder: Path
) -> None:
    nowhere = aetherscript("recover")
    assert nowhere.returncode == 2
    assert "There is no .aether here" in nowhere.stderr
    assert list(folder.iterdir()) == [], "it makes nothing"


def test_an_unknown_execution_is_told(dead: Place) -> None:
    child = dead.start("recover", arguments=["pipeline_00000000"])
    assert child.end() == {"exit": 2}
    assert "holds no execution 'pipeline_00000000'" in child.log.read_text()
