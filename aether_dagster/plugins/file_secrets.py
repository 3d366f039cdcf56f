"""Secrets in a sealed file: `file:///PATH`, a JSON object sealed with the state's key (spec 3)."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from aether_dagster.crypto import read_keys, unseal
from aether_dagster.errors import PluginError, SealError


def open_store(url: str, environ: Mapping[str, str]) -> Callable[[str], str]:
    """Returns what reads a secret of a sealed file.

    Args:
        url: `file:///absolute/path`, or `file://relative/path` from the working directory.
        environ: `AETHERSCRIPT_STATE_KEY` in it is the key, or says where the key is.

    Raises:
        PluginError: The file or its key cannot be read, or it holds no JSON object.
    """
    address = urlsplit(url)
    file = Path(unquote(address.netloc + address.path))
    ring = read_keys((), environ)
    if ring is None:
        raise PluginError(f"The secrets in {file} are sealed: set AETHERSCRIPT_STATE_KEY.")
    try:
        secrets: Any = json.loads(unseal(file.read_bytes(), ring).plaintext)
    except OSError as error:
        raise PluginError(f"The secrets in {file} cannot be read: {error.strerror}.") from None
    except SealError as error:
        raise PluginError(f"The secrets in {file} cannot be opened: {error}") from None
    except ValueError:
        raise PluginError(f"{file} holds no JSON object of secrets.") from None
    if not isinstance(secrets, dict):
        raise PluginError(f"{file} holds no JSON object of secrets.")
    known = cast("dict[str, Any]", secrets)
    return lambda name: str(known[name])
