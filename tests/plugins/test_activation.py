"""Which plugins and hooks are active for a document, and what they bring."""

import sys
from pathlib import Path

import pytest

from aether_dagster.errors import PluginError
from aether_dagster.plugins.activation import activate, hooks_of_source
from aether_dagster.plugins.discovery import find_plugins, known_plugins
from aether_dagster.plugins.hooks import HookClass
from aether_dagster.project import read_document
from tests.plugins.test_discovery import install

HOOK = """
from aethersdk import StateHook

class {name}(StateHook):
    order = {order}
    def post_state_finalize(self): ...
"""
PLUGIN = """
from aethersdk import Plugin, StateHook

CLEANED = []

class Watch(StateHook):
    def post_state_finalize(self): ...

def double(args, context):
    return args["number"] * 2

class {name}(Plugin):
    requires = {requires}
    hooks = (Watch,)
    step_types = {{"double": double}}
    secret_stores = {{"{name}": lambda url: {{"A": url}}.__getitem__}}
    def cleanup(self):
        CLEANED.append("{name}")
        if {broken}:
            raise OSError("left open")
"""


def folder(place: Path, name: str, version: str, *, requires=None, broken=False) -> Path:
    """A plugin in `plugins/` beside a document."""
    home = place / "plugins" / f"{name}-{version}"
    module = f"{name.lower()}_{version.replace('.', '_')}"
    (home / "src" / module).mkdir(parents=True)
    wanted = "".join(f'{other} = "{wish}"\n' for other, wish in (requires or {}).items())
    (home / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "{version}"\n'
        f'[project.entry-points."aetherscript.plugins"]\nmain = "{module}:{name}"\n'
        f"[tool.aetherscript.requires]\n{wanted}"
    )
    code = PLUGIN.format(name=name, requires={}, broken=broken)
    (home / "src" / module / "__init__.py").write_text(code)
    return home


def document(place: Path, plugins: str = "[]", step: str = "{id: one, type: core/echo}"):
    file = place / "doc.aether.yaml"
    text = f'version: "2.1"\nmetadata: {{name: doc}}\nplugins: {plugins}\n'
    file.write_text(f"{text}pipeline:\n  steps: [{step}]\n")
    return read_document(file)


@pytest.fixture(autouse=True)
def _imports(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_files_beside_a_document_are_active_by_their_names(tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "zed.py").write_text(HOOK.format(name="Zed", order=1))
    text = HOOK.format(name="Other", order=0)
    (tmp_path / "plugins" / "json.py").write_text(f'__version__ = "3.1.0"\n{text}')
    (tmp_path / "plugins" / "_private.py").write_text("raise AssertionError")
    active = activate(document(tmp_path), tmp_path)
    assert [hook.key for hook in active.hooks] == ["json.Other", "zed.Zed"]
    assert active.labels == ("json@3.1.0", "zed@0.0.0")
    import json

    assert json.dumps([1]) == "[1]", "a file may have the name of a module"


def test_settings_name_modules_files_and_folders_and_a_hook_is_active_once(tmp_path):
    (tmp_path / "more").mkdir()
    file = tmp_path / "more" / "one.py"
    file.write_text(HOOK.format(name="One", order=0))
    active = activate(document(tmp_path), tmp_path, [str(tmp_path / "more"), str(file)])
    assert [hook.key for hook in active.hooks] == ["one.One"]
    assert active.labels == (), "a hook of the settings is no plugin"
    (found,) = hooks_of_source(active.hooks[0].source)
    assert found.key == "one.One"


def test_a_plugin_in_a_folder_brings_what_it_says(tmp_path):
    home = folder(tmp_path, "Alpha", "1.4.0")
    step = "{id: one, type: Alpha/double, args: {number: 4}}"
    active = activate(document(tmp_path, '[{name: Alpha, version: "^1.4"}]', step), tmp_path)
    assert active.labels == ("Alpha@1.4.0",)
    assert active.step_types == {"Alpha/double": "alpha_1_4_0:double"}
    assert active.secret_stores["Alpha"]("Alpha://x")("A") == "Alpha://x"
    assert [hook.key for hook in active.hooks] == ["Alpha.Watch"]
    assert hooks_of_source(active.hooks[0].source)[0].key == "Alpha.Watch"
    assert home.name == "Alpha-1.4.0"


def test_of_two_versions_in_folders_the_newest_which_fits_is_taken(tmp_path):
    for version in ("1.4.0", "1.9.2", "2.0.0"):
        folder(tmp_path, "Beta", version)
    assert known_plugins(tmp_path)["Beta"] == ["1.4.0", "1.9.2", "2.0.0"]
    active = activate(document(tmp_path, '[{name: Beta, version: "^1"}]'), tmp_path)
    assert active.labels == ("Beta@1.9.2",)


def test_what_a_plugin_requires_is_active_too_and_is_cleaned_up_after_it(tmp_path):
    folder(tmp_path, "Gamma", "1.0.0", requires={"Delta": "~2.1"})
    folder(tmp_path, "Delta", "2.1.7", broken=True)
    active = activate(document(tmp_path, "[{name: Gamma}]"), tmp_path)
    assert active.labels == ("Delta@2.1.7", "Gamma@1.0.0")
    outcomes = active.cleanup()
    assert [(each["plugin"], each["outcome"]) for each in outcomes] == [
        ("Gamma@1.0.0", "returned"),
        ("Delta@2.1.7", "raised"),
    ]
    assert outcomes[1]["error"] == "OSError: left open"


def test_an_installed_plugin_is_found_and_loaded(tmp_path, monkeypatch):
    site = tmp_path / "site"
    install(site, "OneTwo", "1.1.0")
    (site / "OneTwo.py").write_text(
        HOOK.format(name="One", order=0) + HOOK.format(name="Two", order=0)
    )
    monkeypatch.syspath_prepend(site)
    active = activate(document(tmp_path, "[{name: OneTwo}]"), tmp_path)
    assert active.labels == ("OneTwo@1.1.0",)
    assert [hook.key for hook in active.hooks] == ["OneTwo.One", "OneTwo.Two"]
    assert {hook.source for hook in active.hooks} == {"plugin:OneTwo"}
    assert any(found.name == "OneTwo" for found in find_plugins())


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "from aethersdk import StateHook\nclass Bad(StateHook):\n    def post_node(self): ...",
            "no event",
        ),
        ("raise OSError('disk')", "cannot be imported: OSError: disk"),
        (
            "from aethersdk import StateHook\nclass Bad(StateHook):\n"
            "    def __init__(self, url): ...\n    def post_state_finalize(self): ...",
            "cannot be made: TypeError",
        ),
    ],
)
def test_a_hook_which_is_wrong_is_told_with_its_file(tmp_path, code, told):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "bad.py").write_text(code)
    with pytest.raises(PluginError, match=told):
        activate(document(tmp_path), tmp_path)


def test_a_step_type_which_a_plugin_does_not_bring_is_told_before_anything_runs(tmp_path):
    folder(tmp_path, "Epsilon", "1.0.0")
    step = "{id: one, type: Epsilon/triple}"
    with pytest.raises(PluginError, match="no step type 'Epsilon/triple'; it brings Epsilon/doubl"):
        activate(document(tmp_path, "[{name: Epsilon}]", step), tmp_path)


def test_metadata_which_says_too_little_is_told(tmp_path):
    (tmp_path / "plugins" / "half").mkdir(parents=True)
    (tmp_path / "plugins" / "half" / "pyproject.toml").write_text('[project]\nname = "Half"\n')
    with pytest.raises(PluginError, match="has no 'version'"):
        find_plugins(tmp_path)


def test_the_same_class_by_two_ways_is_one_hook(tmp_path):
    (tmp_path / "plugins").mkdir()
    file = tmp_path / "plugins" / "once.py"
    file.write_text(HOOK.format(name="Once", order=0))
    first = activate(document(tmp_path), tmp_path)
    again = HookClass(type(first.hooks[0].hook), "once", "0.0.0", "file:elsewhere/once.py")
    with pytest.raises(PluginError, match=r"Two state hooks are called once\.Once"):
        activate(document(tmp_path), tmp_path, classes=[again])
    same = HookClass(type(first.hooks[0].hook), "once", "0.0.0", first.hooks[0].source)
    assert len(activate(document(tmp_path), tmp_path, classes=[same]).hooks) == 1
