import io
import sys
import threading
from collections.abc import Iterator

import pyte
import pytest
from rich.console import Console
from rich.text import Text

from aether_dagster.cli.live import LiveView, visible
from aether_dagster.cli.progress import Progress
from tests.cli.executions import PIPELINE_ID, Execution


def terminal(height: int = 24, width: int = 80) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=True, width=width, height=height, color_system="truecolor"
    )
    return console, stream


def lines(view: LiveView, *, width: int = 80, height: int = 24) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    console.print(view._render())
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_each_node_has_a_line_with_status_attempt_and_elapsed() -> None:
    execution = Execution("extract", "transform_csv", "load")
    console, _ = terminal()
    view = LiveView(console, "nightly")
    view.change(execution.initialize())
    view.change(execution.start("extract"))
    view.change(execution.succeed("extract"))
    view.change(execution.start("transform_csv"))
    view.change(execution.fail("transform_csv", status="retrying"))

    heading, extract, transform, load, bar = lines(view)
    assert heading == f"nightly  {PIPELINE_ID}"
    assert extract.split() == ["✓", "succeeded", "extract", "attempt", "1", "0.87", "s"]
    assert "↻ retrying" in transform
    assert "ValueError: bad row 7" in transform
    assert load.split() == ["·", "pending", "load"]
    assert "1/3" in bar
    assert "1 succeeded, 1 retrying" in bar


def test_a_thousand_nodes_never_take_more_lines_than_the_terminal_has() -> None:
    steps = [f"step_{i:04}" for i in range(1000)]
    execution = Execution(*steps)
    console, stream = terminal(height=20)
    with LiveView(console, "wide") as view:
        view.change(execution.initialize())
        for step in steps[:700]:
            view.change(execution.start(step))
        for step in steps[:600]:
            view.change(execution.succeed(step))
        view.change(execution.fail("step_0650"))
        drawn = lines(view, height=20)
        assert len(drawn) <= 19
        assert any("step_0650" in line and "failed" in line for line in drawn)
        assert any("step_0699" in line and "executing" in line for line in drawn)
        assert any("step_0599" in line and "succeeded" in line for line in drawn)
        assert "601/1000" in drawn[-1]
        assert "600 succeeded, 1 failed, 99 executing" in drawn[-1]
        before = stream.tell()
    # The last frame, which stays on the screen, is short: the summary says the rest.
    assert stream.getvalue()[before:].count("step_") <= 20
    assert len(lines(view, height=20)) == 2


def test_few_nodes_stay_on_the_screen_with_their_end() -> None:
    execution = Execution("extract")
    console, stream = terminal()
    with LiveView(console, "nightly") as view:
        view.change(execution.initialize())
        view.change(execution.start("extract"))
        view.change(execution.succeed("extract"))
    assert "succeeded" in stream.getvalue().rsplit("nightly", 1)[1]


def test_a_narrow_terminal_gets_one_line_for_each_node_all_the_same() -> None:
    execution = Execution("a_step_with_quite_a_long_name_which_does_not_fit", "b")
    console, _ = terminal(width=40)
    view = LiveView(console, "nightly")
    view.change(execution.initialize())
    view.change(execution.fail(execution.steps[0], message="long " * 50))
    assert len(lines(view, width=40)) == 4


def test_running_and_failed_nodes_win_the_room_over_finished_ones() -> None:
    steps = [f"s{i}" for i in range(30)]
    execution = Execution(*steps)
    progress = Progress()
    progress.observe(execution.initialize())
    progress.observe(execution.fail("s0"))
    progress.observe(execution.start("s1"))
    for step in steps[2:]:
        progress.observe(execution.succeed(step))
    shown = [node.name for node in visible(list(progress.nodes.values()), 6)]
    assert shown == ["s0", "s1", "s26", "s27", "s28", "s29"]


@pytest.fixture
def threads_take_turns_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("threads_take_turns_often")
def test_lines_printed_while_the_view_is_drawn_leave_nothing_of_it_behind() -> None:
    steps = [f"step_{i:02}" for i in range(20)]
    execution = Execution(*steps)
    console, stream = terminal(height=16)
    view = LiveView(console, "busy")

    def draw() -> None:
        # The view grows with every node which begins, as it does in a run.
        for step in steps:
            view.change(execution.start(step))
            for _ in range(5):
                view._draw()

    with view:
        view.change(execution.initialize())
        drawing = threading.Thread(target=draw)
        drawing.start()
        for number in range(100):
            view._print_above(Text(f"said {number}"))
        drawing.join()
    screen = pyte.HistoryScreen(80, 16, history=10_000)
    pyte.Stream(screen).feed(stream.getvalue().replace("\n", "\r\n"))
    above = ["".join(line[x].data for x in range(80)) for line in screen.history.top]
    shown = [line.strip() for line in (*above, *screen.display) if line.strip()]
    assert [line for line in shown if line.startswith("said")] == [f"said {n}" for n in range(100)]
    assert not [line for line in shown if "step_" in line]
