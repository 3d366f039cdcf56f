"""Sensors which `build_defs` includes: the one which ends executions whose process died."""

import time
from functools import lru_cache

import dagster as dg

from aether_dagster.crypto import KeyRing
from aether_dagster.errors import AetherError
from aether_dagster.journal import Journal
from aether_dagster.orchestration.reconcile import Reconciler, Reconciliation
from aether_dagster.orchestration.runtime import key_ring
from aether_dagster.orchestration.settings import AetherSettings
from aether_dagster.values import ValueStore

# How often a deployment looks for executions whose process died, in seconds.
_INTERVAL = 30
# How long it takes at most for that, in seconds; what is left is looked at the next time. Dagster
# ends an evaluation which takes longer than 60 s.
_LIMIT = 30.0

_known: set[AetherSettings] = set()


def watch_over(settings: AetherSettings) -> None:
    """Lets the sensor of this code location look after the executions of these settings."""
    _known.add(settings)


def known_settings() -> list[AetherSettings]:
    """Returns the settings of this code location's pipelines."""
    return sorted(_known, key=repr)


def _reconcile(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    give_up = time.monotonic() + _LIMIT
    looked = 0
    ended: list[str] = []
    failures: list[str] = []
    for settings in known_settings():
        try:
            for result in _reconciler(settings, context.instance).reconcile_all():
                looked += 1
                _note(context, result, ended, failures)
                if time.monotonic() > give_up:
                    break
        except AetherError as error:
            failures.append(str(error))
    if failures:
        raise dg.Failure(" ".join(failures))
    return dg.SkipReason(
        f"{looked} unfinished executions; brought to their end: {', '.join(ended) or 'none'}."
    )


def _note(
    context: dg.SensorEvaluationContext,
    result: Reconciliation,
    ended: list[str],
    failures: list[str],
) -> None:
    if result.verdict == "error":
        failures.append(f"{result.pipeline_id}: {result.reason}")
    elif result.verdict in ("ended", "removed"):
        ended.append(f"{result.pipeline_id} ({result.status or result.verdict})")
        context.log.info("%s: %s", result.pipeline_id, result.reason)


def _reconciler(settings: AetherSettings, instance: dg.DagsterInstance) -> Reconciler:
    keys = key_ring(settings)
    return Reconciler(
        instance,
        _journal(settings.journal_url(instance), keys),
        ValueStore(settings.artifacts_url(instance), keys=keys),
        settings.history,
        keys,
        settings.secret_store,
    )


aether_reconcile_sensor = dg.SensorDefinition(
    name="aether_reconcile_sensor",
    evaluation_fn=_reconcile,
    minimum_interval_seconds=_INTERVAL,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends AetherScript executions whose process died, as Dagster's log says they did.",
)
"""Does what `aetherscript recover` does; one object, so that definitions merge."""


@lru_cache(maxsize=8)
def _journal(url: str, keys: KeyRing | None) -> Journal:
    return Journal.open(url, keys=keys)
