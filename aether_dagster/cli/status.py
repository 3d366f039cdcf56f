"""What the exit status of `aetherscript` says (spec 6)."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """The exit status of every command."""

    SUCCEEDED = 0
    PIPELINE_FAILED = 1
    WRONG_INPUT = 2
    HISTORY_NOT_WRITTEN = 3
    INTERRUPTED = 130
