"""Which plugins are installed."""

import sys

from aether_dagster.plugins.discovery import installed_plugins


def install(folder, name, version, group="aetherscript.plugins"):
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[{group}]\none = {name}:One\ntwo = {name}:Two\n")


def test_distributions_with_our_entry_points_are_plugins_and_are_not_imported(
    tmp_path, monkeypatch
):
    install(tmp_path, "DataValidator", "1.4.0")
    install(tmp_path, "SomethingElse", "2.0.0", group="console_scripts")
    monkeypatch.syspath_prepend(tmp_path)
    found = installed_plugins()
    assert found["DataValidator"] == ["1.4.0"]
    assert "SomethingElse" not in found
    assert "DataValidator" not in sys.modules
