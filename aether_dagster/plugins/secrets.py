"""Where `${secrets.NAME}` comes from: the secret store of a document, by its URL's scheme."""

from collections.abc import Callable, Mapping
from functools import cached_property
from importlib import import_module
from urllib.parse import urlsplit

from aether_dagster.errors import PluginError

SecretReader = Callable[[str], str]
"""Gives a secret by its name; a LookupError says that there is none."""

_BUILT_IN = {
    "env": "aether_dagster.plugins.env_secrets",
    "file": "aether_dagster.plugins.file_secrets",
    "vault": "aether_dagster.plugins.vault_secrets",
}


def secret_reader(
    store: str | None,
    environ: Mapping[str, str],
    stores: Mapping[str, Callable[[str], SecretReader]] | None = None,
) -> SecretReader:
    """Returns what reads secrets of a store by name; it raises KeyError where there is none.

    The store is opened when the first secret is read, and each secret is read once.

    Args:
        store: The document's `secret_store`: `env://`, or `env://PREFIX_` for the environment
            variables which begin so; `file:///PATH` for a sealed file; `vault://MOUNT/PATH`; or a
            URL of a plugin's scheme. None reads the environment.
        environ: The process environment.
        stores: What opens a store, by the schemes which plugins bring.

    Raises:
        PluginError: From the reader: nothing here provides secrets of that scheme, or the store
            cannot be read.
    """
    return _Reader(store or "env://", environ, stores or {})


class _Reader:
    def __init__(
        self,
        store: str,
        environ: Mapping[str, str],
        stores: Mapping[str, Callable[[str], SecretReader]],
    ):
        self._store, self._environ, self._stores = store, environ, stores
        self._known: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        if name not in self._known:
            self._known[name] = self._read(name)
        return self._known[name]

    @cached_property
    def _read(self) -> SecretReader:
        scheme = urlsplit(self._store).scheme
        if scheme in self._stores:
            return self._stores[scheme](self._store)
        if scheme in _BUILT_IN:
            return import_module(_BUILT_IN[scheme]).open_store(self._store, self._environ)
        known = ", ".join(f"{name}://" for name in [*_BUILT_IN, *sorted(self._stores)])
        raise PluginError(
            f"No provider for the secret store {self._store!r} is installed; there is {known}. "
            "A plugin which provides it must be listed under plugins:."
        )
