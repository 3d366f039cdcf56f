"""`aetherscript run` in a terminal, as a user sees it: a pseudo-terminal and an emulator."""

import fcntl
import os
import pty
import struct
import termios
from pathlib import Path

import pyte

from tests.cli.conftest import COMMAND, environment
from tests.cli.documents import write

ROWS, COLUMNS = 16, 90

DOCUMENT = """\
version: "2.1"
metadata: {name: nightly}
pipeline:
  steps:
"""


def run_in_terminal(folder: Path, *arguments: str, **environ: str) -> tuple[int, bytes]:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(COMMAND[0], [*COMMAND, *arguments], environment(TERM="xterm-256color", **environ))
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    output = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        output += data
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output


def lines_of(output: bytes) -> list[str]:
    """Everything which the terminal shows in the end, what has scrolled away included."""
    screen = pyte.HistoryScreen(COLUMNS, ROWS, history=10_000)
    pyte.ByteStream(screen).feed(output)
    above = ["".join(line[x].data for x in range(COLUMNS)) for line in screen.history.top]
    return [line.rstrip() for line in (*above, *screen.display) if line.strip()]


def test_a_wide_pipeline_leaves_a_short_page_with_what_steps_printed_and_what_failed(
    folder: Path,
) -> None:
    steps = "".join(
        f"    - {{id: s{i:02}, type: core/echo, args: {{message: hello}}}}\n" for i in range(30)
    )
    talk = '    - {id: talk, type: python/call, args: {callable: "jobs:talk"}}\n'
    write(folder, "nightly.aether.yaml", DOCUMENT + steps + talk)
    write(folder, "jobs.py", "def talk():\n    print('said by a step')\n    raise OSError('no')\n")
    status, output = run_in_terminal(folder, "run", "--state-history=./executions/")
    lines = lines_of(output)

    assert status == 1
    assert b"\x1b[32m" in output, "succeeded nodes are green"
    assert output.find(b"\x1b[?25h") < output.find(b"said by"), "the cursor is never left hidden"
    assert lines.count("said by a step") == 1
    # 31 nodes do not fit 16 lines: the bar and the summary stay, not a line for each.
    assert not [line for line in lines if line.startswith("✓")], "\n".join(lines)
    assert [line for line in lines if "31/31" in line and "30 succeeded, 1 failed" in line]
    began = lines.index("failed  talk  attempt 1  OSError: no")
    assert "in talk" in " ".join(lines[began:])
    assert [line for line in lines if line.startswith("failed  nightly  pipeline_")]
    assert len(lines) < 18


def test_colours_can_be_refused_and_a_small_pipeline_keeps_a_line_for_each_node(
    folder: Path,
) -> None:
    step = "    - {id: hello, type: core/echo, args: {message: hello}}\n"
    write(folder, "nightly.aether.yaml", DOCUMENT + step)
    status, output = run_in_terminal(folder, "run", NO_COLOR="1")
    assert status == 0
    assert b"\x1b[32m" not in output
    lines = lines_of(output)
    assert lines[1].split()[:5] == ["✓", "succeeded", "hello", "attempt", "1"]
    assert len(lines) == 4
