"""What the wheel is, and that the tests test it."""

import os
import sysconfig
from importlib import metadata
from pathlib import Path

import pytest

import aether_dagster
import aethersdk


@pytest.mark.skipif(not os.environ.get("CI"), reason="a developer may test the source tree")
def test_ci_tests_the_installed_product_and_not_the_source_tree() -> None:
    site_packages = Path(sysconfig.get_path("purelib"))
    for package in (aether_dagster, aethersdk):
        assert package.__file__ is not None
        assert Path(package.__file__).is_relative_to(site_packages)


def test_the_distribution_holds_the_product_and_nothing_of_the_project_around_it() -> None:
    files = metadata.files("aether-dagster") or []
    tops = {file.parts[0] for file in files if file.parts[0] != ".."}
    dist_info = {top for top in tops if top.endswith(".dist-info")}
    editable = {top for top in tops if top.startswith(("_editable_impl_", "__editable__"))}
    if editable:
        pytest.skip("an editable install lists no files")
    assert tops - dist_info == {"aether_dagster", "aethersdk"}
    for package in ("aether_dagster", "aethersdk"):
        assert any(file.as_posix() == f"{package}/py.typed" for file in files)


def test_the_command_is_installed() -> None:
    (script,) = metadata.entry_points(group="console_scripts", name="aetherscript")
    assert script.value == "aether_dagster.cli.main:main"
