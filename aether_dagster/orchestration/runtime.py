"""The executions which this process takes part in, opened once for all who need them."""

import atexit
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from aether_dagster.crypto import KeyRing
from aether_dagster.errors import ExecutionMismatch
from aether_dagster.journal import Journal
from aether_dagster.manager import Execution, StateManager
from aether_dagster.orchestration.active import find_active
from aether_dagster.orchestration.names import op_name
from aether_dagster.orchestration.partitions import run_partition
from aether_dagster.orchestration.pipeline import CompiledPipeline
from aether_dagster.orchestration.reexecution import resumption_of
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.plugins.secrets import SecretReader, secret_reader
from aether_dagster.script import dagster_name
from aether_dagster.snapshot import HistoryStore
from aether_dagster.values import ValueStore

if TYPE_CHECKING:
    from aether_dagster.plugins.activation import Active
    from aether_dagster.plugins.hooks import ActiveHook

_asset_settings: dict[tuple[str, ...], AetherSettings] = {}
_lock = threading.Lock()
_executions: dict[tuple[int, str, str], Execution] = {}
_opening: dict[tuple[int, str, str], threading.Lock] = {}


def open_execution(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    pipeline: CompiledPipeline,
    *,
    selected: tuple[str, ...] | None = None,
    keep: bool = False,
) -> Execution:
    """Returns this process' execution of a run and a pipeline; the first who asks initializes it.

    Args:
        instance: Dagster's instance.
        run: Dagster's run.
        pipeline: The pipeline as this process compiled it.
        selected: The steps which the run covers, where the caller knows; else what the run
            says it selects.
        keep: The caller will end the execution.

    Raises:
        ExecutionMismatch: The document changed since the run began.
        JournalError: The journal cannot be opened.
        StateError: The run covers several partitions at once.
    """
    # Keyed by pid: a forked child must not use its parent's connections.
    key = (os.getpid(), run.run_id, pipeline.document.name)
    with _lock:
        opening = _opening.setdefault(key, threading.Lock())
    # One lock for each: who opens one may call plugins, and others need not wait for those.
    with opening:
        if key not in _executions:
            _executions[key] = _open(instance, run, pipeline, selected, keep)
        return _executions[key]


def close_execution(execution: Execution) -> list[str]:
    """Forgets an execution and closes its connectors; returns what could not be closed."""
    with _lock:
        for key, known in list(_executions.items()):
            if known is execution:
                del _executions[key]
                _opening.pop(key, None)
    return execution.connections.close()


def close_executions() -> None:
    """Closes the connectors of all executions which this process has opened, before it ends."""
    with _lock:
        ours = [known for key, known in _executions.items() if key[0] == os.getpid()]
    for execution in ours:
        close_execution(execution)


def _open(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    pipeline: CompiledPipeline,
    selected: tuple[str, ...] | None,
    keep: bool,
) -> Execution:
    settings = pipeline.settings
    keys = key_ring(settings)
    manager = StateManager(
        journal_of(settings.journal_url(instance), keys),
        value_store(settings.artifacts_url(instance), keys),
    )
    active = find_active(pipeline)
    covered = _selected(run, pipeline) if selected is None else selected
    execution = manager.initialize(
        pipeline.document,
        run_id=run.run_id,
        selected=covered,
        environ=os.environ,
        partition=run_partition(run),
        resumption=resumption_of(manager.journal, run, pipeline.document, covered),
        plugins=() if active is None else active.labels,
        hooks=() if active is None else active.hooks,
        deliveries=_document_hooks(pipeline),
        secret=secret_reader(pipeline.secret_store, os.environ, _stores(active)),
        history=None if settings.history is None else HistoryStore(settings.history),
        history_required=settings.history_required,
        keep=keep,
    )
    execution.active = active
    _check_plugins(execution, active)
    # Another process may have put one of them into a value which this one is going to show.
    reader = secrets_of(execution, pipeline)
    execution.redaction.learn(execution.resolved.secrets(secret=reader, environ=os.environ))
    execution.redaction.learn(key.text() for key in keys or ())
    return execution


def secrets_of(execution: Execution, pipeline: CompiledPipeline) -> SecretReader:
    """Returns what reads the secrets of an execution: its own store's, else the deployment's."""
    store = execution.replica.context["secret_store"] or pipeline.secret_store
    return secret_reader(store, os.environ, _stores(execution.active))


def _stores(active: "Active | None") -> Mapping[str, Callable[[str], SecretReader]]:
    return {} if active is None else active.secret_stores


def _document_hooks(pipeline: CompiledPipeline) -> "list[ActiveHook]":
    hooks = pipeline.document.pipeline.hooks
    if not (hooks.on_success or hooks.on_failure or hooks.on_complete):
        return []
    from aether_dagster.manager.document_hooks import document_hooks

    return document_hooks(pipeline.document, pipeline.directory)


def _check_plugins(execution: Execution, active: "Active | None") -> None:
    began = tuple(execution.replica.context["active_plugins"])
    here = () if active is None else active.labels
    if began != here:
        raise ExecutionMismatch(
            f"Execution {execution.id} was begun with the plugins {', '.join(began) or 'none'}; "
            f"this process has {', '.join(here) or 'none'}. Install the same versions wherever "
            "its steps run, and start a new run."
        )


def _selected(run: dg.DagsterRun, pipeline: CompiledPipeline) -> tuple[str, ...] | None:
    """The steps of a run under an executor which is not ours; None stands for all."""
    order = pipeline.document.order
    # A run which is re-executed from failure has both: its parent's assets, and its own steps.
    if run.step_keys_to_execute is not None:
        names = {key.rpartition(".")[2] for key in run.step_keys_to_execute}
        return tuple(
            step
            for step in order
            if not names.isdisjoint((op_name(pipeline.document, step), dagster_name(step)))
        )
    if run.asset_selection:
        keys = {tuple(key.path) for key in run.asset_selection}
        return tuple(step for step in order if pipeline.asset_keys.get(step) in keys)
    return None


def remember_assets(pipeline: CompiledPipeline) -> None:
    """Lets `settings_of` know where the values of a pipeline's assets are kept."""
    _asset_settings.update(dict.fromkeys(pipeline.asset_keys.values(), pipeline.settings))


def settings_of(asset_key: tuple[str, ...]) -> AetherSettings:
    """Returns the settings of the pipeline which makes an asset, else those of the environment."""
    known = _asset_settings.get(asset_key)
    return known or AetherSettings().with_environment(os.environ).anchored(Path.cwd())


def key_ring(settings: AetherSettings) -> KeyRing | None:
    """Returns the keys of these settings, read once in this process; None without sealing.

    Raises:
        SettingsError: A reference leads to no key.
    """
    return _key_ring(replace(AetherSettings(), keys=settings.keys))


@lru_cache(maxsize=8)
def _key_ring(settings: AetherSettings) -> KeyRing | None:
    return settings.key_ring(os.environ)


@lru_cache(maxsize=8)
def journal_of(url: str, keys: KeyRing | None) -> Journal:
    """Returns the one journal of a URL in this process."""
    # It may be used by threads and after a fork; one of each URL is enough for a process.
    journal = Journal.open(url, keys=keys)
    atexit.register(journal.close)
    return journal


@lru_cache(maxsize=8)
def value_store(url: str, keys: KeyRing | None) -> ValueStore:
    """Returns the one artifact store of a URL in this process."""
    return ValueStore(url, keys=keys)
