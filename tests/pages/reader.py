"""A reader who does, in a folder of their own, what a page says."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from aether_dagster.protocol.session import read_subscribe
from aether_dagster.state import apply
from tests import schemas
from tests.journals import SERVER
from tests.pages.blocks import ROOT, Block

HERE = Path(__file__).parent
SHOP = HERE / "shop"
WARM = HERE / "warm.py"
LIMIT = 90.0

ENVIRONMENT = {
    "BROWSER": "true",  # what opens pages for `--open`
    "ORDERS_TOKEN": "token-of-orders",
    "SALES_TOKEN": "token-of-sales",
    "STAGE": "test",
    "WAREHOUSE_PASSWORD": "word-of-the-warehouse",
    "WAREHOUSE_URL": "sqlite:///warehouse.db",
}

DANGEROUS = ("dagster-celery", "dg", "pg_dump", "pip", "python3", "ssh", "systemctl")
"""Programs which would reach beyond the reader's folder; commands with them are listed."""

_PIPELINE = re.compile(r"(?<![A-Za-z])pipeline_[0-9A-HJKMNP-TV-Z]{8}\b")
_FOLDER = re.compile(r"\b\d{4}-\d\d-\d\d_\d{6}_pipeline_[0-9A-HJKMNP-TV-Z]{8}\b")
_MOMENT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\b")
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


@contextmanager
def programs(folder: Path) -> Iterator[Path]:
    """Serves commands which need Dagster; gives the folder in which they are found."""
    address = str(folder / "warm")
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for name in ("aetherscript", "python"):
        file = bin_folder / name
        file.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {WARM} {address} {name} "$@"\n')
        file.chmod(0o755)
    for name in DANGEROUS:
        file = bin_folder / name
        file.write_text(f'#!/bin/sh\necho "{name} is not for tests: see lists.py"; exit 97\n')
        file.chmod(0o755)
    serving = subprocess.Popen(
        [sys.executable, "-P", str(WARM), address],
        env=_plain(),
        cwd=shutil.copytree(SHOP, folder / "first"),
        stdin=subprocess.PIPE,
    )
    give_up = time.monotonic() + LIMIT
    while not Path(address).exists():
        assert serving.poll() is None, "it ended"
        assert time.monotonic() < give_up, "it never served"
        time.sleep(0.05)
    try:
        yield bin_folder
    finally:
        serving.communicate()


def _plain() -> dict[str, str]:
    """The caller's environment without what is said there for us."""
    ours = ("AETHERSCRIPT_", "DAGSTER_", SERVER)
    others = ("NO_COLOR", "COLUMNS", "LINES", "XDG_STATE_HOME", "PYTHONPATH")
    return {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(ours) and name not in others
    }


@dataclass
class Reader:
    """Does what blocks say, one after another.

    Args:
        folder: Where; it is made, and holds what pages presuppose.
        programs: Where `aetherscript` and `python` are found.
    """

    folder: Path
    programs: Path
    _address: str = ""
    _serving: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        shutil.copytree(SHOP, self.folder)
        for name in ("busy", "pipelines"):
            shutil.copytree(SHOP / "jobs", self.folder / name / "jobs")
        for name in ("home", "etc/sales", "etc/aether", "path", "plugins"):
            (self.folder / name).mkdir(parents=True)
        self._warehouse(self.folder)
        self._session = self.folder / "home" / ".session"
        self._session.touch()
        path = os.pathsep.join([str(self.programs), os.environ.get("PATH", "")])
        self._environ = {
            **_plain(),
            **ENVIRONMENT,
            "HOME": str(self.folder / "home"),
            "PATH": path,
            "PROGRAMS": str(self.programs),
            "REPOSITORY": str(ROOT),
        }

    @staticmethod
    def _warehouse(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "warehouse.db")) as database:
            database.execute("CREATE TABLE days (day TEXT)")

    # What a page names is put in place of what is here.

    def latest(self) -> Path:
        """The folder of the newest execution's history."""
        return max((self.folder / "executions").iterdir(), key=lambda path: path.name)

    def here(self, text: str) -> str:
        """A page's text with ids, moments and places which are this folder's."""
        if _PIPELINE.search(text) or _MOMENT.search(text):
            latest = self.latest()
            text = _FOLDER.sub(latest.name, text)
            text = _PIPELINE.sub(latest.name[18:], text)
            began = datetime.strptime(latest.name[:17], "%Y-%m-%d_%H%M%S")  # noqa: DTZ007 - UTC
            text = _MOMENT.sub((began + timedelta(seconds=1)).isoformat(), text)
        text = re.sub(r"(?<![\w.])/etc/", f"{self.folder}/etc/", text)
        text = text.replace(" /path/to/", f" {self.folder}/path/")
        text = text.replace("sqlite:///path/", f"sqlite:///{self.folder}/path/")
        return _ADDRESS.sub(self._address, text) if self._address else text

    # A block, by its language.

    def do(self, block: Block) -> None:
        """Does with a block what is done with its language."""
        if block.language == "python":
            file = self.write(f"block_{block.line}.py", block.text)
            line = f"python {HERE / 'use.py'} {file}"
            if "while True:" in block.text:
                self._wait(self.start(line), re.compile(r"pipeline_\w{8} \d+"))
            else:
                self.run(line)
        elif block.language == "yaml":
            self._yaml(block)
        elif block.language == "json":
            self._json(block)
        else:
            raise AssertionError(f"{block}: nobody knows what to do with it")

    def check_syntax(self, block: Block) -> None:
        """Lets the shell read a block, of which not every command may be run."""
        subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)

    def write(self, path: str, text: str) -> Path:
        """Puts a block into a file, as a reader does."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.here(text), "utf-8")
        return file

    def run(self, line: str, standard_input: str = "", *, status: int = 0) -> str:
        """Runs a command to its end; returns what it printed."""
        ended, printed = self._bash(self.here(line), standard_input)
        assert ended == status, f"{line}: status {ended}\n{printed}"
        return printed

    def _bash(self, line: str, standard_input: str = "") -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-c", self._script(line)],
            cwd=self.folder,
            env=self._environ,
            input=standard_input,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        return done.returncode, done.stdout

    def _script(self, line: str) -> str:
        """A command in the shell which earlier ones have left: their folder and variables."""
        session = self._session
        keep = f'keep() {{ {{ export -p; printf "cd %q\\n" "$PWD"; }} > {session}; }}'
        return f"{keep}\ntrap keep EXIT\nset -o pipefail\n. {session}\n{line}\n"

    def serve(self, line: str) -> None:
        """Starts a command which serves until Ctrl-C, and waits until it does."""
        log = self.start(line)
        self._wait(log, _ADDRESS)
        self._address = self._address or _ADDRESS.search(log.read_text())[0]

    def start(self, line: str) -> Path:
        """Starts a command which goes on until Ctrl-C; returns where it prints to."""
        log = self.folder / "home" / f"serving_{len(self._serving)}"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["bash", "-c", f". {self._session}\nexec {self.here(line)}"],
                cwd=self.folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._serving.append(process)
        return log

    def _wait(self, log: Path, said: re.Pattern[str]) -> None:
        """Waits until what was started last has said something."""
        give_up = time.monotonic() + LIMIT
        while not said.search(log.read_text()):
            assert self._serving[-1].poll() is None, f"it ended: {log.read_text()}"
            assert time.monotonic() < give_up, f"it never came: {log.read_text()}"
            time.sleep(0.05)

    def end(self) -> None:
        """Presses Ctrl-C in what serves."""
        for process in self._serving:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        try:
            ended = {process.wait(LIMIT) for process in self._serving}
        finally:
            for process in self._serving:
                process.kill()
            self._serving.clear()
        assert ended <= {0, 130}

    def _yaml(self, block: Block) -> None:
        if block.first.startswith("type: aether_dagster."):
            self.write(f"defs_{block.line}/defs.yaml", block.text)
            name = re.search(r"pipeline: (\S+)", block.text)[1]
            document = (SHOP / "nightly.aether.yaml").read_text("utf-8")
            self.write(f"defs_{block.line}/{name}", document)
            shutil.copytree(SHOP / "jobs", self.folder / f"defs_{block.line}" / "jobs")
            self.run(f"python {HERE / 'load_defs.py'} {self.folder}/defs_{block.line}")
        elif block.first == "storage:":
            file = self.write("instance/dagster.yaml", block.text)
            self.run(f"python {HERE / 'open_instance.py'} {file.parent}")
        elif block.first == "execution:":
            file = self.write(f"config_{block.line}.yaml", block.text)
            self.run(f"python {HERE / 'take_config.py'} nightly.aether.yaml {file}")
        else:
            folder = self.folder / f"document_{block.line}"
            shutil.copytree(
                SHOP, folder, ignore=shutil.ignore_patterns("*.yaml", "busy", "pipelines")
            )
            shutil.copytree(self.folder / "plugins", folder / "plugins")
            self._warehouse(folder)
            self.write(f"{folder.name}/document.aether.yaml", as_document(block.text))
            self.run(f"aetherscript run {folder.name}")

    def _json(self, block: Block) -> None:
        value = json.loads(block.text)
        if "event_type" in value:
            self._frame(value)
        elif "node_id" in value:
            assert schemas.errors("node", value) == [], block
            assert schemas.misplaced("node", value) == [], block
        elif "subscribe" in value:
            read_subscribe(block.text)
        elif "verdict" in value:
            told = self.run(f"aetherscript recover --json {self.latest().name[18:]}")
            assert list(json.loads(told)) == list(value), block
        elif "$artifact" in value:
            assert list(value) == ["$artifact", "sha256", "bytes", "media_type"], block
        else:
            raise AssertionError(f"{block}: nobody knows what it is")

    def _frame(self, value: dict[str, object]) -> None:
        assert list(value) == ["event_type", "update_mask", "timestamp", "payload"]
        assert value["event_type"] == "state_update"
        document = json.loads((self.latest() / "state_init.json").read_text())
        step = re.search(r"nodes\.(\w+)", json.dumps(value["update_mask"]))[1]
        document["nodes"].setdefault(step, next(iter(document["nodes"].values())))
        assert (
            schemas.errors("state", apply(document, value["update_mask"], value["payload"])) == []
        )


def as_document(text: str) -> str:
    """Makes a whole document of a block which shows only some steps."""
    if not re.match(r"\s*- id:", text):
        return text
    shown = set(re.findall(r"- id: (\S+)", text))
    used = set(re.findall(r"\$\{steps\.(\w+)", text)) - shown
    call = 'type: python/call, args: {callable: "jobs.sales:wrote"}'
    others = "".join(f"- {{id: {name}, {call}}}\n" for name in sorted(used))
    steps = re.sub(r"^(?=.)", "    ", others, flags=re.MULTILINE)
    own = text if text.startswith("    ") else re.sub(r"^(?=.)", "    ", text, flags=re.MULTILINE)
    return (
        'version: "2.1"\nmetadata: {name: part}\n'
        'connectors: {warehouse: {type: sql, url: "duckdb:///part.duckdb"}}\n'
        f"pipeline:\n  steps:\n{steps}{own}"
    )
