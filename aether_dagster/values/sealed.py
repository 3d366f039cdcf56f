"""Objects whose content is sealed, each bound to its key, so that none stands for another."""

import hashlib
import hmac
from collections.abc import Iterator

from aether_dagster.crypto import KeyRing, rewrap, seal, unseal
from aether_dagster.errors import SealError, Tampered
from aether_dagster.values.objects import Objects


class SealedObjects:
    """Seals what is written to another place, and opens what is read from it.

    Args:
        objects: The place.
        keys: The first seals, all open.
    """

    def __init__(self, objects: Objects, keys: KeyRing):
        self._objects, self._keys = objects, keys
        self.root_uri = objects.root_uri

    def digest(self, sha256: str) -> str:
        """Returns what a content is named by: its digest would tell short contents."""
        secret = self._keys.first.secret
        return hmac.new(secret, f"aether-value {sha256}".encode(), hashlib.sha256).hexdigest()

    def write(self, key: str, data: bytes, aside: str | None = None) -> None:
        """Seal and store an object; see `Objects`."""
        sealed = seal(data, self._keys.first, key.encode(), "value")
        self._objects.write(key, sealed.render(), aside)

    def read(self, key: str) -> bytes:
        """Give an object's content.

        Raises:
            FileNotFoundError: There is none.
            SealError: It cannot be opened, is plain, or is another object.
        """
        data = self._objects.read(key)
        try:
            opened = unseal(data, self._keys, "value")
            _check(opened.associated, key)
        except SealError as error:
            error.args = (f"The stored value {self.root_uri}/{key} cannot be opened. {error}",)
            raise
        return opened.plaintext

    def size(self, key: str) -> int | None:
        """Give the size of an object's content, or None where there is none which opens."""
        try:
            return len(self.read(key))
        except (FileNotFoundError, SealError):
            return None

    def under(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Give key and stored size of every object under a folder."""
        return self._objects.under(prefix)

    def remove(self, key: str) -> None:
        """Remove an object; see `Objects`."""
        self._objects.remove(key)

    def rekey(self) -> Iterator[tuple[str, bool | SealError]]:
        """Give every object to the first key, one by one.

        Yields:
            Its key, and whether it was sealed with another key; or why it cannot be opened.
        """
        for key, _ in sorted(self._objects.under("")):
            try:
                data = self._objects.read(key)
                moved = rewrap(data, self._keys, "value")
            except FileNotFoundError:
                continue
            except SealError as error:
                yield key, error
                continue
            if moved != data:
                self._objects.write(key, moved)
            yield key, moved != data


def _check(associated: bytes, key: str) -> None:
    if associated != key.encode():
        raise Tampered(f"It is {associated.decode(errors='replace')}.")
