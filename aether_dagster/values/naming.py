"""Names of stored objects: readable, safe for every file system and URL, never colliding."""

import hashlib
import re

_UNSAFE = re.compile(r"[^A-Za-z0-9_.=-]")
_LONGEST = 140


def segment(name: str) -> str:
    """Make one path segment of a name.

    Letters, digits, `_`, `-`, `=` and `.` stay. Where anything else stood, or the name is too
    long, a digest of the whole name is added, so that two names never share a segment.
    """
    safe = _UNSAFE.sub("_", name)
    if safe == name and len(name) <= _LONGEST and name.strip("."):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{safe[: _LONGEST - 13]}~{digest}"


def object_key(
    *, execution: str, step: str, attempt: int, part: str, sha256: str, extension: str
) -> str:
    """Key of a value in its store: `<execution>/<step>/attempt<N>/<part>.<digest><ext>`.

    The first 16 digits of the content's digest make every object immutable: other content has
    another key.
    """
    name = f"{segment(part)}.{sha256[:16]}{extension}"
    return f"{segment(execution)}/{segment(step)}/attempt{attempt}/{name}"


def pointer_key(asset_key: tuple[str, ...], partition: str | None) -> str:
    """Key of the pointer to an asset's latest value: `latest/<key…>/<partition>.json`."""
    leaf = "unpartitioned" if partition is None else f"partition={segment(partition)}"
    return "/".join(("latest", *(segment(part) for part in asset_key), f"{leaf}.json"))
