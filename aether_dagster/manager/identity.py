"""Who a process is, so that it can be proven later that it is gone (spec 1.3, `WorkerLost`)."""

import json
import os
import socket
from functools import lru_cache
from pathlib import Path

import psutil

# Two readings of one process' start time differ by less than this, in seconds.
_SAME_START = 1.0


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
    except (ValueError, KeyError, TypeError):
        return None
    if host != socket.gethostname():
        return None
    if boot != _boot_id():
        return True
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return abs(process.create_time() - start) > _SAME_START
    except psutil.NoSuchProcess:
        return True


@lru_cache(maxsize=4)
def _identity(pid: int) -> str:
    # Keyed by pid: a forked child is another process.
    record = {
        "host": socket.gethostname(),
        "boot": _boot_id(),
        "pid": pid,
        "start": round(psutil.Process(pid).create_time(), 3),
    }
    return json.dumps(record, separators=(",", ":"))


@lru_cache(maxsize=1)
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(int(psutil.boot_time()))
