"""Plugins as a user meets them: listed, resolved, and told when they do not fit together."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from aether_dagster.cli.main import main
from tests.cli.conftest import Completed

HOOK = """
from aethersdk import StateHook

class {name}(StateHook):
    def {event}(self): ...
"""
PLUGIN = """
from aethersdk import Plugin, StateHook

class Watch(StateHook):
    def post_state_finalize(self): ...

def go(args, context):
    return None

class Main(Plugin):
    hooks = (Watch,)
    step_types = {"go": go}
    secret_stores = {"box": lambda url: dict().__getitem__}
"""


def plugin(folder: Path, name: str, version: str, more: str = "", **requires: str) -> None:
    home = folder / "plugins" / f"{name}-{version}"
    module = f"{name.lower()}_{version.replace('.', '_')}_{folder.name.replace('-', '_')}"
    home.mkdir(parents=True)
    wanted = "".join(f'{other} = "{wish}"\n' for other, wish in requires.items())
    (home / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "{version}"\n'
        f'[project.entry-points."aetherscript.plugins"]\nmain = "{module}:Main"\n'
        f"[tool.aetherscript]\n{more}\n[tool.aetherscript.requires]\n{wanted}"
    )
    (home / f"{module}.py").write_text(PLUGIN)


def document(folder: Path, plugins: str) -> None:
    (folder / "p.aether.yaml").write_text(
        f'version: "2.1"\nmetadata: {{name: tiny}}\nplugins: {plugins}\n'
        "pipeline:\n  steps: [{id: one, type: core/echo}]\n"
    )


def test_every_version_is_listed_with_what_it_brings_and_whether_it_is_active(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin(folder, "Alpha", "1.0.0")
    plugin(folder, "Alpha", "1.2.0", Beta="^1")
    plugin(folder, "Beta", "1.0.0")
    plugin(folder, "Beta", "1.1.0", 'yanked = "loses rows"')
    (folder / "plugins" / "loose.py").write_text(
        HOOK.format(name="Loose", event="post_state_finalize")
    )
    document(folder, "[{name: Alpha}]")
    assert main(["plugins", "list"]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["PLUGIN", "VERSION", "ACTIVE", "BRINGS", "FROM"]
    rows = {tuple(line.split()[:3]) for line in lines}
    assert rows == {
        ("Alpha", "1.0.0", "Watch,"),
        ("Alpha", "1.2.0", "yes"),
        ("Beta", "1.0.0", "yes"),
        ("Beta", "1.1.0", "yanked"),
        ("loose", "0.0.0", "yes"),
    }
    assert "Watch, Alpha/go, box://" in lines[0]
    assert main(["plugins", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed[1] == {
        "name": "Alpha",
        "version": "1.2.0",
        "active": True,
        "hooks": ["Watch"],
        "step_types": ["Alpha/go"],
        "secret_stores": ["box://"],
        "requires": {"Beta": "^1"},
        "yanked": None,
        "from": str(folder / "plugins" / "Alpha-1.2.0"),
    }


CONFLICT = """The plugins cannot be resolved:
  Left@1.0.0 requires Shared ^1.2
  Right@1.0.0 requires Shared ^2
  of Shared there is 2.0.0 ({there}/Shared-2.0.0), 1.2.0 ({there}/Shared-1.2.0)
"""


def test_plugins_which_do_not_fit_together_are_told_before_anything_runs(
    folder: Path, aetherscript: Callable[..., Completed], capsys: pytest.CaptureFixture[str]
) -> None:
    plugin(folder, "Left", "1.0.0", Shared="^1.2")
    plugin(folder, "Right", "1.0.0", Shared="^2")
    plugin(folder, "Shared", "1.2.0")
    plugin(folder, "Shared", "2.0.0")
    document(folder, "[{name: Left}, {name: Right}]")
    told = CONFLICT.format(there=folder / "plugins")
    assert main(["validate"]) == 2
    assert capsys.readouterr().err == f"p.aether.yaml: {told}"
    assert main(["plugins", "list"]) == 2
    shown = capsys.readouterr()
    assert shown.err == f"Error: {told}"
    assert len(shown.out.splitlines()) == 5, "what there is is listed all the same"
    completed = aetherscript("run")
    assert (completed.returncode, completed.stderr) == (2, f"Error: {told}")


def test_a_misspelt_hook_beside_a_document_is_told_with_the_nearest_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "plugins").mkdir()
    file = folder / "plugins" / "typo.py"
    file.write_text(HOOK.format(name="Typo", event="post_node_exectue"))
    document(folder, "[]")
    told = (
        f"typo@0.0.0 (file:{file}): State hook Typo: there is no event 'post_node_exectue' "
        "(did you mean 'post_node_execute'?); a method of your own needs a name which does not "
        "look like one, or begins with an underscore.\n"
    )
    assert main(["validate"]) == 2
    assert capsys.readouterr().err == f"p.aether.yaml: {told}"
