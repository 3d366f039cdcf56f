"""Refuses secrets in command lines, which every user of the machine can see (spec 5)."""

from collections.abc import Collection, Mapping
from typing import Any

from aether_dagster.script.findings import Findings
from aether_dagster.script.interpolation import Keys, parse, templates

_SHOWN_BY_PS: Mapping[str, tuple[str, ...]] = {
    "shell/run": ("command",),
    "python/script": ("code", "args"),
}
_EXAMPLES = {"shell/run": "$NAME", "python/script": "os.environ['NAME']"}


def check_command_line(
    kind: str, args: Mapping[str, Any], path: Keys, secret_env: Collection[str], findings: Findings
) -> None:
    """Note secrets among those arguments of a step which become a process's arguments.

    Args:
        kind: The step's type.
        args: Its arguments.
        path: Their place.
        secret_env: The environment variables which hold secrets.
        findings: Takes the problems.
    """
    for name in _SHOWN_BY_PS.get(kind, ()):
        for where, text in templates(args.get(name), (*path, name)):
            for part in parse(text)[0]:
                if isinstance(part, str):
                    continue
                if part.kind == "secret" or (part.kind == "name" and part.name in secret_env):
                    findings.add(
                        where,
                        f"{part.text} would stand in a command line, which `ps` shows to everybody",
                        expected=f"env: {{NAME: {part.text}}}, and {_EXAMPLES[kind]} here",
                        ordinal=part.ordinal,
                    )
