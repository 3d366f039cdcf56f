"""The code blocks of the pages, as a reader meets them."""

import re
from dataclasses import dataclass
from pathlib import Path

import aether_dagster

ROOT = Path(__file__).parents[2]

# Written by the user, and kept to the letter.
NOT_OURS = ROOT / "docs" / "spec" / "state-management.md"

# What `aetherscript init` writes: a page of the product's.
STARTER = "aether_dagster/cli/starter/README.md"

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Args:
        page: The page's path in the repository.
        line: The line of the page at which its first line stands.
        language: What stands behind the opening backticks; may be empty.
        text: What is in it.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def first(self) -> str:
        """Its first line, by which a list names it."""
        return next((line.strip() for line in self.text.splitlines() if line.strip()), "")

    @property
    def commands(self) -> list[str]:
        """Its lines, where it is one of commands."""
        return [line.strip() for line in self.text.splitlines() if line.strip()]

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.first})"


def pages() -> dict[str, Path]:
    """All pages which are ours, by their paths in the repository."""
    files = [ROOT / "README.md"]
    for folder in ("docs", "definitions", "deploy", "examples"):
        files += sorted((ROOT / folder).rglob("*.md"))
    found = {file.relative_to(ROOT).as_posix(): file for file in files if file != NOT_OURS}
    return found | {STARTER: Path(aether_dagster.__file__).parent / "cli/starter/README.md"}


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in order."""
    text = pages()[page].read_text("utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 2, found[1], found[2])
        for found in _BLOCK.finditer(text)
    ]
