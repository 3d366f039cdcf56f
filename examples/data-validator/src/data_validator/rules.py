"""Rules for tables: lists of records, mappings of columns, pandas, polars and Arrow tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Rules:
    """What a table must be like.

    Args:
        min_rows: At least so many rows.
        max_rows: At most so many.
        columns: Columns which must be there.
        not_null: Columns without a missing value.
        unique: Columns in which no value stands twice.
        ranges: Smallest and greatest value, by column.
    """

    min_rows: int | None = None
    max_rows: int | None = None
    columns: Sequence[str] = ()
    not_null: Sequence[str] = ()
    unique: Sequence[str] = ()
    ranges: Mapping[str, Sequence[float]] | None = None

    @classmethod
    def from_json(cls, members: Mapping[str, Any]) -> "Rules":
        """Takes rules as a JSON object; raises ValueError for one which is not known."""
        known = [field.name for field in fields(cls)]
        for name in members:
            if name not in known:
                raise ValueError(f"there is no rule {name!r}; there are {', '.join(known)}")
        return cls(**members)

    def by_kind(self) -> dict[str, "Rules"]:
        """Returns each of the rules which are set as rules of their own, by its name."""
        return {name: Rules(**{name: value}) for name, value in self._given().items()}

    @property
    def description(self) -> str:
        """What is set, in words."""
        return "; ".join(f"{name}: {value}" for name, value in self._given().items())

    def _given(self) -> dict[str, Any]:
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}

    def problems(self, table: Any) -> list[str]:
        """Returns what is wrong with a table, in sentences."""
        try:
            columns = _columns(table)
        except TypeError as error:
            return [str(error)]
        rows = max((len(values) for values in columns.values()), default=0)
        return [*self._count_problems(rows), *self._column_problems(columns)]

    def _count_problems(self, rows: int) -> Iterator[str]:
        if self.min_rows is not None and rows < self.min_rows:
            yield f"it has {rows} rows, and needs at least {self.min_rows}"
        if self.max_rows is not None and rows > self.max_rows:
            yield f"it has {rows} rows, and may have {self.max_rows}"

    def _column_problems(self, columns: Mapping[str, Sequence[Any]]) -> Iterator[str]:
        ranges = self.ranges or {}
        wanted = dict.fromkeys([*self.columns, *self.not_null, *self.unique, *ranges])
        missing = [name for name in wanted if name not in columns]
        if missing:
            yield f"it has no column {', '.join(missing)}"
        for name in self.not_null:
            nulls = sum(1 for value in columns.get(name, ()) if _is_null(value))
            if nulls:
                yield f"{name} is missing in {nulls} rows"
        for name in self.unique:
            values = columns.get(name, ())
            twice = len(values) - len(set(values))
            if twice:
                yield f"{name} has {twice} values which stand there before"
        for name, (least, most) in ranges.items():
            outside = [
                value
                for value in columns.get(name, ())
                if not _is_null(value) and not least <= value <= most
            ]
            if outside:
                yield f"{name} is {outside[0]!r}, and must be within {least} and {most}"


def _columns(table: Any) -> dict[str, Sequence[Any]]:
    if hasattr(table, "to_pydict"):  # Arrow
        return table.to_pydict()
    if hasattr(table, "to_dict") and hasattr(table, "columns"):  # pandas, polars
        return {str(name): list(table[name]) for name in table.columns}
    if isinstance(table, Mapping) and all(_is_column(values) for values in table.values()):
        return dict(table)
    if isinstance(table, list | tuple) and all(isinstance(row, Mapping) for row in table):
        names = dict.fromkeys(name for row in table for name in row)
        return {name: [row.get(name) for row in table] for name in names}
    raise TypeError(f"it is {type(table).__name__}, and no table")


def _is_column(values: Any) -> bool:
    return isinstance(values, list | tuple)


def _is_null(value: Any) -> bool:
    return value is None or value != value  # noqa: PLR0124 - a NaN is the one which is not itself
