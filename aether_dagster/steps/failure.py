"""What went wrong in a step's code, told without the framework around it (spec 1.3, errors)."""

import os
import traceback
from asyncio import CancelledError
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from aether_dagster.errors import StepError, StepFailed

_OWN_CODE = str(Path(__file__).parent) + os.sep
_STANDARD_LIBRARY = str(Path(traceback.__file__).parent) + os.sep


@contextmanager
def as_step_failed() -> Generator[None]:
    """Turn whatever a step's code raises into `StepFailed`, with the original as its cause.

    Passed on as they are: `StepError`, and what is not the step's own doing, such as
    KeyboardInterrupt. `SystemExit` is the step's own doing: it must not end the run.
    """
    try:
        yield
    except StepError:
        raise
    except SystemExit as error:
        message = f"The step's code called sys.exit({error.code!r}); return a value, or raise."
        raise StepFailed("SystemExit", message, user_traceback(error)) from error
    except (Exception, CancelledError) as error:
        raise StepFailed(type(error).__name__, text_of(error), user_traceback(error)) from error


def text_of(error: BaseException) -> str:
    """Give an exception's text, also where its own `__str__` fails."""
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - it is code of the step
        return f"<its text cannot be had: {type(broken).__name__}>"


def user_traceback(error: BaseException) -> str:
    """Format an exception from the first frame which is not the framework's."""
    shown = traceback.TracebackException(type(error), error, _from_user(error.__traceback__))
    return "".join(shown.format())


def _from_user(found: TracebackType | None) -> TracebackType | None:
    while found is not None:
        if not _is_machinery(found.tb_frame.f_code.co_filename):
            break
        found = found.tb_next
    return found


def _is_machinery(file: str) -> bool:
    # What stands before the step's first frame: ours, importlib's, asyncio's.
    in_library = file.startswith(_STANDARD_LIBRARY) and "site-packages" not in file
    return in_library or file.startswith((_OWN_CODE, "<frozen "))
