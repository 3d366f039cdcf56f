from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Completed
from tests.cli.documents import DIAMOND, write

Command = Callable[..., Completed]


def test_text_lists_the_steps_in_running_order(aetherscript: Command, folder: Path) -> None:
    write(folder, "diamond.aether.yaml", DIAMOND)
    lines = aetherscript("plan", "diamond.aether.yaml").stdout.splitlines()
    assert lines[0] == "diamond 1.2.3, 4 steps"
    assert [line.split() for line in lines[3:]] == [
        ["1", "extract", "core/echo"],
        ["2", "left", "core/echo", "extract"],
        ["3", "end", "core/echo", "extract"],
        ["4", "load", "core/echo", "left,", "end"],
    ]


def test_a_selection_is_planned_alone(aetherscript: Command, folder: Path) -> None:
    write(folder, "diamond.aether.yaml", DIAMOND)
    text = aetherscript("plan", "--select", "left+").stdout
    assert text.startswith("diamond 1.2.3, 2 of 4 steps")
    assert "extract  core/echo" not in text
    assert aetherscript("run", "--dry-run", "--select", "left+").stdout == text


def test_mermaid_draws_data_solid_and_mere_order_dotted(
    aetherscript: Command, folder: Path
) -> None:
    write(folder, "diamond.aether.yaml", DIAMOND)
    lines = aetherscript("plan", "--format", "mermaid").stdout.splitlines()
    assert lines == [
        "flowchart LR",
        '    s1["extract<br/>core/echo"]',
        '    s2["left<br/>core/echo"]',
        '    s3["end<br/>core/echo"]',
        '    s4["load<br/>core/echo"]',
        "    s1 --> s2",
        "    s1 -.-> s3",
        "    s2 --> s4",
        "    s3 -.-> s4",
    ]


def test_dot_draws_the_same_graph(aetherscript: Command, folder: Path) -> None:
    write(folder, "diamond.aether.yaml", DIAMOND)
    text = aetherscript("plan", "--format", "dot").stdout
    assert text.startswith('digraph "diamond" {\n')
    assert '    "extract" -> "left";\n' in text
    assert '    "end" -> "load" [style=dashed];\n' in text
    assert text.endswith("}\n")
