"""Secrets in HashiCorp Vault, KV version 2: `vault://MOUNT/PATH`."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from aether_dagster.errors import PluginError

_SECONDS = 15


def open_store(url: str, environ: Mapping[str, str]) -> Callable[[str], str]:
    """Returns what reads secrets of a KV version 2 engine.

    `vault://MOUNT/PATH` reads member NAME of the secret at PATH; `vault://MOUNT` reads member
    `value` of the secret NAME. `?address=` stands in for `VAULT_ADDR`.

    Args:
        url: The store.
        environ: `VAULT_ADDR`, `VAULT_TOKEN` and, if it is used, `VAULT_NAMESPACE`.

    Raises:
        PluginError: The extra `vault` is not installed, or the variables are not set. From what is
            returned: Vault cannot be reached, or refuses.
    """
    address = urlsplit(url)
    mount, path = address.netloc, unquote(address.path).strip("/")
    server = parse_qs(address.query).get("address", [environ.get("VAULT_ADDR", "")])[0]
    token = environ.get("VAULT_TOKEN", "")
    if not (server and token and mount):
        raise PluginError(
            f"The secret store {url!r} needs VAULT_ADDR and VAULT_TOKEN, and a mount: "
            "vault://MOUNT/PATH."
        )
    try:
        hvac: Any = import_module("hvac")
    except ImportError:
        raise PluginError(
            "The secret store vault:// needs hvac: pip install 'aether-dagster[vault]'."
        ) from None
    client = hvac.Client(
        url=server, token=token, namespace=environ.get("VAULT_NAMESPACE"), timeout=_SECONDS
    )

    @lru_cache(maxsize=256)
    def read(place: str) -> Mapping[str, Any]:
        try:
            answer = client.secrets.kv.v2.read_secret_version(
                path=place, mount_point=mount, raise_on_deleted_version=True
            )
        except hvac.exceptions.InvalidPath:
            raise KeyError(place) from None
        except Exception as error:  # noqa: BLE001 - the transport has errors of its own
            # Its text may quote the request; the class says enough.
            raise PluginError(
                f"Vault at {server} gave no secret {mount}/{place}: {type(error).__name__}."
            ) from None
        return answer["data"]["data"]

    def secret(name: str) -> str:
        return str(read(path)[name] if path else read(name)["value"])

    return secret
