"""The reference page has every command and every option, and nothing which is gone."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from aether_dagster.cli.main import aetherscript
from aether_dagster.cli.status import ExitStatus

PAGE = (Path(__file__).parents[2] / "docs/reference/command-line.md").read_text(encoding="utf-8")


def commands(group: click.Group, *above: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join((*above, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)


def test_every_command_is_described() -> None:
    for name, _ in commands(aetherscript):
        assert re.search(rf"aetherscript {name}\b|{name}\b.*\|", PAGE), name
        assert f"## {name.split()[0]}\n" in PAGE


def test_every_option_is_described_and_no_other() -> None:
    real = {"--help"}
    for _, command in commands(aetherscript):
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                real.update(parameter.opts)
                assert parameter.envvar is None or f"`{parameter.envvar}`" in PAGE
    described = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE))
    assert described == real


def test_every_exit_status_is_described() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| ([^|]+) \|$", PAGE, re.MULTILINE))
    assert set(map(int, rows)) == {status.value for status in ExitStatus}
