"""What the commands which start a sidecar have in common: options, token, journal, URL."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aether_dagster.errors import SettingsError

if TYPE_CHECKING:
    from aether_dagster.sidecar import SidecarSettings

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8787
DEFAULT_RATE = 4.0
# As `AetherSettings.journal_url` has it for the embedded instance, but without Dagster's seconds.
_EMBEDDED_JOURNAL = ".aether/aether_journal.db"
_FREE_PORT = 0

F = TypeVar("F", bound=Callable[..., Any])

rate_option = click.option(
    "--vis-update-rate",
    "rate",
    type=click.FloatRange(min=0.01, max=100),
    default=DEFAULT_RATE,
    show_default=True,
    metavar="HZ",
    help="Frames a second; below 4, what can wait is slower, but never an outcome.",
)


@dataclass(frozen=True)
class Listening:
    """What the options say about how to listen; fields as of `SidecarSettings`."""

    host: str
    port: int | None
    token: Path | None
    rate: float
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None


def listening_options(function: F) -> F:
    """Adds the options of how to listen to a command, which is given them as one `Listening`."""
    path = click.Path(path_type=Path, dir_okay=False)

    @click.pass_context
    def command(
        ctx: click.Context,
        *,
        host: str,
        port: int | None,
        token: Path | None,
        rate: float,
        allow_host: tuple[str, ...],
        allow_origin: tuple[str, ...],
        tls_cert: Path | None,
        tls_key: Path | None,
        **others: Any,
    ) -> Any:
        listening = Listening(host, port, token, rate, allow_host, allow_origin, tls_cert, tls_key)
        return ctx.invoke(function, listening=listening, **others)

    options = [
        click.option("--host", default=DEFAULT_HOST, show_default=True, help="Where to listen."),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            help=f"Left out, {DEFAULT_PORT} or any free port.",
        ),
        click.option(
            "--token",
            type=path,
            envvar="AETHERSCRIPT_TOKEN_FILE",
            show_envvar=True,
            metavar="FILE",
            help="The file with the token, which only you can read; made where there is none.",
        ),
        rate_option,
        click.option(
            "--allow-host", multiple=True, metavar="NAME", help="Another name of this machine."
        ),
        click.option(
            "--allow-origin",
            multiple=True,
            metavar="ORIGIN",
            help="A foreign page which may connect and embed, as https://example.org.",
        ),
        click.option("--tls-cert", type=path, help="The TLS certificate; needed off loopback."),
        click.option("--tls-key", type=path, help="Its private key."),
    ]
    for option in reversed(options):
        command = option(command)
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    return command  # type: ignore[return-value]


def sidecar_settings(listening: Listening) -> "SidecarSettings":
    """Returns the sidecar's settings, its token read from its file.

    Raises:
        SettingsError: The token's file can be read by others, or the extra is not installed.
    """
    try:
        from aether_dagster.sidecar import SidecarSettings
        from aether_dagster.sidecar.security import read_token
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{error.name} is not installed; the live view needs: pip install "
            "'aether-dagster[live]'"
        ) from None
    return SidecarSettings(
        token=read_token(listening.token or token_file(os.environ)),
        host=listening.host,
        port=port_of(listening),
        rate=listening.rate,
        hosts=listening.hosts,
        origins=listening.origins,
        certificate=listening.certificate,
        key=listening.key,
    )


def token_file(environ: Mapping[str, str]) -> Path:
    """Returns where a user's token lies unless it is said."""
    state = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "aetherscript" / "sidecar.token"


def journal_url(given: str | None, directory: Path) -> str:
    """Returns the journal which a run in this folder would write.

    Args:
        given: What the command line or the environment says.
        directory: The folder.
    """
    if given:
        return given
    if not os.environ.get("DAGSTER_HOME"):
        return str(directory / _EMBEDDED_JOURNAL)
    from aether_dagster.orchestration.instance import open_instance
    from aether_dagster.orchestration.settings import AetherSettings

    with open_instance(os.environ, directory) as instance:
        return AetherSettings().anchored(directory).journal_url(instance)


def announce(settings: "SidecarSettings", file: Path, page: str) -> Callable[[str], None]:
    """Returns what tells a user where the page is.

    The token is only said to a terminal: elsewhere, what is printed is kept.

    Args:
        settings: With the token.
        file: Where the token lies.
        page: What the page shows first: a pipeline id, or `latest`.
    """

    def tell(url: str) -> None:
        if sys.stdout.isatty():
            click.echo(f"Live at {url}#token={settings.token}&execution={page}")
            click.echo("Ctrl-C ends it.")
        else:
            click.echo(f"Live at {url}  (the token is in {file})")

    return tell


def port_of(listening: Listening) -> int:
    """Returns the port to listen on: the given one, the default one, or 0 for any."""
    if listening.port is not None:
        return listening.port
    import socket

    with socket.socket(socket.AF_INET6 if ":" in listening.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listening.host, DEFAULT_PORT))
        except OSError:
            return _FREE_PORT
    return DEFAULT_PORT
