"""Secrets in a sealed file: `file:///PATH`, a JSON object of texts, sealed as state is (spec 3)."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from aether_dagster.crypto import KEY_VARIABLE, KeyRing, read_keys, seal, unseal
from aether_dagster.crypto.sources import is_literal
from aether_dagster.errors import PluginError, SealError

# It says what the file is, to whoever opens it with another tool; it is not secret.
_ASSOCIATED = b'{"name":"secrets"}'


def open_store(url: str, environ: Mapping[str, str]) -> Callable[[str], str]:
    """Returns what reads a secret of a sealed file.

    Args:
        url: `file:///absolute/path`, or `file://relative/path` from the working directory.
            `?key=env:NAME` (or `file:PATH`, `cmd:COMMAND`) says where its key is.
        environ: Without `?key=`, `AETHERSCRIPT_STATE_KEY` in it is the key, or says where it is.

    Raises:
        PluginError: The file or its key cannot be read, or it holds no JSON object.
        SettingsError: A reference leads to no key.
    """
    address = urlsplit(url)
    file = Path(unquote(address.netloc + address.path))
    references = parse_qs(address.query).get("key", [])
    if any(is_literal(reference) for reference in references):
        raise PluginError(
            f"The key of {file} stands in the URL of its secret store; write where it is: "
            "?key=env:NAME, ?key=file:PATH or ?key=cmd:COMMAND."
        )
    ring = read_keys(references, environ)
    if ring is None:
        raise PluginError(f"The secrets in {file} are sealed: set {KEY_VARIABLE}.")
    return read_secrets(file, ring).__getitem__


def read_secrets(file: Path, ring: KeyRing) -> dict[str, str]:
    """Returns the secrets of a sealed file, by name.

    Raises:
        PluginError: It cannot be read or opened, or holds no JSON object.
    """
    try:
        secrets: Any = json.loads(unseal(file.read_bytes(), ring, "secrets").plaintext)
    except OSError as error:
        raise PluginError(f"The secrets in {file} cannot be read: {error.strerror}.") from None
    except SealError as error:
        raise PluginError(f"The secrets in {file} cannot be opened: {error}") from None
    except ValueError:
        raise PluginError(f"{file} holds no JSON object of secrets.") from None
    if not isinstance(secrets, dict):
        raise PluginError(f"{file} holds no JSON object of secrets.")
    return {name: str(value) for name, value in cast("dict[str, Any]", secrets).items()}


def write_secrets(file: Path, secrets: Mapping[str, str], ring: KeyRing) -> None:
    """Seals secrets with the first key of a ring, into a file which its owner alone can read.

    The file is whole or as it was before.

    Raises:
        OSError: It cannot be written.
    """
    text = json.dumps(dict(sorted(secrets.items())), ensure_ascii=False)
    sealed = seal(text.encode(), ring.first, _ASSOCIATED, "secrets").render()
    descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.absolute().parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(sealed)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(file)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
