"""What the steps of the tests' pipelines call; copied beside their documents as `jobs.py`."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def same(value: Any = None) -> Any:
    return value


def boom() -> None:
    raise ValueError("row 7 is bad")


def once(marker: str) -> dict[str, bool]:
    """Fails the first time."""
    if not Path(marker).exists():
        Path(marker).touch()
        raise RuntimeError("not yet")
    return {"ok": True}


def nap(seconds: float = 300) -> None:
    time.sleep(seconds)


def family() -> None:
    """Has a child with a child of its own, in another session."""
    nap = "import time; time.sleep(300)"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {nap!r}], "
    subprocess.Popen([sys.executable, "-c", f"{code}start_new_session=True); {nap}"])
    Path("resting").touch()
    time.sleep(300)


def stubborn() -> None:
    """Takes no interrupt for an answer."""
    while True:
        try:
            time.sleep(300)
        except BaseException:  # noqa: BLE001 - what this one is for
            Path("caught").touch()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    os._exit(7)


def die_once(marker: str) -> str:
    if not Path(marker).exists():
        Path(marker).touch()
        die()
    return "one"


def unstorable() -> Any:
    return lambda: None


def big() -> dict[str, Any]:
    return {"rows": [{"n": n, "text": "é" * 30} for n in range(900)], "few": 3}


def frame() -> Any:
    import pandas as pd

    return pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None]})


def total(table: Any) -> dict[str, Any]:
    return {"sum": int(table["a"].sum()), "type": type(table).__name__}


def note(context: Any, name: str) -> list[str]:
    """Leaves one artifact, and another for a moment."""
    context.artifacts.set(name, f"/data/{name}")
    context.artifacts.set("moment", "/data/moment")
    context.artifacts.delete("moment")
    return sorted(context.artifacts)


def lose(values: str) -> None:
    """Damages a stored value before another step loads it."""
    for file in Path(".aether/aether_artifacts").glob(f"*/{values}/attempt1/*"):
        file.write_bytes(b"not what it was")


def meet(value: Any, own: str, other: str) -> Any:
    """Ends once the other run has come as far."""
    Path(own).touch()
    give_up = time.monotonic() + 60
    while not Path(other).exists():
        assert time.monotonic() < give_up, "the other run did not come"
        time.sleep(0.02)
    return value


def move_history(history: str) -> None:
    """Takes the execution's folder away."""
    (folder,) = Path(history).glob("*_pipeline_*")
    folder.rename(folder.with_name("taken-away"))


def move_history_while_another_rests(history: str) -> None:
    """As `move_history`, once `family` rests in another process."""
    while not Path("resting").exists():
        time.sleep(0.02)
    move_history(history)


def block_final(history: str) -> None:
    """Puts something in the place of the last file."""
    (folder,) = Path(history).glob("*_pipeline_*")
    (folder / "state_final.json").mkdir()


def tell_secret(token: str) -> None:
    raise RuntimeError(f"cannot log in with {token}")


def tell(text: str) -> None:
    """As `tell_secret`, and nothing in its name says so."""
    tell_secret(text)


def odd(token: str) -> dict[str, Any]:
    """A value which is no JSON, and holds a secret beside it."""
    return {"token": token, "pair": (1, 2)}


def lengths(value: Any) -> int:
    return len(str(value))
