"""Secrets in environment variables: `env://`, or `env://PREFIX_`."""

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit


def open_store(url: str, environ: Mapping[str, str]) -> Callable[[str], str]:
    """Returns what reads a secret from the variable of its name, after the URL's prefix."""
    prefix = urlsplit(url).netloc
    return lambda name: environ[f"{prefix}{name}"]
