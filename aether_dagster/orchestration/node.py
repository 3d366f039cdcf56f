"""The compute function of a compiled node: one attempt of one step, from start to outcome."""

import os
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dagster as dg

from aether_dagster.errors import AetherError, HookError, StepFailed, StepTimeout, Vetoed
from aether_dagster.manager import Execution
from aether_dagster.manager.ending import RETRYING
from aether_dagster.orchestration.checks import check_results
from aether_dagster.orchestration.compat import ExecutionInterrupted, retries_enabled
from aether_dagster.orchestration.names import asset_input, connector_resource_key
from aether_dagster.orchestration.pipeline import CompiledPipeline
from aether_dagster.orchestration.runtime import open_execution, secrets_of
from aether_dagster.script import Step, dagster_name
from aether_dagster.state import Outcome
from aether_dagster.steps import StepContext, delay_before, run_step
from aether_dagster.steps.registry import STEP_TYPES, StepType

OUTPUT = "result"
# What these return is what somebody else's program wrote, which may be a secret it was given.
_CAPTURES = frozenset({"shell/run", "python/script"})
_SEE_HISTORY = "see the state history"


class NodeBody:
    """What the op of a step runs. It yields exactly one output, also for None.

    Args:
        pipeline: The compiled pipeline.
        step: The step.
    """

    def __init__(self, pipeline: CompiledPipeline, step: Step):
        self.pipeline = pipeline
        self.step = step

    def __call__(
        self, context: dg.OpExecutionContext, inputs: Mapping[str, Any]
    ) -> Iterator[dg.Output[Any] | dg.AssetCheckResult]:
        """Runs an attempt; Dagster is told of its failure as of a retry or an end.

        What its output was checked for is told after it; of one which was refused, too.
        """
        checked: list[dg.AssetCheckResult] = []
        try:
            yield from self.outputs(context, lambda: self._run(context, inputs, checked))
        except dg.Failure:
            yield from checked
            raise
        yield from checked

    def outputs(
        self, context: dg.OpExecutionContext, run: Callable[[], Iterator[dg.Output[Any]]]
    ) -> Iterator[Any]:
        """Yields what `run` does; a subclass may do something around it."""
        del context
        return run()

    def _run(
        self,
        context: dg.OpExecutionContext,
        inputs: Mapping[str, Any],
        checked: list[dg.AssetCheckResult],
    ) -> Iterator[dg.Output[Any]]:
        execution = open_execution(context.instance, context.run, self.pipeline)
        attempt = context.retry_number + 1
        before = execution.ended(self.step.id, attempt)
        if before is not None:
            yield from self._tell_again(context, execution, before, checked)
            return
        value: Any = None
        failed: StepFailed | None = None
        refusal: HookError | None = None
        if execution.hooks is not None:
            execution.hooks.log = context.log.log
        try:
            with execution.redaction.masking(context.log):
                returned = self._attempt(context, execution, attempt, inputs)
                value = self._reviewed(execution, returned, checked)
        except (KeyboardInterrupt, ExecutionInterrupted):
            if execution.runs(self.step.id, attempt):
                execution.fail(self.step.id, "Cancelled", "The run was cancelled.")
            raise
        except StepTimeout as error:
            failed = StepFailed("Timeout", str(error), "")
        except StepFailed as error:
            failed = error
            # The step's own code may write an artifact, and a hook refuse that.
            refusal = error.__cause__ if isinstance(error.__cause__, HookError) else None
        except HookError as error:
            refusal = error
        if refusal is not None:
            failed = StepFailed(type(refusal).__name__, str(refusal), "")
        if failed is not None:
            # Raised out here it has no context: Dagster would store that, secrets and all.
            raise self._failure(context, execution, attempt, failed, refusal)
        yield dg.Output(value, OUTPUT)

    def _tell_again(
        self,
        context: dg.OpExecutionContext,
        execution: Execution,
        outcome: Outcome,
        checked: list[dg.AssetCheckResult],
    ) -> Iterator[dg.Output[Any]]:
        """Tells Dagster of an end which was committed by a process that died before it could."""
        if outcome.error is None:
            ref = execution.value_ref(self.step.id)
            assert ref is not None, "what succeeded has stored its value"
            value = execution.values.get(ref)
            self._check(execution, value, checked)
            yield dg.Output(value, OUTPUT)
            return
        failed = StepFailed(str(outcome.error["type"]), str(outcome.error["message"]), "")
        retrying = outcome.status == RETRYING
        raise self._told(context, execution, outcome.attempt, failed, retrying=retrying)

    def _attempt(
        self,
        context: dg.OpExecutionContext,
        execution: Execution,
        attempt: int,
        inputs: Mapping[str, Any],
    ) -> Any:
        step = self.step
        document = self.pipeline.document
        outputs = {
            upstream: inputs[dagster_name(upstream)]
            for upstream in document.data_dependencies[step.id]
        }
        for asset in document.assets.get(step.id, ()):
            outputs[f"assets.{asset}"] = inputs[asset_input(asset)]
        try:
            secret = secrets_of(execution, self.pipeline)
            arguments = execution.resolved.arguments(
                step.id, outputs=outputs, secret=secret, environ=os.environ
            )
        except AetherError as error:
            execution.start(step.id, attempt, None)
            raise StepFailed("UnresolvedReference", str(error), "") from error
        execution.redaction.learn(arguments.secrets)
        changes = execution.start(step.id, attempt, arguments.shown)
        value = run_step(
            step.type,
            arguments.args if changes is None else changes.apply(arguments.args),
            StepContext(
                step_id=step.id,
                attempt=attempt,
                execution_id=execution.id,
                pipeline=document.name,
                logger=context.log,
                artifacts=execution.artifacts(step.id),
                connection=lambda name: getattr(
                    context.resources, connector_resource_key(document.name, name)
                ),
                directory=self.pipeline.directory,
                connections=execution.connections,
                masked=execution.redaction.stream,
            ),
            timeout=step.timeout,
            step_types=_step_types(execution),
        )
        if step.type in _CAPTURES:
            value = execution.redaction.value(value)
        return value

    def _reviewed(
        self, execution: Execution, returned: Any, checked: list[dg.AssetCheckResult]
    ) -> Any:
        """Lets state hooks have their say about what the step returned, and checks it."""
        value = returned
        try:
            value = execution.review_output(self.step.id, returned)
        finally:
            self._check(execution, value, checked)
        return value

    def _check(self, execution: Execution, value: Any, checked: list[dg.AssetCheckResult]) -> None:
        checks = self.pipeline.checks.get(self.step.id, ())
        if checks:
            key = self.pipeline.asset_keys[self.step.id]
            sealed = bool(self.pipeline.settings.keys)
            checked += check_results(checks, key, value, execution.redaction, sealed=sealed)

    def _failure(
        self,
        context: dg.OpExecutionContext,
        execution: Execution,
        attempt: int,
        failed: StepFailed,
        refusal: HookError | None,
    ) -> Exception:
        """Commits the failure; returns what tells Dagster of it, and whether to try again."""
        step = self.step
        retrying = attempt <= step.retries and refusal is None and retries_enabled(context)
        traceback = failed.traceback or None
        execution.fail(
            step.id,
            failed.type,
            failed.message,
            traceback=traceback,
            retrying=retrying,
            **_by_whom(refusal),
        )
        return self._told(context, execution, attempt, failed, retrying=retrying)

    def _told(
        self,
        context: dg.OpExecutionContext,
        execution: Execution,
        attempt: int,
        failed: StepFailed,
        *,
        retrying: bool,
    ) -> Exception:
        """Returns what tells Dagster of a failure."""
        step, traceback = self.step, failed.traceback or None
        sealed = bool(self.pipeline.settings.keys)
        # Dagster stores what it is told, and it is not sealed there.
        message = _SEE_HISTORY if sealed else execution.redaction.text(failed.message)
        shown = StepFailed(failed.type, message, "")
        if traceback is not None and not sealed:
            context.log.error(execution.redaction.text(traceback))
        if retrying:
            # Dagster's RetryPolicy has no greatest delay, so the wait is ours to compute.
            wait = delay_before(step.retry, attempt + 1, random.random)
            request = dg.RetryRequested(max_retries=step.retries, seconds_to_wait=wait)
            request.__cause__ = shown
            return request
        metadata = {"aether/error_type": failed.type, "aether/attempt": attempt}
        return dg.Failure(str(shown), metadata=metadata, allow_retries=False)


def _step_types(execution: Execution) -> Mapping[str, StepType]:
    if execution.active is None:
        return STEP_TYPES
    brought = execution.active.step_types.items()
    return {**STEP_TYPES, **{name: StepType(target) for name, target in brought}}


def _by_whom(refusal: HookError | None) -> dict[str, str]:
    if refusal is None:
        return {}
    hook = {"hook": refusal.hook} if isinstance(refusal, Vetoed) else {}
    return {**hook, "plugin": refusal.plugin}


def node_body(op_def: Any) -> NodeBody | None:
    """Returns our compute function of an op definition, or None where the op is not ours."""
    body = getattr(op_def, "compute_fn", None)
    return body if isinstance(body, NodeBody) else None
