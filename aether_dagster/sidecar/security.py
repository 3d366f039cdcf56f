"""Who may connect: token, Host and Origin, and the headers of every answer (spec 4, "Security")."""

import hmac
import ipaddress
import os
import secrets
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from websockets.datastructures import Headers

from aether_dagster.errors import SettingsError

TOKEN_PROTOCOL = "aetherscript.token."  # noqa: S105 - what stands before a token
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_TOKEN_BYTES = 32


def is_loopback(host: str) -> bool:
    """Tells whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(file: Path) -> str:
    """Returns the token in a file which only its owner can read; makes it where there is none.

    Raises:
        SettingsError: Others can read the file, or it holds less than 256 bits.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return _new_token(file)
    with os.fdopen(descriptor, encoding="utf-8") as stream:
        facts = os.fstat(stream.fileno())
        if stat.S_IMODE(facts.st_mode) & 0o077 or facts.st_uid != os.geteuid():
            raise SettingsError(
                f"The token file {file} can be read by others; make it yours alone with "
                f"`chmod 600 {file}`, or delete it and a new one is made."
            )
        token = stream.read().strip()
    if len(token) < _TOKEN_BYTES * 4 // 3 or not token.isascii() or not token.isprintable():
        raise SettingsError(f"The token file {file} holds no token; delete it and one is made.")
    return token


def _new_token(file: Path) -> str:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    whole = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(token + "\n")
    try:
        # A link fails where a process which started at the same time was first.
        file.hardlink_to(whole)
    except FileExistsError:
        return read_token(file)
    finally:
        whole.unlink()
    return token


@dataclass(frozen=True)
class Gate:
    """What a request must say to be let in.

    Args:
        token: The token.
        hosts: Names by which the sidecar may be called, without ports: a port may be forwarded.
        origins: Foreign pages which may connect and hold the page in a frame.
        secure: Whether the sidecar speaks TLS.
    """

    token: str
    hosts: Collection[str]
    origins: Sequence[str] = ()
    secure: bool = False

    def refusal(self, headers: Headers) -> str | None:
        """Returns why a request is refused whoever makes it, or None."""
        hosts = headers.get_all("Host")
        if len(hosts) != 1 or _name(hosts[0]) not in self.hosts:
            return "This is not a name of this sidecar; see --allow-host."
        own = f"{'https' if self.secure else 'http'}://{hosts[0]}"
        for origin in headers.get_all("Origin"):
            if origin.lower() not in (own.lower(), *self.origins):
                return "Pages of this origin may not connect; see --allow-origin."
        return None

    def authorized(self, headers: Headers, protocols: Sequence[str]) -> bool | None:
        """Tells whether the token of a request is right; None where it has none."""
        given = [name.removeprefix(TOKEN_PROTOCOL) for name in protocols if _is_token(name)]
        for header in headers.get_all("Authorization"):
            scheme, _, value = header.partition(" ")
            given.append(value.strip() if scheme.lower() == "bearer" else "")
        return all(map(self.matches, given)) if given else None

    def matches(self, given: str) -> bool:
        """Compares a token in a time which does not depend on where they differ."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def headers(self, *, embedded: bool = False) -> dict[str, str]:
        """Returns the headers which every answer carries.

        Args:
            embedded: The page asks to stand in a frame of its own or an allowed origin.
        """
        ancestors = " ".join(("'self'", *self.origins)) if embedded else "'none'"
        policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            f"font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            f"frame-ancestors {ancestors}"
        )
        return {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "cross-origin" if embedded else "same-origin",
            "Cache-Control": "no-store",
        }


def _is_token(name: str) -> bool:
    return name.startswith(TOKEN_PROTOCOL)


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
