"""What versions hold, sealed: each execution has a key of its own, sealed with the ring's (spec 3).

So a rotation of keys touches one row of an execution, and a payload is never sealed again. An
execution which was begun plain stays plain; one which was begun sealed holds nothing plain.
"""

import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import rfc8785
from sqlalchemy import bindparam, delete, select, update

from aether_dagster.crypto import Key, KeyRing, no_key, rewrap, seal, unseal
from aether_dagster.errors import SealError, Tampered, UnknownKey
from aether_dagster.journal.schema import payload_keys
from aether_dagster.journal.statement import Statement
from aether_dagster.state import ids

if TYPE_CHECKING:
    from aether_dagster.journal.statement import Session

_SEALED = '{"protected":'
# Who commits reads it back at once, and so do those who follow in the same process.
_REMEMBERED = 64
_k = payload_keys.c
_INSERT = Statement(
    lambda insert: insert(payload_keys).values(
        execution=bindparam("execution"), sealed=bindparam("sealed")
    )
)
_DELETE = Statement(lambda _: delete(payload_keys).where(_k.execution == bindparam("execution")))
_SELECT = Statement(lambda _: select(_k.sealed).where(_k.execution == bindparam("execution")))
_NEXT = Statement(
    lambda _: (
        select(_k.execution, _k.sealed)
        .where(_k.execution > bindparam("after"))
        .order_by(_k.execution)
        .limit(1)
    )
)
_UPDATE = Statement(
    lambda _: (
        update(payload_keys)
        .where(_k.execution == bindparam("of"))
        .values(sealed=bindparam("new_sealed"))
    )
)


class Payloads:
    """Seals and opens payloads in this process.

    Args:
        keys: The ring; None seals nothing and opens nothing.
    """

    def __init__(self, keys: KeyRing | None):
        self._keys = keys
        self._known: dict[int, KeyRing | None] = {}
        self._sealed: OrderedDict[tuple[int, str], tuple[str, str]] = OrderedDict()
        self._guard = threading.Lock()
        self._pid = os.getpid()

    def begin(self, session: "Session", execution: int) -> None:
        """Gives an execution which is being created a key of its own, if there is a ring."""
        if self._keys is None:
            return
        place = _place(execution, "key")
        sealed = seal(Key.generate().secret, self._keys.first, place, "journal")
        session.run(_INSERT, execution=execution, sealed=sealed.render().decode("ascii"))

    def renumber(self, session: "Session", old: int, new: int) -> None:
        """Gives an execution which was renumbered, and has no payload yet, another key."""
        if session.run(_DELETE, execution=old):
            self.begin(session, new)
        self._known.clear()

    def seal(self, session: "Session", execution: int, place: str, text: str) -> str:
        """Returns what is stored of a payload: sealed, where its execution is.

        Args:
            session: Any transaction.
            execution: Its number.
            place: What it is of the execution, the same whenever it is read.
            text: The payload.

        Raises:
            UnknownKey: The execution is sealed, and there is no key for it.
        """
        ring = self._ring(session, execution)
        if ring is None:
            return text
        sealed = seal(text.encode(), ring.first, _place(execution, place), "journal")
        stored = sealed.render().decode("ascii")
        with self._locked():
            self._sealed[execution, place] = stored, text
            while len(self._sealed) > _REMEMBERED:
                self._sealed.popitem(last=False)
        return stored

    def open(self, session: "Session", execution: int, place: str, text: str) -> str:
        """Returns the payload of what was stored.

        Raises:
            SealError: It cannot be opened, or stands where it was not put.
        """
        if self._keys is None and not text.startswith(_SEALED):
            return text
        ring = self._ring(session, execution)
        if ring is None:
            return text
        with self._locked():
            stored, payload = self._sealed.get((execution, place), (None, ""))
        if stored == text:
            return payload
        try:
            return _open(text, ring, _place(execution, place)).decode()
        except SealError as error:
            what = f"In the journal {ids.pipeline_id(execution)} ({place}) cannot be opened."
            error.args = (f"{what} {error}",)
            raise

    def rekey(self, session: "Session", after: int) -> tuple[int, bool] | None:
        """Seals the next execution's key with the first key of the ring.

        Args:
            session: A write transaction.
            after: The number of the execution before.

        Returns:
            The execution's number, and whether its key was sealed with another key before; None
            where there is no next one.
        """
        assert self._keys is not None, "a rotation has keys"
        row = session.row(_NEXT, after=after)
        if row is None:
            return None
        execution, sealed = row
        wrapped = rewrap(sealed.encode(), self._keys, "journal").decode("ascii")
        if wrapped != sealed:
            session.run(_UPDATE, of=execution, new_sealed=wrapped)
        return execution, wrapped != sealed

    def _locked(self) -> threading.Lock:
        if os.getpid() != self._pid:
            # Some thread of the parent may have held it when this process was forked.
            self._guard, self._pid = threading.Lock(), os.getpid()
        return self._guard

    def _ring(self, session: "Session", execution: int) -> KeyRing | None:
        if execution not in self._known:
            row = session.row(_SELECT, execution=execution)
            self._known[execution] = None if row is None else self._open_key(execution, row[0])
        return self._known[execution]

    def _open_key(self, execution: int, sealed: str) -> KeyRing:
        pipeline_id = ids.pipeline_id(execution)
        if self._keys is None:
            raise UnknownKey(no_key(f"What the journal holds of {pipeline_id}"))
        try:
            return KeyRing([Key(_open(sealed, self._keys, _place(execution, "key")))])
        except SealError as error:
            error.args = (f"What the journal holds of {pipeline_id} cannot be opened. {error}",)
            raise


def _open(text: str, ring: KeyRing, place: bytes) -> bytes:
    opened = unseal(text.encode("utf-8", "surrogatepass"), ring, "journal")
    if opened.associated != place:
        raise Tampered("It was sealed for another place.")
    return opened.plaintext


def _place(execution: int, place: str) -> bytes:
    return rfc8785.dumps({"execution": ids.pipeline_id(execution), "place": place})
