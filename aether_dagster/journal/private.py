"""What plugins remember of an execution, beside its state (spec 1.6)."""

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from sqlalchemy import bindparam, select

from aether_dagster.journal.schema import private
from aether_dagster.journal.statement import Session, Statement
from aether_dagster.journal.text import from_text, to_text

_p = private.c
_ALL = Statement(
    lambda _: select(_p.key, _p.value, _p.revision).where(
        _p.execution == bindparam("execution"), _p.plugin == bindparam("plugin")
    )
)
_WRITE = Statement(
    lambda insert: (
        statement := insert(private).values(
            execution=bindparam("execution"),
            plugin=bindparam("plugin"),
            key=bindparam("key"),
            value=bindparam("value"),
            revision=1,
        )
    ).on_conflict_do_update(
        index_elements=["execution", "plugin", "key"],
        set_={"value": statement.excluded.value, "revision": _p.revision + 1},
    )
)


class Private(MutableMapping[str, Any]):
    """JSON values of one plugin for one execution, in a transaction.

    Args:
        plugin: The plugin's name; all its versions share what is remembered.
        check: Raises unless the transaction may be used.
        redact: Masks secrets in what is written.
    """

    def __init__(self, plugin: str, check: Callable[[], None], redact: Callable[[Any], Any]):
        self._plugin, self._check, self._redact = plugin, check, redact
        self._execution = 0
        self._values: dict[str, str] = {}
        self._revisions: dict[str, int] = {}
        self._read: set[str] = set()
        self._read_all = False
        self._writes: dict[str, str | None] = {}

    @property
    def changed(self) -> bool:
        """Whether there is something to commit."""
        return bool(self._writes)

    def load(self, session: Session, execution: int) -> None:
        """Reads all as it is when the transaction begins."""
        self._execution = execution
        for key, value, revision in self._rows(session):
            self._revisions[key] = revision
            if value is not None:
                place = self._place(key)
                self._values[key] = session.payloads.open(session, execution, place, value)

    def conflicts(self, session: Session) -> list[str]:
        """Returns the keys which this transaction depends on and another has written since."""
        if not (self._read or self._read_all or self._writes):
            return []
        return [
            f"private.{key}"
            for key, _, revision in self._rows(session)
            if revision != self._revisions.get(key, 0)
            and (self._read_all or key in self._read or key in self._writes)
        ]

    def write(self, session: Session) -> None:
        """Writes what was set and deleted; a deleted key keeps its row, and so its revision."""
        for key, text in self._writes.items():
            value = text
            if text is not None:
                place = self._place(key)
                value = session.payloads.seal(session, self._execution, place, text)
            session.run(
                _WRITE, execution=self._execution, plugin=self._plugin, key=key, value=value
            )

    def __getitem__(self, key: str) -> Any:
        self._check()
        self._read.add(key)
        text = self._writes[key] if key in self._writes else self._values.get(key)
        if text is None:
            raise KeyError(key)
        return from_text(text)

    def __setitem__(self, key: str, value: Any) -> None:
        self._check()
        self._writes[key] = to_text(self._redact(value))

    def __delitem__(self, key: str) -> None:
        self[key]
        self._writes[key] = None

    def __iter__(self) -> Iterator[str]:
        self._check()
        self._read_all = True
        present = {**self._values, **self._writes}
        return iter([key for key, text in present.items() if text is not None])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _place(self, key: str) -> str:
        return f"private {self._plugin} {key}"

    def _rows(self, session: Session) -> list[Any]:
        return session.rows(_ALL, execution=self._execution, plugin=self._plugin)
