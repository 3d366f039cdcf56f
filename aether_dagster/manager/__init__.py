"""The state manager: initialize, execute, mutate, finalize (the four phases of the state document).

Every change of state goes through here and is committed to the journal; what is read anywhere,
the snapshot files included, is a projection of the journal.
"""

from aether_dagster.manager.execution import Execution
from aether_dagster.manager.follower import Change, Follower
from aether_dagster.manager.manager import StateManager

__all__ = ["Change", "Execution", "Follower", "StateManager"]
