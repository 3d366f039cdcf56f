"""Captures what a step prints by pointing its file descriptors at Dagster's files."""

import os
import shutil
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

# Private: what a step prints is captured by the instance's manager, and this is the stock one's
# place for files. It starts four processes for every capture, which costs more than most steps.
from dagster._core.storage.compute_log_manager import CapturedLogContext
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from aether_dagster.orchestration.compat import ConfigurableClassData, InstanceRef

_STOCK = "LocalComputeLogManager"
_OUTPUT, _ERRORS, _COMPLETE = "out", ".err", ".complete"
_STOCK_MODULES = frozenset(
    {
        "dagster.core.storage.local_compute_log_manager",
        "dagster._core.storage.local_compute_log_manager",
    }
)


class RedirectedComputeLogs(LocalComputeLogManager):
    """Dagster's local compute logs, written without helper processes.

    The same files, so the web UI shows them while a step runs. What was captured is copied to the
    process's own standard output and error when the step has ended.
    """

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Called by Dagster with the stock manager's configuration."""
        return cls(inst_data=inst_data, **config_value)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext]:
        """Captures what this process and its children print while the body runs."""
        output = Path(self.get_captured_local_path(log_key, _OUTPUT))
        output.parent.mkdir(parents=True, exist_ok=True)
        with (
            _redirected(sys.stdout, output),
            _redirected(sys.stderr, output.with_suffix(_ERRORS)),
        ):
            yield CapturedLogContext(log_key)
        output.with_suffix(_COMPLETE).touch()


def redirecting(instance: InstanceRef) -> InstanceRef:
    """Returns a reference to the same instance which captures by redirection, where it can.

    Any other compute log manager than the stock local one stays as it is.
    """
    stock = instance.compute_logs_data
    if stock.class_name != _STOCK or stock.module_name not in _STOCK_MODULES:
        return instance
    ours = ConfigurableClassData(__name__, RedirectedComputeLogs.__name__, stock.config_yaml)
    return instance._replace(compute_logs_data=ours)


@contextmanager
def _redirected(stream: IO[str], file: Path) -> Generator[None]:
    descriptor = stream.fileno()
    stream.flush()
    with file.open("ab") as captured, os.fdopen(os.dup(descriptor), "wb") as before:
        begin = captured.tell()
        os.dup2(captured.fileno(), descriptor)
        try:
            yield
        finally:
            stream.flush()
            os.dup2(before.fileno(), descriptor)
        if os.fstat(captured.fileno()).st_size == begin:
            return
        with file.open("rb") as written:
            written.seek(begin)
            shutil.copyfileobj(written, before)
