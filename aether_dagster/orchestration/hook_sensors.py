"""Dagster sensors which deliver to state hooks, one for each hook class (spec 5)."""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import dagster as dg

from aether_dagster.errors import AetherError
from aether_dagster.journal.outbox import HookCursor
from aether_dagster.manager.document_hooks import PREFIX
from aether_dagster.orchestration.active import add_hooks_of_sensors
from aether_dagster.orchestration.outstanding import Outstanding
from aether_dagster.orchestration.runtime import journal_of, key_ring, value_store
from aether_dagster.orchestration.sensors import known_settings
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.plugins.hooks import ActiveHook, HookClass, activate_hooks
from aether_dagster.plugins.loading import hook_class, load_hooks
from aethersdk import StateHook

_INTERVAL = 5
# How many deliveries one tick makes at most.
_MOST = 200
# In these parts of the time after which Dagster would end a tick it begins no more deliveries, and
# the last one is over: a hook with the usual time limit is never cut short.
_BEGIN, _OVER = 0.4, 0.9
_DAGSTERS_LIMIT = 60.0

Hooks = type[StateHook] | ModuleType | str | os.PathLike[str]

_sensors: dict[tuple[str, AetherSettings | None], dg.SensorDefinition] = {}


def build_state_hook_sensors(
    hooks: Hooks | Iterable[Hooks], *, settings: AetherSettings | None = None
) -> list[dg.SensorDefinition]:
    """Returns a sensor for each state hook class, named `<hook>_state_hook_sensor` (spec 5).

    A sensor delivers `post_` events of the executions in the journal, at least once and in order.
    The classes become active in the runs of this code location too, so that their `pre_` events
    are called there. Build them before the definitions of pipelines, which include sensors for the
    hooks which have none.

    Args:
        hooks: Hook classes; or modules, files or folders of them.
        settings: Which journal to look at. Unless given, those of the code location's pipelines;
            leave it out where `build_defs` or the component makes definitions beside.

    Raises:
        PluginError: A hook is wrong, or cannot be imported.
    """
    single = isinstance(hooks, type | ModuleType | str | os.PathLike)
    given = [cast("Hooks", hooks)] if single else list(hooks)
    classes = [found for each in given for found in _classes(each)]
    add_hooks_of_sensors(classes)
    return sensors_of(activate_hooks(classes), settings)


def sensors_of(
    hooks: Iterable[ActiveHook], settings: AetherSettings | None = None
) -> list[dg.SensorDefinition]:
    """Returns the sensors of those hooks which are delivered to.

    An `inline` hook's delivers what was left by the process of a run, because it was killed.

    The same hook gives the same object, so that definitions which both have it merge.
    """
    found: list[dg.SensorDefinition] = []
    for hook in hooks:
        if hook.delivers:
            key = (hook.key, settings)
            if key not in _sensors:
                _sensors[key] = _sensor(hook, settings)
            found.append(_sensors[key])
    return found


def _classes(given: Hooks) -> list[HookClass]:
    if isinstance(given, type):
        return [hook_class(given)]
    if isinstance(given, ModuleType):
        return load_hooks(given.__name__)
    return load_hooks(os.fspath(given))


def _sensor(hook: ActiveHook, settings: AetherSettings | None) -> dg.SensorDefinition:
    given = None if settings is None else _final(settings)
    tick = _Tick(hook, given)
    return dg.SensorDefinition(
        name=f"{_snake(hook.name)}_state_hook_sensor",
        evaluation_fn=tick.evaluate,
        job_name=hook.hook.job,
        minimum_interval_seconds=_INTERVAL,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Delivers AetherScript's state changes to {hook.name} of {hook.label}.",
    )


class _Tick:
    """One hook's sensor, or where None that of the documents' own hooks."""

    def __init__(self, hook: ActiveHook | None, settings: AetherSettings | None):
        self._hook, self._settings = hook, settings
        self._inline = hook is not None and hook.hook.delivery == "inline"
        self._outstanding: dict[AetherSettings, Outstanding] = {}

    def evaluate(self, context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        began = time.monotonic()
        give_up, over = began + _BEGIN * _limit(), began + _OVER * _limit()
        made = dead = waiting = executions = 0
        oldest: float | None = None
        failures: list[str] = []
        for settings in [self._settings] if self._settings else known_settings() or [_final(None)]:
            try:
                outstanding = self._open(settings, context)
                found = self._cursors(outstanding)
            except AetherError as error:
                failures.append(str(error))
                continue
            for pipeline_id, cursors in found.items():
                if time.monotonic() >= give_up or made >= _MOST:
                    waiting += 1
                    continue
                try:
                    drained = outstanding.drain(
                        cursors, give_up=give_up, over=over, most=_MOST - made
                    )
                except AetherError as error:  # the other executions' must not wait for it
                    failures.append(f"{pipeline_id}: {error}")
                else:
                    made += drained.delivered
                    dead += drained.dead
                    waiting += drained.waiting
                    executions += bool(drained.waiting)
                    if drained.oldest is not None:
                        oldest = min(drained.oldest, oldest or drained.oldest)
        of = "1 execution" if executions == 1 else f"{executions} executions"
        told = f"{made} delivered, {dead} given up; {waiting} wait in {of}"
        if oldest is not None:
            told += f", the oldest for {max(0.0, time.time() - oldest):.1f} s"
        if failures:
            raise dg.Failure(f"{told}. {' '.join(failures)}")
        return self._result(context, told)

    def _cursors(self, outstanding: Outstanding) -> dict[str, list[HookCursor]]:
        if self._hook is None:
            return outstanding.cursors(prefix=PREFIX)
        found = outstanding.cursors(self._hook.key)
        if not self._inline:
            return found
        # A run's own process delivers, until it has let go of its lease or is proven dead.
        lease = outstanding.journal.lease
        return {each: cursors for each, cursors in found.items() if lease(each) is None}

    def _open(self, settings: AetherSettings, context: dg.SensorEvaluationContext) -> Outstanding:
        if settings not in self._outstanding:
            keys = key_ring(settings)
            self._outstanding[settings] = Outstanding(
                context.instance,
                journal_of(settings.journal_url(context.instance), keys),
                value_store(settings.artifacts_url(context.instance), keys),
                settings.secret_store,
                {} if self._hook is None else {self._hook.key: self._hook},
                launches=True,
            )
        outstanding = self._outstanding[settings]
        outstanding.instance, outstanding.log = context.instance, context.log.log
        return outstanding

    def _result(
        self, context: dg.SensorEvaluationContext, told: str
    ) -> dg.SensorResult | dg.SkipReason:
        """The jobs to launch; those of a tick which was lost are asked for again, by their key."""
        if self._hook is None or self._hook.hook.job is None:
            return dg.SkipReason(told)
        # Calls are numbered in each journal. Its URL may hold a password, and Dagster keeps this.
        last: dict[str, int] = json.loads(context.cursor or "{}")
        requests: list[dg.RunRequest] = []
        for outstanding in self._outstanding.values():
            journal = outstanding.journal
            name = hashlib.sha256(journal.url.encode()).hexdigest()[:12]
            for call in journal.outbox.triggered(self._hook.key, last.get(name, 0)):
                requests.append(_request(call.delivery, call.detail or {}))
                last[name] = call.number
        if not requests:
            return dg.SkipReason(told)
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(last))


def _request(delivery: str | None, trigger: Mapping[str, Any]) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=delivery,
        run_config=trigger["run_config"],
        tags=trigger["tags"],
        partition_key=trigger["partition_key"],
    )


@lru_cache(maxsize=1)
def document_hooks_sensor() -> dg.SensorDefinition:
    """Returns the sensor which does what documents say under `hooks:`; always the same object."""
    return dg.SensorDefinition(
        name="aether_document_hooks_sensor",
        evaluation_fn=_Tick(None, None).evaluate,
        minimum_interval_seconds=_INTERVAL,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Does what pipeline documents say under onSuccess, onFailure and onComplete.",
    )


def _final(settings: AetherSettings | None) -> AetherSettings:
    return (settings or AetherSettings()).with_environment(os.environ).anchored(Path.cwd())


def _limit() -> float:
    try:
        return float(os.environ.get("DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS", _DAGSTERS_LIMIT))
    except ValueError:
        return _DAGSTERS_LIMIT


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
