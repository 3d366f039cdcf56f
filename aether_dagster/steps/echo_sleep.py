"""The step types `core/echo` and `core/sleep` (spec 2)."""

import time
from collections.abc import Mapping
from typing import Any

from aether_dagster.errors import StepTimeout
from aether_dagster.steps.context import StepContext


def echo(args: Mapping[str, Any], context: StepContext, timeout: float | None) -> Any:
    """Log the message and give it as output."""
    del timeout
    context.logger.info("%s", args["message"])
    return args["message"]


def sleep(args: Mapping[str, Any], context: StepContext, timeout: float | None) -> None:
    """Wait for `seconds`.

    Raises:
        StepTimeout: The wait is longer than the timeout, once that has passed.
    """
    del context
    seconds = args["seconds"]
    if timeout is not None and seconds > timeout:
        time.sleep(timeout)
        raise StepTimeout(timeout)
    time.sleep(seconds)
