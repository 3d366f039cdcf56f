"""The executions which this process takes part in, opened once for all who need them."""

import atexit
import os
import threading
from dataclasses import replace
from functools import lru_cache

import dagster as dg

from aether_dagster.crypto import KeyRing
from aether_dagster.journal import Journal
from aether_dagster.manager import Execution, StateManager
from aether_dagster.orchestration.names import op_name
from aether_dagster.orchestration.pipeline import CompiledPipeline
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.plugins.secrets import secret_reader
from aether_dagster.script import dagster_name
from aether_dagster.snapshot import HistoryStore
from aether_dagster.values import ValueStore

_lock = threading.Lock()
_executions: dict[tuple[int, str, str], Execution] = {}


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
    """
    # Keyed by pid: a forked child must not use its parent's connections.
    key = (os.getpid(), run.run_id, pipeline.document.name)
    with _lock:
        if key not in _executions:
            _executions[key] = _open(instance, run, pipeline, selected, keep)
        return _executions[key]


def close_execution(execution: Execution) -> list[str]:
    """Forgets an execution and closes its connectors; returns what could not be closed."""
    with _lock:
        for key, known in list(_executions.items()):
            if known is execution:
                del _executions[key]
    return execution.connections.close()


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
        _journal(settings.journal_url(instance), keys),
        value_store(settings.artifacts_url(instance), keys),
    )
    execution = manager.initialize(
        pipeline.document,
        run_id=run.run_id,
        selected=_selected(run, pipeline) if selected is None else selected,
        environ=os.environ,
        partition=run.tags.get("dagster/partition"),
        history=None if settings.history is None else HistoryStore(settings.history),
        history_required=settings.history_required,
        keep=keep,
    )
    # Another process may have put one of them into a value which this one is going to show.
    reader = secret_reader(pipeline.secret_store, os.environ)
    execution.redaction.learn(execution.resolved.secrets(secret=reader, environ=os.environ))
    execution.redaction.learn(key.text() for key in keys or ())
    return execution


def _selected(run: dg.DagsterRun, pipeline: CompiledPipeline) -> tuple[str, ...] | None:
    """The steps of a run under an executor which is not ours; None stands for all."""
    order = pipeline.document.order
    if run.asset_selection:
        keys = {tuple(key.path) for key in run.asset_selection}
        return tuple(step for step in order if pipeline.asset_keys.get(step) in keys)
    if run.step_keys_to_execute is not None:
        names = {key.rpartition(".")[2] for key in run.step_keys_to_execute}
        return tuple(
            step
            for step in order
            if not names.isdisjoint((op_name(pipeline.document, step), dagster_name(step)))
        )
    return None


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
def _journal(url: str, keys: KeyRing | None) -> Journal:
    # It may be used by threads and after a fork; one of each URL is enough for a process.
    journal = Journal.open(url, keys=keys)
    atexit.register(journal.close)
    return journal


@lru_cache(maxsize=8)
def value_store(url: str, keys: KeyRing | None) -> ValueStore:
    """Returns the one artifact store of a URL in this process."""
    return ValueStore(url, keys=keys)
