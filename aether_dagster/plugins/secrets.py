"""Where `${secrets.NAME}` comes from: the secret store of a document, by its URL's scheme."""

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from aether_dagster.errors import PluginError

SecretReader = Callable[[str], str]


def secret_reader(store: str | None, environ: Mapping[str, str]) -> SecretReader:
    """Returns what reads secrets of a store by name; it raises KeyError where there is none.

    Args:
        store: The document's `secret_store`: `env://`, or `env://PREFIX_` for the environment
            variables which begin so. None reads the environment too.
        environ: The process environment.

    Raises:
        PluginError: From the reader: nothing here provides secrets of that scheme.
    """

    def read(name: str) -> str:
        address = urlsplit(store or "env://")
        if address.scheme != "env":
            raise PluginError(
                f"No provider for the secret store {store!r} is installed; env:// is built in."
            )
        return environ[f"{address.netloc}{name}"]

    return read
