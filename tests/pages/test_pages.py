"""Every code block of the README and the docs is run, or stands in a list which says why not."""

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.example.printed import masked
from tests.pages import lists
from tests.pages.blocks import ROOT, blocks, pages
from tests.pages.reader import Reader, programs

BLOCKS = {page: found for page in pages() if (found := blocks(page))}


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with programs(tmp_path_factory.mktemp("w")) as folder:
        yield folder


@pytest.mark.parametrize("page", BLOCKS)
def test_a_page_does_what_it_says(page: str, commands: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path / "reader", commands)
    missing: list[str] = []
    not_run = {entry.line for entry in lists.NOT_RUN if entry.page == page}
    try:
        prepare(reader, page)
        for block in BLOCKS[page]:
            if block.language == "bash":
                reader.check_syntax(block)
                for line in block.commands:
                    if line.split()[0] in lists.NEEDED and not shutil.which(line.split()[0]):
                        missing.append(line)
                    elif line not in not_run:
                        do(reader, page, line)
            elif block.first not in not_run and (page, block.first) not in lists.FILES:
                reader.do(block)
    finally:
        reader.end()
    if missing:
        pytest.skip(f"All but this was run, for which a program is missing here: {missing}")


def prepare(reader: Reader, page: str) -> None:
    """Does what a page presupposes, and puts its blocks which are files where they belong."""
    for block in BLOCKS[page]:
        if path := lists.FILES.get((page, block.first)):
            reader.write(path, block.text)
    for line in lists.BEFORE.get(page, ()):
        if line.endswith("&"):
            reader.start(line.removesuffix("&"))
        else:
            reader.run(line)


def do(reader: Reader, page: str, line: str) -> None:
    """Gives a command, as its page says that it goes."""
    if (page, line) in lists.SERVES:
        reader.serve(line)
    else:
        status = lists.FAILS.get((page, line), 0)
        reader.run(line, lists.TYPED.get((page, line), ""), status=status)


SALES = """version: "2.1"
metadata: {name: sales, version: 2.1.0}
pipeline:
  steps:
    - {id: extract, type: core/echo, args: {message: rows}}
    - {id: clean, type: core/echo, args: {message: "${steps.extract.output}"}}
    - id: load
      type: python/call
      args: {callable: "jobs.sales:wrote", missing: 1}
      dependsOn: [clean]
    - {id: report, type: core/echo, args: {message: "${steps.load.output}"}}
    - {id: other, type: core/echo, args: {message: else}}
"""


def test_resuming_prints_what_its_page_shows(commands: Path, tmp_path: Path) -> None:
    ended, resuming, preview = (
        block.text
        for block in BLOCKS["docs/how-to/resume-a-failed-run.md"]
        if block.language == "text"
    )
    reader = Reader(tmp_path / "reader", commands)
    document = reader.folder / "sales.aether.yaml"
    document.write_text(SALES)
    (reader.folder / "nightly.aether.yaml").unlink()
    folder = str(reader.folder)

    run = "aetherscript run sales.aether.yaml --state-history ./executions/"
    printed = reader.run(run, status=1)
    assert masked(printed, folder)[-3:] == masked(ended)

    document.write_text(SALES.replace('message: "${steps.extract', 'message: "all ${steps.extract'))
    printed = reader.run("aetherscript run --resume latest --dry-run")
    assert masked(printed) == masked(preview)

    document.write_text(SALES.replace(", missing: 1", ""))
    (line,) = [line for line in ended.splitlines() if line.startswith("resume ")]
    printed = reader.run(line.removeprefix("resume"))
    shown = masked(resuming)[:-1]
    assert masked(printed)[: len(shown)] == shown


def named() -> list[tuple[str, str]]:
    """The blocks and commands which the lists name."""
    return [
        *((entry.page, entry.line) for entry in lists.NOT_RUN),
        *lists.FILES,
        *lists.SERVES,
        *lists.FAILS,
        *lists.TYPED,
    ]


@pytest.mark.parametrize(("page", "line"), sorted(named()))
def test_what_a_list_names_is_on_its_page(page: str, line: str) -> None:
    lines = [
        line
        for block in BLOCKS[page]
        for line in (block.commands if block.language == "bash" else [block.first])
    ]
    assert line in lines


def test_no_list_speaks_twice_of_the_same() -> None:
    assert len(set(named())) == len(named())
    assert set(lists.BEFORE) <= set(BLOCKS)


@pytest.mark.parametrize(
    "test", sorted({test for entry in lists.NOT_RUN for test in entry.instead})
)
def test_what_checks_a_block_instead_is_there(test: str) -> None:
    path, _, name = test.partition("::")
    module = ast.parse((ROOT / path).read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {node.name for node in module.body if isinstance(node, functions)}
