"""The journal: every committed change of every execution, numbered, in SQLite or PostgreSQL.

The only place of the product which speaks SQL. It knows state as deltas and replicas, and nothing
of steps, hooks, files of the history or Dagster. Spec 1.2, 1.5, 1.6.
"""

from aether_dagster.journal.figures import Figures, Waiting
from aether_dagster.journal.journal import Journal
from aether_dagster.journal.records import ExecutionRecord, Lease, Tail, Version
from aether_dagster.journal.transaction import Transaction

__all__ = [
    "ExecutionRecord",
    "Figures",
    "Journal",
    "Lease",
    "Tail",
    "Transaction",
    "Version",
    "Waiting",
]
