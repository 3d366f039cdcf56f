"""Runs one attempt of a step: in this process, or in a child which a timeout can end (spec 2)."""

from collections.abc import Mapping
from typing import Any

from aether_dagster.errors import StepFailed
from aether_dagster.steps.context import StepContext
from aether_dagster.steps.failure import as_step_failed
from aether_dagster.steps.registry import STEP_TYPES, StepType


def run_step(
    step_type: str,
    args: Mapping[str, Any],
    context: StepContext,
    *,
    timeout: float | None = None,
    step_types: Mapping[str, StepType] = STEP_TYPES,
) -> Any:
    """Run one attempt of a step and give its output.

    Args:
        step_type: A key of `step_types`.
        args: The arguments, with all references resolved.
        context: What the step is given.
        timeout: Seconds for the attempt, or None. It counts from when the step's own code can
            begin; a child process is not blamed for the start of its interpreter.
        step_types: The built-in step types, and those of plugins.

    Raises:
        StepTimeout: The timeout passed; nothing of the attempt runs any more.
        StepFailed: The step failed. Its cause is the original exception where there is one in
            this process. Secrets in its texts are the caller's to redact.
    """
    kind = step_types.get(step_type)
    if kind is None:
        known = ", ".join(sorted(step_types))
        raise StepFailed("UnknownStepType", f"There is no step type {step_type!r}; {known}.", "")
    if step_type in STEP_TYPES:
        args = _checked(step_type, args)
    if timeout is not None and not kind.ends_itself:
        # Imported here: most runs start no child.
        from aether_dagster.steps.parent import run_in_child

        return run_in_child(kind, args, context, timeout)
    with as_step_failed():
        return (
            kind.load()(args, context, timeout) if kind.ends_itself else kind.load()(args, context)
        )


def _checked(step_type: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
    # Imported here, for the child of an attempt needs neither pydantic nor the language.
    from pydantic import ValidationError

    from aether_dagster.script.builtins import parse_arguments

    try:
        model = parse_arguments(step_type, args)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'args'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        message = f"The arguments of {step_type} do not fit: {problems}."
        raise StepFailed("InvalidArguments", message, "") from None
    fields = type(model).model_fields.items()
    plain = {str(field.validation_alias or name): getattr(model, name) for name, field in fields}
    return plain | (model.model_extra or {})
