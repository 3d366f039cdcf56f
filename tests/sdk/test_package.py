import subprocess
import sys
from pathlib import Path

import aethersdk

SHOW_ORIGINS = """
import sys
before = set(sys.modules)
import aethersdk
for name in sorted(set(sys.modules) - before):
    module = sys.modules[name]
    print(name.partition(".")[0], getattr(module, "__file__", None) or "", sep="\\t")
"""


def test_importing_the_sdk_imports_nothing_outside_the_standard_library() -> None:
    root = str(Path(aethersdk.__file__).parents[1])
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r})\n{SHOW_ORIGINS}"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = dict(line.split("\t") for line in result.stdout.splitlines())
    assert "aethersdk" in loaded
    assert set(loaded) <= sys.stdlib_module_names | {"aethersdk"}
    assert not [
        name for name, file in loaded.items() if "site-packages" in file and name != "aethersdk"
    ]


def test_every_public_name_is_there() -> None:
    assert all(hasattr(aethersdk, name) for name in aethersdk.__all__)
    assert set(aethersdk.__all__) >= {
        "StateHook",
        "StateVeto",
        "PipelineState",
        "NodeState",
        "ExecutionContext",
        "NodeStatus",
        "Mutation",
        "Report",
        "OutputCheck",
        "StepDefinition",
    }
