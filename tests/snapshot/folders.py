"""Whole execution folders, plain and sealed, with what a journal would have recorded of them."""

from dataclasses import dataclass
from pathlib import Path

from aether_dagster.crypto import Chain, ChainLink, KeyRing
from aether_dagster.snapshot import (
    HistoryStore,
    Projection,
    Recorded,
    Verification,
    folder_name,
    verify_execution,
)
from aether_dagster.state import Authority, Delta, NodeDelta, Outcome
from aether_dagster.state.ids import node_id

START = 1689859992.0


def deltas(execution: str, steps: tuple[str, ...] = ("load", "plot")) -> list[Delta]:
    """An execution whose first step fails once; every version's delta, with its clock."""
    found: list[Delta] = []

    def commit(**members: object) -> None:
        clock = len(found) + 1
        found.append(Delta(f"d{clock}", Authority.STEP, clock=clock, **members))  # type: ignore[arg-type]

    def end(step: str, attempt: int, status: str) -> None:
        error = None
        if status != "succeeded":
            error = {"type": "E", "message": "no", "attempt": attempt, "traceback": None}
        for outcome in (Outcome(attempt, "executing"), Outcome(attempt, status, error=error)):
            settled = attempt if outcome.status != "executing" else 0
            commit(nodes={step: NodeDelta(outcome=outcome, settled=settled)})

    commit(
        pipeline={
            "id": execution,
            "version": "1.0.0",
            "start_timestamp": START,
            "config_hash": "e3b0c44298fc1cd",
        },
        context={"environment_vars": {}, "secret_store": None, "active_plugins": []},
        nodes={
            step: NodeDelta(node_id=node_id(execution, step, index), index=index)
            for index, step in enumerate(steps)
        },
    )
    end(steps[0], 1, "retrying")
    end(steps[0], 2, "succeeded")
    for step in steps[1:]:
        end(step, 1, "succeeded")
    commit(
        report={
            "status": "succeeded",
            "end_timestamp": START + 1,
            "duration": 1,
            "nodes": {"succeeded": len(steps)},
            "retries": 1,
            "failed": [],
            "version": len(found) + 1,
        }
    )
    return found


@dataclass
class Folder:
    """An execution's folder on disk, and what was recorded of it."""

    path: Path
    keys: KeyRing | None
    links: list[ChainLink]

    @property
    def names(self) -> list[str]:
        return [link.name for link in self.links]

    def verify(self, *, journal: bool = True, keys: KeyRing | None = None) -> Verification:
        recorded = Recorded(self.links, finalized=True) if journal else None
        store = HistoryStore(str(self.path.parent))
        return verify_execution(store, self.path.name, keys or self.keys, recorded)


def write_folder(root: Path, keys: KeyRing | None, execution: str = "pipeline_01H3XYZ9") -> Folder:
    path = root / folder_name(START, execution)
    path.mkdir(parents=True)
    chain, projection = Chain(execution, keys), Projection()
    for version, delta in enumerate(deltas(execution), start=1):
        for file in projection.fold(version, [delta]):
            link, data = chain.add(file.name, file.data)
            (path / link.name).write_bytes(data)
    return Folder(path, keys, chain.links)
