"""Loads a folder with a `defs.yaml`, as `dg` does: as part of a project.

`load_defs.py FOLDER`, in a process which has Dagster.
"""

import shutil
import sys
from pathlib import Path

import dagster as dg

PROJECT = """
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "{0}"
"""


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    project = folder.with_name(f"project_of_{folder.name}")
    defs = project / "src" / project.name / "defs"
    shutil.copytree(folder, defs / "pipeline")
    for package in (defs.parent, defs):
        (package / "__init__.py").touch()
    (project / "pyproject.toml").write_text(PROJECT.format(project.name))
    sys.path.insert(0, str(project / "src"))
    loaded = dg.load_from_defs_folder(path_within_project=defs)
    dg.Definitions.validate_loadable(loaded)
    assert loaded.resolve_all_asset_specs()
