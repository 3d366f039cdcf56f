"""The files of the page, from inside the wheel."""

import mimetypes
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

_INDEX = "index.html"
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class StaticFile:
    """A file as it is served.

    Args:
        body: Its content.
        media_type: For the `Content-Type` header.
    """

    body: bytes
    media_type: str


def page_files() -> dict[str, StaticFile]:
    """Returns every file of the page by its path in the URL; `/` is `index.html`.

    All are read at the start, so that a path in a request is a key and never a file's name.
    """
    found: dict[str, StaticFile] = {}
    _collect(files("aether_dagster.sidecar").joinpath("page"), "/", found)
    if f"/{_INDEX}" in found:
        found["/"] = found[f"/{_INDEX}"]
    return found


def _collect(folder: Traversable, prefix: str, found: dict[str, StaticFile]) -> None:
    for entry in folder.iterdir():
        path = f"{prefix}{entry.name}"
        if entry.is_dir():
            _collect(entry, f"{path}/", found)
        elif not entry.name.startswith("."):
            found[path] = StaticFile(entry.read_bytes(), _media_type(entry.name))


def _media_type(name: str) -> str:
    suffix = f".{name.rpartition('.')[2]}"
    kind = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
