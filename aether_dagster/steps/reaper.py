"""Stands between a run and a process it started, and ends whatever that process leaves behind.

Run as a script by its path, isolated and without `site`, so that it starts in milliseconds and
nothing of the user's is in it: `reaper.py CONTROL PARENT PSUTIL COMMAND…`. On Linux every orphan
below it becomes its child, also one which made a session of its own, so none can get away. It says
on the control socket how the command ended, and ends everything when it is told to, or when the
run's process is gone.
"""

import os
import select
import signal
import sys
import time

GRACE_SECONDS = 2.0
KILL_SECONDS = 10.0

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_DEFERRED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def main(control: int, parent: int, psutil_folder: str, command: list[str]) -> None:
    """Start the command, wait for its end or the run's, and leave no process behind."""
    wake, wakeup = _wake_on_signals()
    _adopt_orphans()
    os.set_inheritable(control, False)
    try:
        pid = os.posix_spawnp(
            command[0],
            command,
            os.environ,
            setpgroup=0,
            setsigmask=[],
            setsigdef=[*_DEFERRED, signal.SIGPIPE, signal.SIGUSR1, signal.SIGCHLD],
        )
    except OSError as error:
        os.write(control, b"E%d\n" % (error.errno or 0))
        return
    _let_go_of_files(keep={control, wake, wakeup})
    while os.getppid() == parent:
        ready = select.select([control, wake], [], [])[0]
        if control in ready:
            break
        os.read(wake, 4096)
        statuses, _ = _reap()
        if pid in statuses:
            _tell(control, b"S%d\n" % statuses[pid])
            break
    _end_descendants(psutil_folder)


def _wake_on_signals() -> tuple[int, int]:
    for number in _DEFERRED:
        signal.signal(number, signal.SIG_IGN)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGUSR1):
        signal.signal(number, _ignore)
    return reading, writing


def _ignore(_number: int, _frame: object) -> None:
    # Unlike SIG_IGN, a handler lets the signal reach the wake-up pipe.
    return


def _adopt_orphans() -> None:
    if sys.platform != "linux":
        return
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # The end of the control socket tells the same, unless a fork of the run's process holds it.
    prctl(_PR_SET_PDEATHSIG, int(signal.SIGUSR1), 0, 0, 0)


def _let_go_of_files(keep: set[int]) -> None:
    # Whoever reads the command's output, or waits for the end of its pipe, must not wait for us.
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - without pathlib it starts sooner
        if int(name) > 2 and int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:
                continue


def _tell(control: int, word: bytes) -> None:
    try:
        os.write(control, word)
    except OSError:
        return


def _reap() -> tuple[dict[int, int], bool]:
    statuses: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return statuses, False
        if pid == 0:
            return statuses, True
        statuses[pid] = status


def _end_descendants(psutil_folder: str) -> None:
    if not _reap()[1]:
        return
    sys.path.append(psutil_folder)
    import psutil

    this = psutil.Process()
    for number, seconds in ((signal.SIGTERM, GRACE_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
        told: set[psutil.Process] = set()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for process in this.children(recursive=True):
                if number == signal.SIGKILL or process not in told:
                    told.add(process)
                    try:
                        process.send_signal(number)
                    except psutil.Error:
                        continue
            if not _reap()[1]:
                return
            time.sleep(0.01)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
