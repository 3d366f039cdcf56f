"""Sensors which `build_defs` includes: the one which ends executions whose process died."""

from functools import lru_cache

import dagster as dg

from aether_dagster.errors import AetherError
from aether_dagster.journal import Journal
from aether_dagster.orchestration.reconcile import Reconciliation, reconcile_all
from aether_dagster.orchestration.settings import AetherSettings

# How often a deployment looks for executions whose process died, in seconds.
_INTERVAL = 30

_known: set[AetherSettings] = set()


def watch_over(settings: AetherSettings) -> None:
    """Lets the sensor of this code location look after the executions of these settings."""
    _known.add(settings)


def _reconcile(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    ended: list[Reconciliation] = []
    looked = 0
    for settings in _known:
        url, artifacts = (
            settings.journal_url(context.instance),
            settings.artifacts_url(context.instance),
        )
        for result in reconcile_all(context.instance, _journal(url), artifacts):
            looked += 1
            if result.verdict == "ended":
                ended.append(result)
                context.log.info("%s: %s", result.pipeline_id, result.reason)
    found = ", ".join(f"{each.pipeline_id} ({each.status})" for each in ended)
    return dg.SkipReason(
        f"{looked} unfinished executions; brought to their end: {found or 'none'}."
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
def _journal(url: str) -> Journal:
    try:
        return Journal.open(url)
    except AetherError as error:
        raise dg.Failure(str(error)) from None
