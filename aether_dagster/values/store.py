"""The artifact store: immutable values under (execution, step, attempt), and "latest" pointers."""

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from aether_dagster.crypto import KeyRing, no_key
from aether_dagster.errors import SealError, UnknownKey, ValueStoreError
from aether_dagster.values.codecs import decode, encode
from aether_dagster.values.naming import object_key, pointer_key, segment
from aether_dagster.values.objects import Objects, open_objects
from aether_dagster.values.reference import ValueRef
from aether_dagster.values.sealed import SealedObjects

_KEY_SEGMENTS = 4
_SEALED = b'{"protected":"'


@dataclass(frozen=True)
class RemovedReport:
    """What `ValueStore.remove` did.

    Args:
        files: How many objects are gone.
        bytes: Their size.
        failures: One sentence per object which could not be removed.
    """

    files: int
    bytes: int
    failures: tuple[str, ...] = ()


class ValueStore:
    """Stores what steps pass on (spec 7, "Values"; spec 1.4, spilled payloads).

    An object is written once, whole or not at all, under
    `<execution>/<step>/attempt<N>/<part>.<digest>.<ext>`; two runs never share one. References are
    absolute URIs; `get` looks their last four segments up under this store's own root, so a store
    which was moved or is mounted elsewhere still serves them, and nothing outside it is ever read.

    Args:
        url: A local path, a `file:` URI, or any fsspec URL (`s3://…`, `gs://…`).
        durable: Make each write survive a loss of power. A committed value survives the end of its
            process without it.
        keys: Seal values and pointers; what is plain is not read then.

    Raises:
        ValueStoreError: The URL's file system is not installed.
    """

    def __init__(self, url: str, *, durable: bool = False, keys: KeyRing | None = None):
        self._stored: Objects = open_objects(url, durable)
        self._sealed = None if keys is None else SealedObjects(self._stored, keys)
        self._objects = self._stored if self._sealed is None else self._sealed

    @property
    def uri(self) -> str:
        """Where the store is, without credentials."""
        return self._objects.root_uri

    def put(
        self, value: Any, *, execution: str, step: str, attempt: int, part: str = "output"
    ) -> ValueRef:
        """Store a value; storing the same value there again changes nothing.

        Args:
            value: Anything which `encode` takes.
            execution: The pipeline id.
            step: The step's name.
            attempt: Number of the attempt, from 1.
            part: What of the attempt it is: `output`, or the path of a spilled member.

        Raises:
            ValueStoreError: The value cannot be encoded, or the store cannot be written.
        """
        if execution == "latest":
            raise ValueStoreError(
                "An execution cannot be called 'latest'; pointers are kept there."
            )
        encoded = encode(value)
        digest = hashlib.sha256(encoded.data).hexdigest()
        key = object_key(
            execution=execution,
            step=step,
            attempt=attempt,
            part=part,
            sha256=digest if self._sealed is None else self._sealed.digest(digest),
            extension=encoded.extension,
        )
        ref = ValueRef(f"{self.uri}/{key}", digest, len(encoded.data), encoded.media_type)
        try:
            if self._objects.size(key) != ref.bytes:
                self._objects.write(key, encoded.data)
        except OSError as error:
            raise self._refused("written", ref.uri, error) from error
        return ref

    def get(self, ref: ValueRef) -> Any:
        """Load a value, after checking that its bytes are those which were stored.

        Raises:
            ValueStoreError: It is missing, damaged, or not a reference into a value store.
            SealError: It is sealed and cannot be opened, or keys are given and it is plain.
        """
        key = self._key(ref.uri)
        try:
            data = self._objects.read(key)
        except FileNotFoundError as error:
            raise ValueStoreError(
                f"The stored value {ref.uri} is missing in {self.uri}: it was removed, or the "
                "artifact store (AETHERSCRIPT_ARTIFACTS) is another one than when it was stored."
            ) from error
        except OSError as error:
            raise self._refused("read", ref.uri, error) from error
        digest = hashlib.sha256(data).hexdigest()
        if digest != ref.sha256:
            self._check_plain(data, ref.uri)
            raise ValueStoreError(
                f"The stored value {ref.uri} is damaged: {len(data)} bytes with SHA-256 "
                f"{digest[:16]}…, expected {ref.bytes} bytes with {ref.sha256[:16]}…."
            )
        return decode(data, ref.media_type)

    def holds(self, ref: ValueRef) -> bool:
        """Tell whether a value is there, without reading it.

        Raises:
            ValueStoreError: The store cannot be asked, or it is not a reference into one.
        """
        key = self._key(ref.uri)
        try:
            size = self._stored.size(key)
        except OSError as error:
            raise self._refused("read", ref.uri, error) from error
        # What a sealed one holds is shorter than its file.
        return size is not None and (self._sealed is not None or size == ref.bytes)

    def latest(self, asset_key: Sequence[str], partition: str | None) -> ValueRef | None:
        """Give the reference which `set_latest` last kept, or None.

        Raises:
            ValueStoreError: The pointer cannot be read or is damaged.
            SealError: As `get`.
        """
        key = pointer_key(tuple(asset_key), partition)
        try:
            data = self._objects.read(key)
            self._check_plain(data, f"{self.uri}/{key}")
            content = json.loads(data)
            owner = (content["asset_key"], content["partition"])
            ref = ValueRef.from_json(content["value"])
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused("read", f"{self.uri}/{key}", error) from error
        except (ValueError, KeyError, TypeError, ValueStoreError) as error:
            raise ValueStoreError(f"The pointer {self.uri}/{key} is damaged: {error}") from error
        # On a file system which ignores case, another asset's pointer may answer to this name.
        return ref if owner == (list(asset_key), partition) else None

    def set_latest(self, asset_key: Sequence[str], partition: str | None, ref: ValueRef) -> None:
        """Point an asset, or one partition of it, at a stored value; the last caller wins.

        Raises:
            ValueStoreError: The store cannot be written.
        """
        key = pointer_key(tuple(asset_key), partition)
        content = {"asset_key": list(asset_key), "partition": partition, "value": ref.to_json()}
        try:
            # What a killed writer leaves goes with what else its execution leaves; see `remove`.
            beside = self._key(ref.uri).rpartition("/")[0]
            self._objects.write(key, json.dumps(content).encode(), beside)
        except OSError as error:
            raise self._refused("written", f"{self.uri}/{key}", error) from error

    def remove(self, execution: str, keep: Collection[str]) -> RemovedReport:
        """Remove an execution's objects but for those which something still refers to.

        Args:
            execution: The pipeline id. Nothing may be writing its values any more: what a killed
                writer left half-written goes too.
            keep: URIs to keep, as in references. A value which a "latest" pointer names is kept
                only if its URI is among them.
        """
        kept = {self._key(uri) for uri in keep}
        files = size = 0
        failures: list[str] = []
        for key, length in sorted(self._objects.under(segment(execution))):
            if key in kept:
                continue
            try:
                self._objects.remove(key)
            except OSError as error:
                failures.append(str(self._refused("removed", f"{self.uri}/{key}", error)))
            else:
                files, size = files + 1, size + length
        return RemovedReport(files, size, tuple(failures))

    def rekey(self) -> Iterator[tuple[str, bool | SealError]]:
        """Give every value to the first of the store's keys, one by one.

        Yields:
            Its URI, and whether it was sealed with another key; or why it cannot be opened.
        """
        for key, result in () if self._sealed is None else self._sealed.rekey():
            yield f"{self.uri}/{key}", result

    def _check_plain(self, data: bytes, uri: str) -> None:
        if self._sealed is None and data.startswith(_SEALED):
            raise UnknownKey(no_key(f"The stored value {uri}"))

    def _key(self, uri: str) -> str:
        segments = unquote(uri).split("/")[-_KEY_SEGMENTS:]
        if len(segments) < _KEY_SEGMENTS or any(not part.strip(".") for part in segments):
            raise ValueStoreError(f"{uri!r} does not name a stored value.")
        return "/".join(segments)

    def _refused(self, done: str, uri: str, error: OSError) -> ValueStoreError:
        return ValueStoreError(f"{uri} cannot be {done}: {error.strerror or type(error).__name__}.")
