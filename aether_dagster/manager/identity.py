"""Who a process is, so that it can be proven later that it is gone (spec 1.3, `WorkerLost`)."""

import json
import os
import socket
import sys
from functools import lru_cache
from pathlib import Path

# Imported where it is needed: on Linux a process finds its own identity without psutil.


def own_identity() -> str:
    """Returns this process' host, boot, process id and start time, as compact JSON."""
    return _identity(os.getpid())


def is_gone(identity: str) -> bool | None:
    """Tells whether the process of an identity is proven to have ended.

    Returns:
        True where it is proven, False where the process lives, None where it ran on another
        host, or the identity cannot be read: nothing can be proven from here.
    """
    try:
        record = json.loads(identity)
        host, boot, pid, start = (record[key] for key in ("host", "boot", "pid", "start"))
        namespace = record["pids"]
    except (ValueError, KeyError, TypeError):
        return None
    if host != socket.gethostname():
        return None
    if boot != _boot_id():
        return True
    if namespace != _pid_namespace():
        return None
    import psutil

    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE or _start(pid) != start
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return True


@lru_cache(maxsize=4)
def _identity(pid: int) -> str:
    # Keyed by pid: a forked child is another process.
    record = {
        "host": socket.gethostname(),
        "boot": _boot_id(),
        "pid": pid,
        "start": _start(pid),
        "pids": _pid_namespace(),
    }
    return json.dumps(record, separators=(",", ":"))


def _start(pid: int) -> float:
    """When a process started, on a clock which nobody can set."""
    if sys.platform == "linux":
        # In ticks since boot. As a time of day it would move whenever the wall clock is set, and
        # every living process would seem to be another one.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return float(fields[19])
    import psutil

    return round(psutil.Process(pid).create_time(), 1)


def _pid_namespace() -> str | None:
    # Two containers may share a host's name and boot, and not what a process id means.
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


@lru_cache(maxsize=1)
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil

        return str(int(psutil.boot_time()))
