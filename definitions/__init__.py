"""The code location of this repository: what lies under `pipelines/`, run by `aether_executor`.

It is a Dagster project as a team would have it, and uses public names of the product alone.
"""

import os
from pathlib import Path

import dagster as dg

# Dagster keeps the project's folder on the path only while it imports this module, so what lies
# beside it is imported here, at the top.
import hooks
from aether_dagster import aether_executor, build_state_hook_sensors
from resources import resources_for

# Built here for the same reason; they also make the hooks active in this location's runs.
STATE_HOOK_SENSORS = build_state_hook_sensors(hooks)


@dg.definitions
def defs() -> dg.Definitions:
    pipelines = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
    deployment = os.environ.get("DEPLOYMENT", "local")
    location = dg.Definitions(
        resources=resources_for(deployment),
        executor=aether_executor,
        sensors=STATE_HOOK_SENSORS,
    )
    return dg.Definitions.merge(pipelines, location)
