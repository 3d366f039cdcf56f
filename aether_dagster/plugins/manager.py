"""Dispatch of `pre_` events: order, isolation, time limits, vetoes and amendments (spec 5)."""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, cast

from aether_dagster.errors import HookError, Vetoed
from aether_dagster.plugins.call import BeginTransaction, Called, call_hook
from aether_dagster.plugins.hooks import ActiveHook
from aethersdk import ExecutionContext, Mutation, PipelineState, State

_INITIALIZE = "pre_state_initialize"
_MUTATION = "pre_state_mutation"

# A hook which writes while it is asked is not asked of its own write, nor are those who asked it.
_asking: ContextVar[frozenset[str]] = ContextVar("asking", default=frozenset())


class InvalidAmendment(Exception):
    """What a hook returned cannot stand in for what it was given; the text says why."""


class Ledger(Protocol):
    """Where calls are noted."""

    def begin_call(
        self,
        pipeline_id: str,
        *,
        event: str,
        hook: str,
        plugin: str,
        node: str | None = None,
        delivery: str | None = None,
    ) -> int:
        """Notes that a hook is being called; returns the call's number."""
        ...

    def end_call(
        self,
        call: int,
        outcome: str,
        milliseconds: float,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Notes what a call came to."""
        ...


@dataclass(frozen=True)
class Question:
    """What hooks are asked before it is committed.

    Args:
        mutation: The change.
        state: Gives the state document before it.
        node: The step which it is about, if it is about one.
        check: Returns an amended mutation as it may stand; raises InvalidAmendment.
        begin: Begins a transaction.
        happened: It has happened already, so that nobody can refuse or change it.
    """

    mutation: Mutation
    state: Callable[[], State]
    node: str | None
    check: Callable[[Any, Mutation], Mutation]
    begin: BeginTransaction
    happened: bool = False


class HookManager:
    """The hooks of one execution in this process, as far as they are asked before a change.

    Args:
        hooks: In the order in which they are called.
        ledger: Where calls are noted.
        redact: Masks secrets in a text or JSON value.

    Attributes:
        log: Takes what hooks log, besides standard error: a level and a text.
    """

    def __init__(self, hooks: Sequence[ActiveHook], ledger: Ledger, redact: Callable[[Any], Any]):
        self.hooks = tuple(hooks)
        self.log: Callable[[int, str], None] | None = None
        self._ledger = ledger
        self._redact = redact
        self._initialize = [each for each in hooks if _INITIALIZE in each.events]
        self._mutation = [each for each in hooks if _MUTATION in each.events]

    @property
    def asks(self) -> bool:
        """Whether any hook is asked before mutations."""
        return bool(self._mutation)

    def initialize(self, pipeline: PipelineState, context: ExecutionContext) -> ExecutionContext:
        """Asks before an execution is initialized; returns the context as the hooks leave it.

        Raises:
            Vetoed: A hook refused.
            HookError: A hook failed, and its failures count.
        """
        fault: HookError | None = None
        for each in self._initialize:
            call = self._begin(pipeline.id, each, _INITIALIZE, None)
            values = {"pipeline": pipeline, "context": context}
            called = self._call(each, _INITIALIZE, values, pipeline.id, None)
            context, failed = self._end(
                call, each, called, context, _checked_context, happened=False
            )
            fault = fault or failed
        if fault is not None:
            raise fault
        return context

    def mutate(self, pipeline_id: str, question: Question) -> Mutation:
        """Asks before a change is committed; returns the mutation as the hooks leave it.

        Raises:
            Vetoed: A hook refused.
            HookError: A hook failed, and its failures count.
        """
        busy = _asking.get()
        mutation = question.mutation
        fault: HookError | None = None
        state: State | None = None
        for each in self._mutation:
            if each.key in busy:
                continue
            values: dict[str, Any] = {"mutation": mutation}
            if "state" in each.events[_MUTATION]:
                state = values["state"] = state or question.state()
            call = self._begin(pipeline_id, each, _MUTATION, question.node)
            token = _asking.set(busy | {each.key})
            try:
                called = self._call(each, _MUTATION, values, pipeline_id, question.begin)
            finally:
                _asking.reset(token)
            mutation, failed = self._end(
                call, each, called, mutation, question.check, happened=question.happened
            )
            fault = fault or failed
        if fault is not None and not question.happened:
            raise fault
        return mutation

    def _begin(self, pipeline_id: str, each: ActiveHook, event: str, node: str | None) -> int:
        return self._ledger.begin_call(
            pipeline_id, event=event, hook=each.key, plugin=each.label, node=node
        )

    def _call(
        self,
        each: ActiveHook,
        event: str,
        values: Mapping[str, Any],
        pipeline_id: str,
        begin: BeginTransaction | None,
    ) -> Called:
        called = call_hook(
            each, event, values, pipeline_id=pipeline_id, begin=begin, redact=self._redact
        )
        if self.log is not None:
            for level, text in called.log:
                self.log(level, text)
        return called

    def _end(
        self,
        call: int,
        each: ActiveHook,
        called: Called,
        given: Any,
        check: Callable[[Any, Any], Any],
        *,
        happened: bool,
    ) -> tuple[Any, HookError | None]:
        """Notes what came of a call; returns what goes on, and a fault which counts."""
        verdict = _judge(each, called, given, check, happened=happened)
        detail = None if verdict.detail is None else self._redact(verdict.detail)
        self._ledger.end_call(call, verdict.outcome, called.milliseconds, detail)
        if verdict.veto is not None:
            raise Vetoed(each.label, each.name, self._redact(verdict.veto))
        if verdict.fault is None or each.hook.on_error != "fail_run":
            return verdict.value, None
        return verdict.value, HookError(each.label, self._redact(verdict.fault))


@dataclass(frozen=True)
class _Verdict:
    outcome: str
    value: Any
    detail: Mapping[str, Any] | None = None
    veto: str | None = None
    fault: str | None = None


def _judge(
    each: ActiveHook,
    called: Called,
    given: Any,
    check: Callable[[Any, Any], Any],
    *,
    happened: bool,
) -> _Verdict:
    if called.outcome == "vetoed":
        detail = {"reason": called.reason}
        if happened:
            return _Verdict("veto ignored", given, detail)
        return _Verdict("vetoed", given, detail, veto=called.reason)
    if called.outcome != "returned":
        error = called.error or {}
        told = f"{each.name} failed: {error.get('type')}: {error.get('message')}"
        if called.outcome == "timed out" and each.hook.on_timeout == "refuse" and not happened:
            return _Verdict(called.outcome, given, error, veto=str(error.get("message")))
        return _Verdict(called.outcome, given, error, fault=told)
    if called.value is None or called.value is given:
        return _Verdict("returned", given)
    if happened:
        return _Verdict("amendment ignored", given)
    try:
        amended = check(called.value, given)
    except InvalidAmendment as error:
        told = f"{each.name} returned what cannot be used: {error}"
        return _Verdict("invalid", given, {"problem": str(error)}, fault=told)
    if amended is given:
        return _Verdict("returned", given)
    return _Verdict("amended", amended, {"changed": _changes(given, amended)})


def differ(one: Any, other: Any) -> bool:
    """Tells whether two values differ; of those which cannot be compared, that they do."""
    if one is other:
        return False
    try:
        return bool(one != other)
    except Exception:  # noqa: BLE001 - a table compares by its cells, others in their own way
        return True


def _changes(before: Any, after: Any) -> list[str]:
    if isinstance(before, Mutation):
        names = [name for name in before.paths if differ(before.after[name], after.after[name])]
        return names if before.value is after.value else [*names, "value"]
    old, new = before.to_dict(), after.to_dict()
    return [f"context.{name}" for name in old if old[name] != new[name]]


def _checked_context(value: Any, given: ExecutionContext) -> ExecutionContext:
    if isinstance(value, Mapping):
        try:
            value = ExecutionContext.from_dict(cast("Mapping[str, Any]", value))
        except TypeError as error:
            raise InvalidAmendment(f"it is no Execution Context: {error}") from None
    if not isinstance(value, ExecutionContext):
        raise InvalidAmendment(
            f"pre_state_initialize returns an Execution Context or None, not {type(value).__name__}"
        )
    if tuple(value.active_plugins) != tuple(given.active_plugins):
        raise InvalidAmendment("active_plugins is what was resolved, and cannot be changed")
    if set(value.environment_vars) != set(given.environment_vars):
        raise InvalidAmendment("environment_vars holds the names which the document declares")
    texts = [*value.environment_vars.values(), *value.artifacts.values(), *value.artifacts]
    if not all(isinstance(text, str) for text in texts):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidAmendment("environment_vars and artifacts are names and values of text")
    store: Any = value.secret_store
    if store is not None and not (isinstance(store, str) and "://" in store):
        raise InvalidAmendment(f"secret_store is a URL or None, not {store!r}")
    return given if value == given else value
