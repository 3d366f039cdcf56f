"""What verifying an execution's folder finds (spec 3)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aether_dagster.crypto import ChainLink

Kind = Literal["unfinished", "locked", "foreign", "missing", "rolled back", "damaged"]
Verdict = Literal["whole"] | Kind
KINDS: Sequence[Kind] = ("unfinished", "locked", "foreign", "missing", "rolled back", "damaged")
"""What can be wrong, the worst last.

`unfinished`: the execution never ended, or its history was given up. `locked`: sealed, and no key
given opens it. `foreign`: something lies where it does not belong. `missing`: a file is gone.
`rolled back`: the folder, or the journal, is an earlier copy. `damaged`: a file was changed.
"""


@dataclass(frozen=True)
class Finding:
    """One thing which is wrong.

    Args:
        kind: What it is.
        file: The file's name; None for the folder as a whole.
        message: A sentence for people.
    """

    kind: Kind
    file: str | None
    message: str


@dataclass(frozen=True)
class Recorded:
    """What is known of an execution beside its folder.

    Args:
        links: The files which the journal recorded, in order.
        finalized: Whether the execution has ended.
        error: Why its history was given up, as the report says, or None.
        head: The head of the chain as the Dagster run's tag says; None where it is not known.
    """

    links: Sequence[ChainLink]
    finalized: bool
    error: str | None = None
    head: str | None = None


@dataclass(frozen=True)
class Verification:
    """What was found of one execution.

    Args:
        execution: Its pipeline id.
        folder: Its folder's name.
        sealed: Whether its files are sealed.
        files: How many there are.
        journal: Whether they were compared with the journal's record.
        findings: What is wrong, in the order of the files; empty where nothing is.
    """

    execution: str
    folder: str
    sealed: bool
    files: int
    journal: bool
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of what was found."""
        kinds = {finding.kind for finding in self.findings}
        worst: Verdict = "whole"
        for kind in KINDS:
            worst = kind if kind in kinds else worst
        return worst
