"""Tests a state hook without Dagster, a journal or a pipeline (spec 5).

The state, its transactions and the log are in memory; signatures are checked as they are when a
plugin is loaded, and what the hook is given is as immutable as it will be.
"""

import logging
from collections.abc import Generator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from aethersdk.calls import HookCall, current_call
from aethersdk.document import State
from aethersdk.hooks import StateHook
from aethersdk.signatures import check_hook
from aethersdk.state import (
    ExecutionContext,
    Mutation,
    NodeState,
    NodeStatus,
    PipelineState,
    Report,
    freeze,
)

_SUFFIX = "01H3XZAB"
_JSON = (str, int, float, bool, dict, list)


class HookTester:
    """Calls the events of one hook as the runtime would.

    Args:
        hook: The hook, or its class.
        nodes: Status by step name.
        artifacts: The execution's artifacts.
        environment_vars: Its variables.

    Attributes:
        hook: The hook.
        artifacts: As the hook's transactions left them.
        private: What the hook remembers, as its transactions left it.
        messages: What it logged.

    Raises:
        HookDefinitionError: The hook's class is wrong.

    Example:
        tester = HookTester(NoEmptyTables)
        with pytest.raises(StateVeto, match="no rows"):
            tester.output("extract", [])
    """

    def __init__(
        self,
        hook: StateHook | type[StateHook],
        *,
        nodes: Mapping[str, str] | None = None,
        artifacts: Mapping[str, str] | None = None,
        environment_vars: Mapping[str, str] | None = None,
    ):
        self.hook = hook() if isinstance(hook, type) else hook
        self.artifacts: dict[str, str] = dict(artifacts or {})
        self.private: dict[str, Any] = {}
        self.messages: list[str] = []
        self._events = check_hook(type(self.hook))
        self._nodes = {
            name: NodeState(f"{name}_{_SUFFIX}", NodeStatus(status))
            for name, status in (nodes or {}).items()
        }
        self._variables = dict(environment_vars or {})
        self._deliveries = 0

    @property
    def pipeline(self) -> PipelineState:
        """The Pipeline State which the hook is given."""
        return PipelineState("pipeline_01H3XYZ9", "1.0.0", 1689876543.212, "e3b0c44298fc1cd")

    @property
    def context(self) -> ExecutionContext:
        """The Execution Context which the hook is given."""
        return ExecutionContext(self._variables, None, (), self.artifacts)

    @property
    def state(self) -> State:
        """The state document which the hook is given."""
        return State(
            {
                "pipeline": self.pipeline.to_dict(),
                "nodes": {name: node.to_dict() for name, node in self._nodes.items()},
                "context": self.context.to_dict(),
            }
        )

    def initialize(self) -> ExecutionContext:
        """Calls `pre_state_initialize`; returns the context as the hook leaves it."""
        changed = self._call(
            "pre_state_initialize", pipeline=self.pipeline, context=self.context, pending=True
        )
        return self.context if changed is None else changed

    def start(self, step: str, arguments: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Calls `pre_state_mutation` for the start of a step.

        Returns:
            The arguments as the hook leaves them.
        """
        status, payload = f"nodes.{step}.status", f"nodes.{step}.input_payload"
        before = {status: "pending", payload: None}
        after = {status: "executing", payload: dict(arguments or {})}
        mutation = Mutation((status, payload), before, after)
        return self.mutate(mutation).after[payload]

    def output(self, step: str, value: Any) -> Any:
        """Calls `pre_state_mutation` for the output of a step; returns it as the hook leaves it."""
        status, payload = f"nodes.{step}.status", f"nodes.{step}.output_payload"
        before = {status: "executing", payload: None}
        after = {status: "succeeded", payload: value if type(value) in _JSON else None}
        mutation = Mutation((status, payload), before, after, freeze(value))
        return self.mutate(mutation).value

    def mutate(self, mutation: Mutation) -> Mutation:
        """Calls `pre_state_mutation`; returns the mutation as the hook leaves it."""
        changed = self._call("pre_state_mutation", mutation=mutation, state=self.state)
        return mutation if changed is None else changed

    def end(self, step: str, status: str = "succeeded", **members: Any) -> Any:
        """Calls `post_node_execute` for a step which ended.

        Args:
            step: Its name.
            status: `succeeded`, `failed` or `retrying`.
            members: More of its Node State, such as `error`.
        """
        before = NodeState(f"{step}_{_SUFFIX}", NodeStatus.EXECUTING)
        after = replace(before, status=NodeStatus(status), **members)
        self._nodes[step] = after
        return self._call(
            "post_node_execute",
            node_id=after.node_id,
            previous_state=before,
            current_state=after,
            delivered=step,
        )

    def finalize(self, status: str = "succeeded", **details: Any) -> Any:
        """Calls `post_state_finalize` for an execution which ended."""
        ends = [node.status.value for node in self._nodes.values()]
        report = Report(
            status=status,
            end_timestamp=1689876544.5,
            duration=1.288,
            nodes={each.value: ends.count(each.value) for each in NodeStatus},
            retries=sum(node.retry_count for node in self._nodes.values()),
            failed=tuple(n for n, node in self._nodes.items() if node.status == "failed"),
            version=10,
            details=details,
        )
        return self._call("post_state_finalize", report=report, state=self.state, delivered="")

    def _call(
        self, event: str, *, pending: bool = False, delivered: str | None = None, **values: Any
    ) -> Any:
        if event not in self._events:
            return None
        delivery_id = None
        if delivered is not None:
            self._deliveries += 1
            parts = (self.pipeline.id, str(self._deliveries), delivered, type(self.hook).__name__)
            delivery_id = "/".join(parts)
        call = HookCall(
            event,
            self.pipeline.id,
            delivery_id,
            None if pending else self._transaction,
        )
        logger = self.hook.logger
        handler = _Keep(self.messages)
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        token = current_call.set(call)
        try:
            given = {name: values[name] for name in self._events[event]}
            return getattr(self.hook, event)(**given)
        finally:
            current_call.reset(token)
            logger.setLevel(level)
            logger.removeHandler(handler)

    @contextmanager
    def _transaction(self) -> Generator["_Transaction"]:
        transaction = _Transaction(self.state.to_dict(), dict(self.private))
        yield transaction
        self.artifacts = transaction.artifacts
        self.private = dict(transaction.private)


class _Transaction:
    def __init__(self, document: dict[str, Any], private: dict[str, Any]):
        self._document = document
        self.artifacts: dict[str, str] = document["context"]["artifacts"]
        self.private: MutableMapping[str, Any] = private

    def get(self, path: str, default: Any = None) -> Any:
        value: Any = self._document
        for segment in path.split("."):
            if not isinstance(value, dict) or segment not in value:
                return default
            value = value[segment]  # pyright: ignore[reportUnknownVariableType]
        return value  # pyright: ignore[reportUnknownVariableType]

    def set(self, path: str, value: str) -> None:
        self.artifacts[self._name(path)] = value

    def delete(self, path: str) -> None:
        self.artifacts.pop(self._name(path), None)

    def _name(self, path: str) -> str:
        name = path.removeprefix("context.artifacts.")
        if name == path or "." in name:
            raise PermissionError(f"{path!r} is not context.artifacts.<name>; nothing else may be")
        return name


class _Keep(logging.Handler):
    def __init__(self, messages: list[str]):
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record.getMessage())
