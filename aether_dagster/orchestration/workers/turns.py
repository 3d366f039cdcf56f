"""Which steps may begin: as Dagster says, except that some run alone (spec 2, `parallel`)."""

from collections.abc import Sequence

from aether_dagster.orchestration.compat import ActiveExecution, ExecutionPlan, ExecutionStep
from aether_dagster.orchestration.names import ALONE_TAG


class Turns:
    """Takes the steps which may begin from Dagster, and holds back what must run alone.

    Args:
        active: Dagster's account of the run.
        plan: Its plan.
    """

    def __init__(self, active: ActiveExecution, plan: ExecutionPlan):
        self._active = active
        self._any_alone = any(map(_runs_alone, plan.steps))
        self._held: ExecutionStep | None = None
        self._alone: str | None = None

    def next_steps(self, room: int, *, running: bool) -> Sequence[ExecutionStep]:
        """Returns the steps to begin now.

        Args:
            room: How many at most.
            running: Whether other steps run.
        """
        if not self._any_alone:
            return self._active.get_steps_to_execute(limit=room) if room else []
        begun: list[ExecutionStep] = []
        while len(begun) < room and self._alone is None:
            step = self._held or next(iter(self._active.get_steps_to_execute(limit=1)), None)
            self._held = None
            if step is None:
                break
            if _runs_alone(step):
                if running or begun:
                    # It has its turn; nothing else begins before it.
                    self._held = step
                    break
                self._alone = step.key
            begun.append(step)
        return begun

    def ended(self, step_key: str) -> None:
        """A step does not run any more."""
        if step_key == self._alone:
            self._alone = None


def _runs_alone(step: object) -> bool:
    return getattr(step, "tags", {}).get(ALONE_TAG) == "false"
