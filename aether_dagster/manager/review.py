"""Asks the state hooks of an execution before its changes are committed (spec 5).

Nothing is locked meanwhile: a hook may take its time, and may write by a transaction of its own.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol, cast

from aether_dagster.manager.ledger import CallLedger
from aether_dagster.manager.redaction import MASK
from aether_dagster.plugins.manager import HookManager, InvalidAmendment, Question, differ
from aether_dagster.state import Replica
from aether_dagster.state.mask import join_path
from aether_dagster.values import is_json
from aethersdk import Mutation, State
from aethersdk.calls import Transaction
from aethersdk.state import freeze, thaw

Check = Callable[[Any, Mutation], Mutation]
_PLAIN = frozenset({str, int, float, bool, type(None)})


class Reviewed(Protocol):
    """What of an execution hooks are shown."""

    @property
    def id(self) -> str:
        """The pipeline id."""
        ...

    def state_document(self) -> dict[str, Any]:
        """Returns the state document as it is now."""
        ...

    def record_of(self, step: str) -> Mapping[str, Any] | None:
        """Returns a node's record as far as was read; None of an unknown step."""
        ...

    def transaction(self, actor: str) -> AbstractContextManager[Transaction]:
        """Begins a transaction of a plugin."""
        ...


@dataclass(frozen=True)
class ArgumentChanges:
    """What hooks changed of a step's arguments.

    Args:
        changed: Members with their new values.
        removed: Names of members which are left out.
    """

    changed: Mapping[str, Any]
    removed: frozenset[str]

    def apply(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the arguments with these changes."""
        kept = {name: value for name, value in arguments.items() if name not in self.removed}
        return {**kept, **self.changed}


class Review:
    """Asks about the changes of one execution.

    Args:
        execution: The execution.
        hooks: Its hooks.
        ledger: Where their calls are noted; the execution writes what is pending with its changes.
    """

    def __init__(self, execution: Reviewed, hooks: HookManager, ledger: CallLedger):
        self._execution, self._hooks, self._ledger = execution, hooks, ledger

    def start(
        self, step: str, attempt: int, arguments: Mapping[str, Any]
    ) -> ArgumentChanges | None:
        """Asks before an attempt starts; returns what the hooks changed of its arguments.

        Args:
            step: The step's name.
            attempt: From 1.
            arguments: As they are shown: secrets masked.

        Raises:
            Vetoed: A hook refused.
            HookError: A hook failed, and its failures count.
        """
        payload = _node(step, "input_payload")
        after = {
            _node(step, "status"): "executing",
            payload: protected(arguments),
            _node(step, "retry_count"): attempt - 1,
        }
        given = self._mutation(step, after)

        def check(returned: Any, before: Mutation) -> Mutation:
            amended = _may_change(payload, Mapping)(returned, before)
            _argument_changes(before.after[payload], amended.after[payload])
            return amended

        answer = self._ask(given, step, check)
        if answer is given:
            return None
        return _argument_changes(given.after[payload], answer.after[payload])

    def output(self, step: str, value: Any, shown: Any) -> Any:
        """Asks before an output is stored; returns the value as the hooks leave it.

        Args:
            step: The step's name.
            value: The live object.
            shown: The same with secrets masked.

        Raises:
            Vetoed: A hook refused.
            HookError: A hook failed, and its failures count.
        """
        payload = _node(step, "output_payload")
        after = {
            _node(step, "status"): "succeeded",
            payload: shown if is_json(shown) else None,
        }
        given = replace(self._mutation(step, after), value=freeze(protected(value)))

        def check(returned: Any, before: Mutation) -> Mutation:
            amended = _may_change(payload, object, value=True)(returned, before)
            if amended.value is before.value and differ(amended.after, before.after):
                return replace(amended, value=amended.after[payload])
            return amended

        answer = self._ask(given, step, check)
        return value if answer.value is given.value else thaw(answer.value)

    def artifact(self, step: str, name: str, uri: str | None) -> str | None:
        """Asks before a step writes an artifact, or deletes it; returns what is written.

        Raises:
            Vetoed: A hook refused.
            HookError: A hook failed, and its failures count.
        """
        path = _artifact(name)
        before = self._execution.state_document()["context"]["artifacts"].get(name)
        given = Mutation((path,), {path: before}, {path: uri})
        return self._ask(given, step, _may_change(path, str | None)).after[path]

    def written(self, before: Replica, writes: Mapping[str, str | None]) -> dict[str, str | None]:
        """Asks before a plugin's transaction is committed; returns what it writes."""
        paths = {name: _artifact(name) for name in writes}
        given = Mutation(
            tuple(paths.values()),
            {path: before.artifact(name) for name, path in paths.items()},
            {path: writes[name] for name, path in paths.items()},
        )
        answer = self._ask(given, None, _may_change(None, str | None))
        self._ledger.flush()  # a transaction is committed by the journal alone
        return {name: answer.after[path] for name, path in paths.items()}

    def happened(self, step: str, status: str, error: Mapping[str, Any] | None) -> None:
        """Tells of an end which nobody can refuse: a failure, a lost worker."""
        after = {_node(step, "status"): status, _node(step, "error"): error}
        self._ask(self._mutation(step, after), step, _may_change(None, object), happened=True)

    def _mutation(self, step: str, after: Mapping[str, Any]) -> Mutation:
        record = self._execution.record_of(step) or {}
        before = {path: record.get(path.rpartition(".")[2]) for path in after}
        return Mutation(tuple(after), before, after)

    def _ask(
        self, mutation: Mutation, node: str | None, check: Check, *, happened: bool = False
    ) -> Mutation:
        question = Question(
            mutation,
            lambda: State(self._execution.state_document()),
            node,
            check,
            self._execution.transaction,
            happened,
        )
        try:
            return self._hooks.mutate(self._execution.id, question)
        except BaseException:
            self._ledger.flush()  # whoever asked may not commit anything for long
            raise


def protected(value: Any) -> Any:
    """Returns a value as hooks are given it: what they do to it is not done to the original.

    Containers are copied, to be frozen by the caller; of tables and arrays there
    are copies, which share their memory where their library allows. Other objects are themselves.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        members = cast("Mapping[Any, Any]", value)
        return {key: protected(item) for key, item in members.items()}
    if isinstance(value, list | tuple):
        return tuple(protected(item) for item in cast("list[Any]", value))
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, set):
        return frozenset(cast("set[Any]", value))
    library = type(value).__module__.partition(".")[0]
    if library == "pandas" and hasattr(value, "copy"):
        return value.copy()
    if library == "polars" and hasattr(value, "clone"):
        return value.clone()
    if library == "numpy" and hasattr(value, "setflags"):
        view = value.view()
        view.setflags(write=False)
        return view
    return value


def _argument_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> ArgumentChanges:
    changed = {
        name: thaw(value)
        for name, value in after.items()
        if name not in before or differ(value, before[name])
    }
    removed = frozenset(name for name in before if name not in after)
    for name in before:
        if (name in changed or name in removed) and MASK in str(before[name]):
            raise InvalidAmendment(f"the argument {name!r} holds a secret, and cannot be changed")
    return ArgumentChanges(changed, removed)


def _may_change(path: str | None, kind: Any, *, value: bool = False) -> Check:
    """Returns a check which lets a hook change one path, or all where None, to values of a kind."""

    def check(returned: Any, given: Mutation) -> Mutation:
        if not isinstance(returned, Mutation):
            raise InvalidAmendment(
                "pre_state_mutation returns a Mutation, made with dataclasses.replace, or None; "
                f"not {type(returned).__name__}"
            )
        if returned.paths != given.paths or set(returned.after) != set(given.after):
            raise InvalidAmendment(f"its paths must stay {', '.join(given.paths)}")
        if returned.value is not given.value and not value:
            raise InvalidAmendment("its value cannot be changed: this mutation is of no output")
        changed = [p for p in given.paths if differ(returned.after[p], given.after[p])]
        for name in changed:
            if path not in (None, name):
                raise InvalidAmendment(f"{name} cannot be changed by a plugin")
            if not isinstance(returned.after[name], kind):
                raise InvalidAmendment(f"{name} cannot be {type(returned.after[name]).__name__}")
        if not changed and returned.value is given.value:
            return given
        return replace(returned, before=given.before)

    return check


@lru_cache(maxsize=1024)
def _node(step: str, member: str) -> str:
    return join_path(("nodes", step, member))


def _artifact(name: str) -> str:
    return join_path(("context", "artifacts", name))
