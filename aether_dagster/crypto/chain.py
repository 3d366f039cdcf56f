"""The chain of an execution's files: each knows its place and the file before it (spec 3).

A plain file cannot carry its place. Its link is made of the place and the file's SHA-256, and is
known to the journal alone; so plain and sealed histories have heads of one kind.
"""

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from aether_dagster.crypto.keys import KeyRing
from aether_dagster.crypto.seal import parse, seal, unseal
from aether_dagster.errors import Misplaced, Tampered, UnknownKey


@dataclass(frozen=True)
class ChainLink:
    """One file's place in the chain of its execution.

    Args:
        seq: 0, 1, 2 … in the order of the journal.
        name: The file's name.
        prev: The link of the file before; None for the first.
        link: What the next file names this one by.
        sha256: Of a plain file's bytes, in hex; None for a sealed one, whose bytes a rotation
            of keys changes and whose link holds all that matters.
    """

    seq: int
    name: str
    prev: str | None
    link: str
    sha256: str | None = None


class Chain:
    """Gives the files of an execution their places, in order.

    Args:
        execution: The pipeline id.
        ring: Seals with its first key; None for a plain history.
        links: What the chain holds already.

    Raises:
        UnknownKey: The chain is sealed and there is no key.
    """

    def __init__(
        self, execution: str, ring: KeyRing | None = None, links: Iterable[ChainLink] = ()
    ):
        self._execution = execution
        self.links = list(links)
        if self.links:
            sealed = self.links[0].sha256 is None
            if sealed and ring is None:
                raise UnknownKey(no_key(f"The state history of {execution}"))
            # One folder is of one kind, whatever keys there are by now.
            ring = ring if sealed else None
        self._ring = ring

    @property
    def head(self) -> str | None:
        """The link of the last file; None where there is none yet."""
        return self.links[-1].link if self.links else None

    def add(self, name: str, content: bytes) -> tuple[ChainLink, bytes]:
        """Puts a file at the end.

        Args:
            name: The file's name.
            content: The plain content.

        Returns:
            Its place, and the bytes to be written.
        """
        seq, prev = len(self.links), self.head
        place = _place(self._execution, name, seq, prev)
        if self._ring is None:
            link = plain_link(self._execution, name, seq, prev, content)
            data = content
        else:
            sealed = seal(content, self._ring.first, place)
            link, data = ChainLink(seq, name, prev, sealed.link), sealed.render()
        self.links.append(link)
        return link, data


def plain_link(execution: str, name: str, seq: int, prev: str | None, content: bytes) -> ChainLink:
    """Returns the place of a plain file, made of its content."""
    place = base64.urlsafe_b64encode(_place(execution, name, seq, prev)).rstrip(b"=").decode()
    digest = hashlib.sha256(content).hexdigest()
    link = hashlib.sha256(f"{place}.{digest}".encode("ascii")).hexdigest()
    return ChainLink(seq, name, prev, f"sha256:{link}", digest)


def open_sealed(
    data: bytes, ring: KeyRing | None, execution: str, name: str
) -> tuple[bytes, ChainLink]:
    """Opens a sealed file, and proves that it stands where it was put.

    Args:
        data: The file.
        ring: The keys.
        execution: The pipeline id of the folder in which it lies.
        name: The name under which it lies.

    Returns:
        Its content and its place.

    Raises:
        Misplaced: It is another file, or of another execution.
        UnknownKey: There is no key, or none of that id.
        SealError: As `unseal`.
    """
    if ring is None:
        parse(data)
        raise UnknownKey(no_key("It"))
    opened = unseal(data, ring)
    try:
        place: Any = json.loads(opened.associated)
    except ValueError as error:
        raise Tampered("What it was sealed together with is no JSON.") from error
    match place:
        case {
            "execution": str(of),
            "name": str(called),
            "prev": str() | None as prev,
            "seq": int(seq),
        } if len(cast("dict[str, Any]", place)) == 4:
            if (of, called) != (execution, name):
                raise Misplaced(of, called)
            return opened.plaintext, ChainLink(seq, name, prev, opened.link)
        case _:
            raise Tampered("What it was sealed together with is no place in a history.")


def no_key(what: str) -> str:
    """Returns the sentence which says that a key is needed."""
    return (
        f"{what} is sealed and no key was given; give it with --state-encryption-key or "
        "AETHERSCRIPT_STATE_KEY."
    )


def _place(execution: str, name: str, seq: int, prev: str | None) -> bytes:
    # Of texts and an integer in sorted order this is RFC 8785, at a fifth of the time.
    place = {"execution": execution, "name": name, "prev": prev, "seq": seq}
    return json.dumps(place, ensure_ascii=False, separators=(",", ":")).encode()
