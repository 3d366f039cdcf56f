"""Verifying an execution's folder: each file, their chain, and the journal's record (spec 3).

Reports, never repairs.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from aether_dagster.crypto import ChainLink, KeyRing, open_sealed, parse
from aether_dagster.errors import (
    Misplaced,
    NotSealed,
    SealError,
    SnapshotError,
    UnknownKey,
)
from aether_dagster.snapshot.findings import KINDS, Finding, Kind, Recorded, Verification
from aether_dagster.snapshot.naming import FINAL, INIT, SnapshotName, parse_folder, parse_name
from aether_dagster.snapshot.opening import OpenedFile, is_sealed
from aether_dagster.snapshot.store import HistoryStore

# What one version makes due is recorded at once; so many may be cut off by a kill.
_CUT_OFF = 2


def verify_execution(
    store: HistoryStore, folder: str, keys: KeyRing | None, recorded: Recorded | None
) -> Verification:
    """Verifies an execution's folder.

    Args:
        store: The history.
        folder: The execution's folder in it.
        keys: What opens sealed files.
        recorded: What the journal recorded; None where no journal knows the execution. Then a
            plain file's content cannot be proven, nor that the last files are there.

    Raises:
        SnapshotError: The folder cannot be listed.
    """
    return _Examination(store, folder, keys, recorded).result()


class _Examination:
    def __init__(
        self, store: HistoryStore, folder: str, keys: KeyRing | None, recorded: Recorded | None
    ):
        self._store, self._folder, self._keys = store, folder, keys
        self._execution = parse_folder(folder) or folder
        self._recorded = recorded
        self._links = {link.name: link for link in recorded.links} if recorded else {}
        self._names = store.names(folder)
        self._findings: list[Finding] = []
        self._locked: dict[str, str] = {}
        self._data: dict[str, bytes] = {}
        self._read()
        self._sealed = self._is_sealed()

    def result(self) -> Verification:
        opened: list[ChainLink] = []
        for name, data in self._data.items():
            what = parse_name(name)
            if what is None:
                self._find("foreign", name, "It is no file of a state history.")
                continue
            link = self._sealed_file(name, what, data) if self._sealed else None
            if link is not None:
                opened.append(link)
            if not self._sealed:
                self._plain_file(name, what, data)
        if self._locked:
            reasons = " ".join(sorted(set(self._locked.values())))
            count = f"{len(self._locked)} of {len(self._names)} files"
            self._find("locked", None, f"{count} cannot be opened. {reasons}")
        if self._recorded is None:
            self._without_journal(opened)
        else:
            self._against(self._recorded, opened)
        return Verification(
            self._execution,
            self._folder,
            self._sealed,
            len(self._names),
            self._recorded is not None,
            tuple(sorted(self._findings, key=self._place)),
        )

    def _read(self) -> None:
        for name in self._names:
            try:
                self._data[name] = self._store.read(self._folder, name)
            except SnapshotError as error:
                kind: Kind = "foreign" if parse_name(name) is None else "damaged"
                self._find(kind, name, str(error))

    def _is_sealed(self) -> bool:
        if self._recorded is not None and self._recorded.links:
            return self._recorded.links[0].sha256 is None
        return self._keys is not None or any(map(is_sealed, self._data.values()))

    def _sealed_file(self, name: str, what: SnapshotName, data: bytes) -> ChainLink | None:
        try:
            content, link = open_sealed(data, self._keys, self._execution, name)
        except Misplaced as error:
            self._find("foreign", name, f"{error} It was put here.")
        except NotSealed:
            self._find("foreign", name, "It is plain; with a key, or among sealed files, none is.")
        except UnknownKey as error:
            # Its link is made of all but the wrapped key, so it tells without any key.
            if name in self._links and parse(data).link != self._links[name].link:
                self._find("damaged", name, "It is not what the journal recorded.")
            else:
                self._locked[name] = str(error)
        except SealError as error:
            self._find("damaged", name, str(error))
        else:
            self._check_content(name, what, content)
            return link
        return None

    def _plain_file(self, name: str, what: SnapshotName, data: bytes) -> None:
        if is_sealed(data):
            self._find("foreign", name, "It is sealed, among plain files.")
            return
        if self._recorded is None or name not in self._links:
            self._check_content(name, what, data)
            return
        digest = hashlib.sha256(data).hexdigest()
        if digest == self._links[name].sha256:
            return
        other = next((link.name for link in self._links.values() if link.sha256 == digest), None)
        if other is not None:
            self._find("foreign", name, f"It holds what was written as {other}.")
        elif not self._check_content(name, what, data):
            self._find("damaged", name, "Its content is not what was written (SHA-256).")

    def _check_content(self, name: str, what: SnapshotName, content: bytes) -> bool:
        """Finds what a content says against its name; returns whether it says something."""
        try:
            document: Any = OpenedFile(name, content, None).document(self._folder)
        except SnapshotError:
            self._find("damaged", name, "It is not JSON.")
            return True
        told = _told(document, what)
        if told is None:
            self._find("damaged", name, "It is not what such a file holds.")
            return True
        if told != _expected(what, self._execution):
            self._find("foreign", name, f"It is of {told}.")
            return True
        return False

    def _without_journal(self, opened: list[ChainLink]) -> None:
        bad = len(self._locked) + len(self._findings)
        if INIT not in self._names:
            self._find("missing", INIT, "Every execution begins with it.")
        elif self._sealed and not bad:
            for message in _gaps(opened):
                self._find("missing", None, message)
        if FINAL not in self._names:
            self._find(
                "unfinished",
                None,
                f"There is no {FINAL}: it has not ended, its process died, or the end was "
                "removed. Its journal would tell.",
            )

    def _against(self, recorded: Recorded, opened: list[ChainLink]) -> None:
        for link in opened:
            known = self._links.get(link.name)
            if known is not None and known.link != link.link:
                self._find("rolled back", link.name, "It is older than what the journal recorded.")
        for name in self._names:
            if name not in self._links and parse_name(name) is not None:
                self._find("foreign", name, "The journal does not know that it was written.")
        last = recorded.links[-1].name if recorded.links else None
        whole = recorded.finalized and last == FINAL
        self._find_missing(recorded, whole=whole)
        if not recorded.finalized:
            self._find(
                "unfinished",
                None,
                "It has not ended: its process goes on, or died (see `aetherscript recover`).",
            )
        elif not whole:
            reason = f": {recorded.error}" if recorded.error else "."
            self._find("unfinished", None, f"Its history was given up before the end{reason}")
        head = recorded.links[-1].link if recorded.links else None
        if recorded.head is not None and recorded.head != head:
            self._find(
                "rolled back",
                None,
                "The tag of its Dagster run names another head than the journal: the journal is "
                "an earlier copy, or was changed.",
            )

    def _find_missing(self, recorded: Recorded, *, whole: bool) -> None:
        present = set(self._names)
        missing = [link.name for link in recorded.links if link.name not in present]
        end = len(recorded.links)
        while end and recorded.links[end - 1].name not in present:
            end -= 1
        gone = [link.name for link in recorded.links[end:]]
        if gone and not whole and len(gone) <= _CUT_OFF:
            missing = missing[: -len(gone)]
        elif len(gone) > 1 and end:
            missing = missing[: -len(gone)]
            self._find(
                "rolled back",
                None,
                f"The folder ends with {recorded.links[end - 1].name}; after it the journal "
                f"recorded {', '.join(gone)}.",
            )
        for name in missing:
            self._find("missing", name, "It was written, and is gone.")

    def _find(self, kind: Kind, file: str | None, message: str) -> None:
        self._findings.append(Finding(kind, file, message))

    def _place(self, finding: Finding) -> tuple[int, int, str]:
        link = self._links.get(finding.file or "")
        worst = len(KINDS) - KINDS.index(finding.kind)
        return (link.seq if link else len(self._links), worst, finding.file or "")


def _told(document: Any, what: SnapshotName) -> str | None:
    """Returns whose state a document is, as it says itself; None where it is none."""
    if not isinstance(document, Mapping):
        return None
    members = cast("Mapping[str, Any]", document)
    match members:
        case {"pipeline": {"id": str(execution)}, "nodes": _, "context": _}:
            return f"{execution} at its {'end' if 'report' in members else 'start'}"
        case {"node_id": str(node), "retry_count": int(retries)}:
            return node if what.kind == "node_final" else f"{node} after attempt {retries + 1}"
        case _:
            return None


def _expected(what: SnapshotName, execution: str) -> str:
    """Returns what `_told` must return of a file's content."""
    match what.kind:
        case "init":
            return f"{execution} at its start"
        case "final":
            return f"{execution} at its end"
        case "node_final":
            return f"{what.node_id}"
        case "attempt":
            return f"{what.node_id} after attempt {what.attempt}"


def _gaps(links: Sequence[ChainLink]) -> Iterator[str]:
    ordered = sorted(links, key=lambda link: link.seq)
    before: ChainLink | None = None
    for link in ordered:
        expected = 0 if before is None else before.seq + 1
        if link.seq > expected:
            gone = f"number {expected}"
            if link.seq > expected + 1:
                gone = f"numbers {expected} to {link.seq - 1}"
            yield f"Before {link.name} files are missing: {gone} of the chain."
        elif link.prev != (None if before is None else before.link):
            yield f"What {link.name} followed is missing; another file has its place."
        before = link
