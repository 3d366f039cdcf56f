"""The pipeline document as pydantic models (spec 2), for YAML and for Python alike."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

FORMAT_VERSION = "2.1"
MAX_ID_LENGTH = 128

PIPELINE_NAME = r"^[A-Za-z0-9_-]+$"
IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_-]*$"
VARIABLE_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
TYPE_NAME = r"^[A-Za-z][A-Za-z0-9_.-]*/[A-Za-z][A-Za-z0-9_.-]*$"
PLUGIN_NAME = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
SEMANTIC_VERSION = (
    r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$"
)
OWNER = r"^(team:.+|[^@\s]+@[^@\s]+\.[^@\s]+)$"
LABEL_KEY = r"^([A-Za-z0-9_.-]{1,63}/)?[A-Za-z0-9_.-]{1,63}$"
LABEL_VALUE = r"^[A-Za-z0-9_.-]{0,63}$"
STORE_URL = r"^([A-Za-z][A-Za-z0-9+.-]*://|\$\{).*$"

EXPECTED_BY_PATTERN = {
    PIPELINE_NAME: "letters, digits, '_' and '-'",
    IDENTIFIER: "letters, digits, '_' and '-', beginning with a letter or '_'",
    VARIABLE_NAME: "letters, digits and '_', beginning with a letter or '_'",
    PLUGIN_NAME: "the name of a distribution",
    SEMANTIC_VERSION: "a semantic version such as '1.4.0'",
    OWNER: "an e-mail address, or a team such as 'team:data'",
    LABEL_KEY: "at most 63 letters, digits, '_', '-' and '.', maybe after a 'namespace/'",
    LABEL_VALUE: "at most 63 letters, digits, '_', '-' and '.'",
    STORE_URL: "a URL such as 'vault://aether-prod'",
}

DOCUMENT = "document"
"""Validation context which says that the data has a document's shape, not Python's short form."""


def _integral(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Identifier = Annotated[str, StringConstraints(pattern=IDENTIFIER)]
VariableName = Annotated[str, StringConstraints(pattern=VARIABLE_NAME)]
Count = Annotated[int, BeforeValidator(_integral), Field(ge=0)]
"""A whole number ≥ 0; JSON does not tell 2 from 2.0."""
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Part(BaseModel):
    """Base of every part of a document: strict, frozen, unknown keys are errors.

    An explicit null for an optional key means its default (spec 1.1, `config_hash`). A default
    which is a part itself is made by `model_construct`: that needs no validator, which costs
    milliseconds to build.
    """

    model_config = ConfigDict(
        # A document has few of the parts; a part which is not in it costs nothing.
        defer_build=True,
        strict=True,
        frozen=True,
        extra="forbid",
        validate_by_name=True,
        validate_by_alias=True,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_means_default(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not any(v is None for v in data.values()):  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            return data  # pyright: ignore[reportUnknownVariableType]
        optional: set[str] = set()
        for name, field in cls.model_fields.items():
            if not field.is_required():
                optional.update({name, str(field.validation_alias or name)})
        return {k: v for k, v in data.items() if v is not None or k not in optional}  # pyright: ignore[reportUnknownVariableType]


class Metadata(Part):
    """What a pipeline is.

    Attributes:
        name: Letters, digits, `_` and `-`; the asset group and job in Dagster.
        version: The pipeline's own version, such as `1.4.0`.
        description: What it does, for people.
        owners: E-mail addresses, or teams such as `team:data`.
        labels: Tags in Dagster.
    """

    name: Annotated[str, StringConstraints(pattern=PIPELINE_NAME, max_length=MAX_ID_LENGTH)]
    version: Annotated[str, StringConstraints(pattern=SEMANTIC_VERSION)] | None = None
    description: str | None = None
    owners: Sequence[Annotated[str, StringConstraints(pattern=OWNER)]] = ()
    labels: dict[
        Annotated[str, StringConstraints(pattern=LABEL_KEY)],
        Annotated[str, StringConstraints(pattern=LABEL_VALUE)],
    ] = Field(default_factory=dict)


class PluginRequirement(Part):
    """A plugin which the pipeline needs.

    Attributes:
        name: The plugin's distribution.
        version: An npm-style range: `^1.4.0`, `~1.4`, `>=1.2 <3`, `1.x || 2.x`.
    """

    name: Annotated[str, StringConstraints(pattern=PLUGIN_NAME)]
    version: str = "*"


class Context(Part):
    """What the Execution Context begins with (spec 1.1).

    Attributes:
        environment_vars: The only variables which enter the state.
        secret_store: Where secrets are: `env://`, `file://…`, `vault://…`; never a secret.
        artifacts: Shared resources: name → path or URI.
        secret_env: Environment variables whose values are secrets: redacted everywhere, and kept
            nowhere.
    """

    environment_vars: dict[VariableName, str] = Field(default_factory=dict)
    secret_store: Annotated[str, StringConstraints(pattern=STORE_URL)] | None = None
    artifacts: dict[Annotated[str, StringConstraints(min_length=1)], str] = Field(
        default_factory=dict
    )
    secret_env: Sequence[VariableName] = ()


class Connector(Part):
    """A named connection, which becomes a Dagster resource.

    Attributes:
        type: `sql`, `http`, or `Plugin/kind`.
        url: Of `sql` a SQLAlchemy URL; of `http` the URL which requests are relative to.
        headers: Of `http`: header fields which go with every request.
        options: Of `sql`: keyword arguments of SQLAlchemy's `create_engine`; of `http`: of
            httpx's client; of a plugin's connector: what it wants.
    """

    type: str
    url: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)


class Retry(Part):
    """How long to wait before a step's next attempt.

    Attributes:
        delay: Seconds before the first retry.
        backoff: The wait before retry n is `delay` (`constant`), `delay * n` (`linear`) or
            `delay * 2**(n - 1)` (`exponential`).
        jitter: `full` takes a random part of the wait, `plus_minus` varies it by up to its half.
        max_delay: The longest wait in seconds, without a limit unless given.
    """

    delay: Seconds = 1.0
    backoff: Literal["constant", "linear", "exponential"] = "constant"
    jitter: Literal["none", "full", "plus_minus"] = "none"
    max_delay: Seconds | None = None


class Step(Part):
    """One step of a pipeline.

    Args:
        id: Its name, unique in the pipeline, at most 128 characters.
        type: A built-in type (`python/call`, …) or `Plugin/action`.
        args: Arguments of that type; strings may hold references (`${…}`).
        depends_on: Ids of steps which must succeed first (`dependsOn` in a document).
        retries: Attempts after the first one which failed.
        retry: The wait between attempts.
        timeout: Seconds for one attempt.
        parallel: False makes the step run alone within its execution.
        description: What it does, for people.
    """

    id: Annotated[str, StringConstraints(pattern=IDENTIFIER, max_length=MAX_ID_LENGTH)]
    type: str
    description: str | None = None
    args: dict[str, Any] = Field(default_factory=dict)
    depends_on: Sequence[str] = Field(
        default=(), validation_alias="dependsOn", serialization_alias="dependsOn"
    )
    retries: Count = 0
    retry: Retry = Field(default_factory=Retry.model_construct)
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    parallel: bool = True


class Hook(Part):
    """What to do after an execution ended.

    Attributes:
        type: A step type.
        args: Its arguments.
        timeout: Seconds which it may take.
    """

    type: str
    args: dict[str, Any] = Field(default_factory=dict)
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class Hooks(Part):
    """Deliveries after the final state is committed (spec 5).

    Attributes:
        on_success: After an execution which succeeded (`onSuccess` in a document).
        on_failure: After one which failed (`onFailure`).
        on_complete: After every one (`onComplete`).
    """

    on_success: Sequence[Hook] = Field(
        default=(), validation_alias="onSuccess", serialization_alias="onSuccess"
    )
    on_failure: Sequence[Hook] = Field(
        default=(), validation_alias="onFailure", serialization_alias="onFailure"
    )
    on_complete: Sequence[Hook] = Field(
        default=(), validation_alias="onComplete", serialization_alias="onComplete"
    )


class Steps(Part):
    """The document's `pipeline`.

    Attributes:
        steps: The steps, at least one.
    """

    steps: Annotated[Sequence[Step], Field(min_length=1)]


class Pipeline(Part):
    """A whole pipeline document (spec 2).

    In Python, `Pipeline(name="load", steps=[Step(…), …])` is short for the document's shape;
    `metadata=Metadata(…)` stands in for `name` where there is more to say. Both ways give the
    same document and the same `config_hash`.

    Attributes:
        version: The version of the document format.
        metadata: Name, version, description, owners, labels.
        plugins: Plugins which it needs.
        context: What the Execution Context begins with.
        variables: Values for `${NAME}`; the command line's `--var` overrides them.
        connectors: Named connections.
        pipeline: The steps.
        hooks: What to do after an execution ended.

    Raises:
        pydantic.ValidationError: The parts do not fit the models. The rules between parts
            (references, cycles, names …) are checked by `Document.from_pipeline`.
    """

    version: Literal["2.1"]
    metadata: Metadata
    plugins: Sequence[PluginRequirement] = ()
    context: Context = Field(default_factory=Context.model_construct)
    variables: dict[VariableName, Any] = Field(default_factory=dict)
    connectors: dict[Identifier, Connector] = Field(default_factory=dict)
    pipeline: Steps
    hooks: Hooks = Field(default_factory=Hooks.model_construct)

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            steps: Sequence[Step],
            name: str = ...,
            metadata: Metadata = ...,
            plugins: Sequence[PluginRequirement] = ...,
            context: Context = ...,
            variables: dict[str, Any] = ...,
            connectors: dict[str, Connector] = ...,
            hooks: Hooks = ...,
        ) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, data: Any, info: ValidationInfo) -> Any:
        if info.context == DOCUMENT or not isinstance(data, dict):
            return data  # pyright: ignore[reportUnknownVariableType]
        whole: dict[str, Any] = {"version": FORMAT_VERSION, **data}
        if "name" in whole and "metadata" not in whole:
            whole["metadata"] = {"name": whole.pop("name")}
        if "steps" in whole and "pipeline" not in whole:
            whole["pipeline"] = {"steps": whole.pop("steps")}
        return whole

    @property
    def name(self) -> str:
        """The pipeline's name: `metadata.name`."""
        return self.metadata.name

    @property
    def steps(self) -> Sequence[Step]:
        """The steps in document order."""
        return self.pipeline.steps

    def to_yaml(self) -> str:
        """Return the document as YAML 1.2, leaving out what has its default."""
        from aether_dagster.script.loader import dump

        document = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return dump({"version": self.version, **document})
