"""Where keys come from: `env:`, `file:`, `fd:`, `cmd:`, or the key itself (spec 3)."""

import os
import re
import shlex
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from aether_dagster.crypto.keys import Key, KeyRing, parse_keys
from aether_dagster.errors import SettingsError

KEY_VARIABLE = "AETHERSCRIPT_STATE_KEY"

_REFERENCE = re.compile(r"(env|file|fd|cmd):(.*)", re.DOTALL)
_COMMAND_SECONDS = 60.0
# A key, or a JWK Set of many; whatever is longer was meant for something else.
_LONGEST = 65_536


def read_keys(
    references: Sequence[str],
    environ: Mapping[str, str],
    *,
    on_literal: Callable[[], None] | None = None,
) -> KeyRing | None:
    """Reads keys, each from where its reference says.

    Args:
        references: The first names the key which seals. With none, `AETHERSCRIPT_STATE_KEY` does,
            which holds a key or a reference.
        environ: The process's environment.
        on_literal: Called where a reference is the key itself, which a command line shows to
            other users.

    Returns:
        The keys; None where neither references nor the variable name any.

    Raises:
        SettingsError: A reference leads to no key; the message never holds what was read.
    """
    given = list(references)
    if not given:
        if KEY_VARIABLE not in environ:
            return None
        given = [f"env:{KEY_VARIABLE}"]
    keys: list[Key] = []
    for reference in given:
        keys += _read(reference, environ, on_literal)
    return KeyRing(keys)


def is_lasting(reference: str) -> bool:
    """Tells whether any process can read the reference, whenever and as often as it likes."""
    match = _REFERENCE.fullmatch(reference)
    return match is not None and match[1] in ("env", "file")


def is_literal(reference: str) -> bool:
    """Tells whether a reference is none, and so the key itself."""
    return _REFERENCE.fullmatch(reference) is None


def anchored(reference: str, directory: Path) -> str:
    """Returns the reference with a relative `file:` below a folder."""
    match = _REFERENCE.fullmatch(reference)
    if match is None or match[1] != "file":
        return reference
    return f"file:{directory.absolute() / Path(match[2]).expanduser()}"


def _read(
    reference: str, environ: Mapping[str, str], on_literal: Callable[[], None] | None
) -> list[Key]:
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        keys = parse_keys(reference, "The given state encryption key")
        if on_literal is not None:
            on_literal()
        return keys
    kind, place = match.groups()
    if kind == "env":
        if place not in environ:
            raise SettingsError(
                f"The key is to be read from the environment variable {place!r}, which is not set."
            )
        value = environ[place]
        if place == KEY_VARIABLE and _REFERENCE.fullmatch(value) is not None:
            return _read(value, {**environ, KEY_VARIABLE: ""}, None)
        return parse_keys(value, f"The environment variable {place!r}")
    readers = {"file": _from_file, "fd": _from_descriptor, "cmd": _from_command}
    data, named = readers[kind](place)
    return parse_keys(_one_line(data, named), named)


def _from_file(place: str) -> tuple[bytes, str]:
    path = Path(place).expanduser()
    named = f"The key file {path}"
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) and not stat.S_ISFIFO(status.st_mode):
                raise SettingsError(f"{named} is no file.")
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise SettingsError(
                    f"{named} can be read by others (mode {stat.S_IMODE(status.st_mode):04o}); "
                    f"take that from them: chmod 600 {shlex.quote(str(path))}"
                )
            return file.read(_LONGEST + 1), named
    except OSError as error:
        raise SettingsError(f"{named} cannot be read: {error.strerror}.") from error


def _from_descriptor(place: str) -> tuple[bytes, str]:
    named = f"The descriptor {place!r} for the key"
    try:
        number = int(place)
        with os.fdopen(os.dup(number), "rb") as file:
            return file.read(_LONGEST + 1), named
    except ValueError:
        raise SettingsError(f"{named} is no number; write it like fd:3.") from None
    except OSError as error:
        raise SettingsError(f"{named} cannot be read: {error.strerror}.") from error


def _from_command(place: str) -> tuple[bytes, str]:
    # Of the command only its first word is told: the others may hold what is secret.
    shown = (place.split() or [""])[0]
    named = f"What the key command {shown!r} prints"
    try:
        ended = subprocess.run(  # noqa: S602 - a shell command is what the user wrote
            place,
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SettingsError(
            f"The key command {shown!r} did not end within {_COMMAND_SECONDS:.0f} s."
        ) from None
    if ended.returncode != 0:
        raise SettingsError(f"The key command {shown!r} failed with status {ended.returncode}.")
    return ended.stdout, named


def _one_line(data: bytes, named: str) -> str:
    if len(data) > _LONGEST:
        raise SettingsError(f"{named} is longer than any key.")
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise SettingsError(f"{named} is not text; write the key in base64url or hex.") from None
    # Whatever writes a line ends it; a second line is a mistake which `parse_keys` tells.
    return text.removesuffix("\n").removesuffix("\r")
