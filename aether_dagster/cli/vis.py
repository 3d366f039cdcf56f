"""The option `--vis` of `aetherscript run`."""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Self

import click

from aether_dagster.cli.serving import DEFAULT_HOST
from aether_dagster.errors import SettingsError

_ADDRESS = re.compile(r"(?:(?P<host>(?!\d+$)[^:\[\]]+|\[[^\]]+\])(?::|$))?(?P<port>\d{1,5})?")
_LOOPBACK = re.compile(r"localhost|127(\.\d+){3}|::1")


@dataclass(frozen=True)
class Vis:
    """How a run is to be watched.

    Args:
        host: Where the sidecar listens.
        port: None takes the default one or any which is free.
        rate: Frames a second.
        browser: Whether to open the page.
    """

    host: str
    port: int | None
    rate: float
    browser: bool

    @classmethod
    def parse(cls, address: str, rate: float, *, browser: bool) -> Self:
        """Reads `HOST:PORT`, `HOST`, `PORT` or nothing.

        Raises:
            SettingsError: It is none of them, or others than this machine could reach it.
        """
        match = _ADDRESS.fullmatch(address)
        if match is None or int(match["port"] or 0) > 65535:
            raise SettingsError(f"--vis={address} is no address; use --vis=HOST:PORT.")
        host = (match["host"] or DEFAULT_HOST).strip("[]")
        if _LOOPBACK.fullmatch(host) is None:
            raise SettingsError(
                f"--vis={address}: other machines can reach {host}, which needs TLS. Start "
                "`aetherscript sidecar --tls-cert … --tls-key …` beside the run instead."
            )
        for module in ("websockets", "orjson"):
            if find_spec(module) is None:
                raise SettingsError(
                    f"{module} is not installed; the live view needs: pip install "
                    "'aether-dagster[live]'"
                )
        return cls(host, int(match["port"]) if match["port"] else None, rate, browser)


class RunCommand(click.Command):
    """A command whose option `--vis` may stand without a value, before an argument too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command.parse_args`."""
        return super().parse_args(ctx, ["--vis=" if word == "--vis" else word for word in args])
