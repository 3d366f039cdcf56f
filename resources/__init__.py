"""What the definitions need of the world outside, by deployment."""

from collections.abc import Mapping

from aether_dagster import AetherIOManager


def resources_for(deployment: str) -> Mapping[str, object]:
    """The resources of a deployment; connectors of pipelines bring their own."""
    deployments = {
        # Assets which are no pipeline's steps keep their values where the steps' are kept.
        "local": {"io_manager": AetherIOManager()},
    }
    if deployment not in deployments:
        raise ValueError(
            f"There are no resources for DEPLOYMENT={deployment!r}; "
            f"resources/__init__.py knows {', '.join(deployments)}."
        )
    return deployments[deployment]
