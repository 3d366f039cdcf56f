"""AetherScript on Dagster: declarative pipelines with an exact model of execution state.

Public names are loaded on first use, so that importing this package imports no Dagster.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aether_dagster.errors import (
        AetherError,
        ExecutionMismatch,
        HookError,
        IllegalTransition,
        JournalError,
        PluginError,
        ProtocolError,
        ReadOnlyState,
        ScriptError,
        SealError,
        SettingsError,
        SnapshotError,
        StateError,
        StepError,
        ValueStoreError,
        Vetoed,
        WriteConflict,
    )
    from aether_dagster.orchestration.asset_decorator import aether_assets
    from aether_dagster.orchestration.compiler import build_defs
    from aether_dagster.orchestration.component import AetherPipelineComponent
    from aether_dagster.orchestration.executor import aether_executor
    from aether_dagster.orchestration.hook_sensors import build_state_hook_sensors
    from aether_dagster.orchestration.io_manager import AetherIOManager
    from aether_dagster.orchestration.settings import AetherSettings
    from aether_dagster.orchestration.translator import DagsterAetherTranslator
    from aether_dagster.project import load_pipeline
    from aether_dagster.script import Pipeline, Step

_MODULES = {
    "AetherIOManager": "aether_dagster.orchestration.io_manager",
    "AetherPipelineComponent": "aether_dagster.orchestration.component",
    "AetherSettings": "aether_dagster.orchestration.settings",
    "DagsterAetherTranslator": "aether_dagster.orchestration.translator",
    "Pipeline": "aether_dagster.script",
    "Step": "aether_dagster.script",
    "aether_assets": "aether_dagster.orchestration.asset_decorator",
    "aether_executor": "aether_dagster.orchestration.executor",
    "build_defs": "aether_dagster.orchestration.compiler",
    "build_state_hook_sensors": "aether_dagster.orchestration.hook_sensors",
    "load_pipeline": "aether_dagster.project",
} | dict.fromkeys(
    (
        "AetherError",
        "ExecutionMismatch",
        "HookError",
        "IllegalTransition",
        "JournalError",
        "PluginError",
        "ProtocolError",
        "ReadOnlyState",
        "ScriptError",
        "SealError",
        "SettingsError",
        "SnapshotError",
        "StateError",
        "StepError",
        "ValueStoreError",
        "Vetoed",
        "WriteConflict",
    ),
    "aether_dagster.errors",
)

__all__ = [
    "AetherError",
    "AetherIOManager",
    "AetherPipelineComponent",
    "AetherSettings",
    "DagsterAetherTranslator",
    "ExecutionMismatch",
    "HookError",
    "IllegalTransition",
    "JournalError",
    "Pipeline",
    "PluginError",
    "ProtocolError",
    "ReadOnlyState",
    "ScriptError",
    "SealError",
    "SettingsError",
    "SnapshotError",
    "StateError",
    "Step",
    "StepError",
    "ValueStoreError",
    "Vetoed",
    "WriteConflict",
    "aether_assets",
    "aether_executor",
    "build_defs",
    "build_state_hook_sensors",
    "load_pipeline",
]


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'aether_dagster' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
