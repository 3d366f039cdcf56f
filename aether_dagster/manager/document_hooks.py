"""The document's `onSuccess`, `onFailure` and `onComplete` as hooks of the outbox (spec 5)."""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aether_dagster.manager.execution import Execution
from aether_dagster.plugins.hooks import ActiveHook
from aether_dagster.plugins.outbox import FINALIZE
from aether_dagster.script import Document
from aether_dagster.script.model import Hook
from aether_dagster.steps import Connections, StepContext, run_step
from aether_dagster.steps.registry import STEP_TYPES, StepType
from aethersdk import Report, StateHook

PREFIX = "document."
SOURCE = "document:"

# How long a hook without a timeout of its own may take, in seconds, and how much longer it may
# take to end one which has one.
_LIMIT = 300.0
_GRACE = 15.0
_WANTED = {
    "onSuccess": frozenset({"succeeded"}),
    "onFailure": frozenset({"failed"}),
    "onComplete": frozenset({"succeeded", "failed", "cancelled"}),
}

Secret = Callable[[str], str]


class _DocumentHook(StateHook):
    """One entry of a document's `hooks:`."""

    def __init__(self, event: str, run: Callable[[], object]):
        self._wanted, self._run = _WANTED[event], run

    def post_state_finalize(self, report: Report) -> None:
        if report.status in self._wanted:
            self._run()


def document_hooks(
    document: Document,
    directory: Path,
    execution: Execution | None = None,
    *,
    secret: Secret | None = None,
    step_types: Mapping[str, str] | None = None,
) -> list[ActiveHook]:
    """Returns the hooks of a document, in its order.

    Args:
        document: The document.
        directory: Its folder.
        execution: What they are about; without one they can be registered, and not called.
        secret: Gives a secret by name.
        step_types: `module:function` of the plugins' step types.
    """
    hooks = document.pipeline.hooks
    events = {
        "onSuccess": hooks.on_success,
        "onFailure": hooks.on_failure,
        "onComplete": hooks.on_complete,
    }
    found: list[ActiveHook] = []
    for event, entries in events.items():
        for index, entry in enumerate(entries):
            call = _Call(execution, event, index, entry, directory, secret, step_types or {})
            limit = _LIMIT if entry.timeout is None else entry.timeout + _GRACE
            kind = type(event, (_DocumentHook,), {"timeout": limit})
            found.append(
                ActiveHook(
                    kind(event, call),
                    f"{PREFIX}{event}[{index}]",
                    f"{document.name}@{document.version}",
                    f"{SOURCE}{directory}",
                    {FINALIZE: ("report",)},
                )
            )
    return found


class _Call:
    """Does what an entry says."""

    def __init__(
        self,
        execution: Execution | None,
        event: str,
        index: int,
        entry: Hook,
        directory: Path,
        secret: Secret | None,
        step_types: Mapping[str, str],
    ):
        self._execution = execution
        self._event, self._index, self._entry = event, index, entry
        self._directory = directory
        self._secret = secret or os.environ.__getitem__
        self._step_types = step_types

    def __call__(self) -> object:
        execution = self._execution
        assert execution is not None, "it was made to be registered alone"
        arguments = execution.resolved.hook_arguments(
            self._event,
            self._index,
            outputs=_Outputs(execution),
            secret=self._secret,
            environ=os.environ,
        )
        execution.redaction.learn(arguments.secrets)
        name = f"{self._event}[{self._index}]"
        connections = Connections()
        context = StepContext(
            step_id=name,
            attempt=1,
            execution_id=execution.id,
            pipeline=execution.document.name,
            logger=logging.getLogger(f"aethersdk.hooks.{name}"),
            artifacts=execution.artifacts(name),
            connection=self._connector,
            directory=self._directory,
            connections=connections,
            masked=execution.redaction.stream,
        )
        types = {kind: StepType(target) for kind, target in self._step_types.items()}
        try:
            run_step(
                self._entry.type,
                arguments.args,
                context,
                timeout=self._entry.timeout,
                step_types={**STEP_TYPES, **types},
            )
        finally:
            connections.close()

    def _connector(self, name: str) -> Mapping[str, Any]:
        assert self._execution is not None
        resolved = self._execution.resolved.connector(name, environ=os.environ, secret=self._secret)
        self._execution.redaction.learn(resolved.secrets)
        return resolved.args


class _Outputs(Mapping[str, Any]):
    """What steps returned, loaded where an argument refers to it."""

    def __init__(self, execution: Execution):
        self._execution = execution

    def __getitem__(self, step: str) -> Any:
        ref = self._execution.value_ref(step)
        if ref is None:
            raise KeyError(step)
        return self._execution.values.get(ref)

    def __iter__(self) -> Iterator[str]:
        return (s for s in self._execution.document.order if self._execution.value_ref(s))

    def __len__(self) -> int:
        return sum(1 for _ in self)
