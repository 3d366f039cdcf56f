"""SQL text as single statements with their named parameters (spec 2, `sql/query`)."""

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import sqlparse.engine

from aether_dagster.errors import StepFailed


@dataclass(frozen=True)
class Statement:
    """One statement of a query.

    Args:
        pieces: Its text, cut at its `:name` parameters; each piece and whether it is a parameter's
            name.
    """

    pieces: tuple[tuple[str, bool], ...]

    @property
    def names(self) -> set[str]:
        """Names of its parameters."""
        return {piece for piece, is_name in self.pieces if is_name}

    def sqlalchemy(self) -> str:
        """The text for `sqlalchemy.text`, in which every other colon is escaped."""
        return "".join(
            f":{piece}" if is_name else piece.replace(":", "\\:") for piece, is_name in self.pieces
        )

    def duckdb(self) -> str:
        """The text for DuckDB, whose parameters are `$name`."""
        return "".join(f"${piece}" if is_name else piece for piece, is_name in self.pieces)


def split(query: str, given: Collection[str], *, strict: bool) -> list[Statement]:
    """Split SQL into its statements and find their `:name` parameters.

    Strings, comments and quoted names are left alone, as are bodies of functions and triggers.

    Args:
        query: SQL text.
        given: Names of the parameters which the step gives.
        strict: Whether a `:name` which is not given is an error; DuckDB's own syntax has colons.

    Raises:
        StepFailed: A parameter is missing, or the text holds no statement.
    """
    stack: Any = sqlparse.engine.FilterStack()
    statements: list[Statement] = []
    for parsed in stack.run(query):
        found = list(parsed.flatten())
        if all(_says_nothing(token) for token in found):
            continue
        statements.append(Statement(tuple(_piece(token, given, strict) for token in found)))
    if not statements:
        raise StepFailed("InvalidArguments", "The query of sql/query holds no statement.", "")
    return statements


def _says_nothing(token: Any) -> bool:
    return token.is_whitespace or str(token.ttype).startswith("Token.Comment") or token.value == ";"


def _piece(token: Any, given: Collection[str], strict: bool) -> tuple[str, bool]:
    text: str = token.value
    if str(token.ttype) != "Token.Name.Placeholder" or not text.startswith(":"):
        return text, False
    name = text[1:]
    if name in given:
        return name, True
    if not strict:
        return text, False
    near = get_close_matches(name, list(given), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise StepFailed("InvalidArguments", f"The query needs a parameter {name!r}{hint}", "")
