from aether_dagster.cli.progress import Progress
from tests.cli.executions import PIPELINE_ID, Execution


def test_nodes_are_known_in_order_once_the_execution_is_initialized() -> None:
    execution = Execution("extract", "transform_csv", "load")
    progress = Progress()
    progress.observe(execution.initialize())

    assert progress.pipeline_id == PIPELINE_ID
    assert list(progress.nodes) == ["extract", "transform_csv", "load"]
    assert progress.counts() == {"pending": 3}


def test_a_change_tells_the_nodes_which_stand_otherwise_now() -> None:
    execution = Execution("extract", "load")
    progress = Progress()
    progress.observe(execution.initialize())
    (started,) = progress.observe(execution.start("extract"))
    (waiting,) = progress.observe(execution.fail("extract", status="retrying"))
    (again,) = progress.observe(execution.start("extract", 2))
    (done,) = progress.observe(execution.succeed("extract", 2))

    assert [(n.status, n.attempt) for n in (started, waiting, again, done)] == [
        ("executing", 1),
        ("retrying", 1),
        ("executing", 2),
        ("succeeded", 2),
    ]
    assert waiting.error is not None
    assert done.error is None
    assert progress.counts() == {"succeeded": 1, "pending": 1}


def test_what_does_not_concern_a_status_tells_no_node() -> None:
    execution = Execution("extract")
    progress = Progress()
    progress.observe(execution.initialize())
    assert progress.observe(execution.commit(artifacts={"raw": "/tmp/x"})) == []


def test_a_node_below_a_failed_one_is_skipped_and_never_started() -> None:
    execution = Execution("extract", "load")
    progress = Progress()
    progress.observe(execution.initialize())
    progress.observe(execution.start("extract"))
    progress.observe(execution.fail("extract"))
    (node,) = progress.observe(execution.skip("load", "extract"))

    assert (node.status, node.attempt, node.skipped) == ("pending", 0, True)


def test_time_runs_while_an_attempt_runs_and_is_the_states_own_when_it_has_ended() -> None:
    now = 50.0
    execution = Execution("extract")
    progress = Progress(clock=lambda: now)
    progress.observe(execution.initialize())
    progress.observe(execution.start("extract"))
    assert progress.nodes["extract"].seconds(52.5) == 2.5
    now = 60.0
    progress.observe(execution.start("extract", 2))
    assert progress.nodes["extract"].seconds(61.0) == 1.0
    progress.observe(execution.succeed("extract", 2, seconds=1.25))
    assert progress.nodes["extract"].seconds(99.0) == 1.25
