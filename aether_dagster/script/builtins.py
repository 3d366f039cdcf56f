"""Arguments of the built-in step types (spec 2), as pydantic models.

A document may hold a reference wherever a value is expected, since its type is known only once it
is resolved; `parse_arguments` reads the resolved ones, and takes the text of a number for a number.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from aether_dagster.script.model import EXPECTED_BY_PATTERN, Part

CALLABLE = r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*$"
EXPECTED_BY_PATTERN[CALLABLE] = "'module:function'"

REFERENCE_PATTERN = r"(^|[^$])\$\{"


def _present(*names: str) -> dict[str, Any]:
    """The JSON Schema of a mapping in which these keys are given, and not null."""
    return {"required": list(names), "properties": {n: {"not": {"type": "null"}} for n in names}}


class OrReference:
    """Annotation: a string which holds a reference is taken too, whatever the type."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._validate, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [handler(schema), {"type": "string", "pattern": REFERENCE_PATTERN}]}

    @staticmethod
    def _validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, str) and "${" in value:
            return value
        return handler(value)


_M = TypeVar("_M", bound=BaseModel)

_Flag = Annotated[bool, OrReference()]
_Number = Annotated[float, Field(ge=0, allow_inf_nan=False), OrReference()]
_Text = str | int | float | bool
_Texts = Annotated[dict[str, Annotated[_Text, OrReference()]], OrReference()]
_Data = Annotated[dict[str, Any], OrReference()]
_Command = Annotated[str | list[_Text], OrReference()]
_Words = Annotated[list[_Text], OrReference()]


class EchoArguments(Part):
    """`core/echo`: logs a message and gives it as output.

    Attributes:
        message: Any value.
    """

    message: Any = None


class SleepArguments(Part):
    """`core/sleep`: waits.

    Attributes:
        seconds: How long.
    """

    seconds: _Number


class CallArguments(Part):
    """`python/call`: calls a function; sync or async, it may take `context`.

    Attributes:
        callable: `module:function`; every other member is a keyword argument of it.
    """

    model_config = ConfigDict(extra="allow")

    callable: Annotated[str, StringConstraints(pattern=CALLABLE), OrReference()]

    @property
    def keywords(self) -> dict[str, Any]:
        """The keyword arguments of the call."""
        return dict(self.model_extra or {})


class _ProcessArguments(Part):
    """What every step which starts a process takes.

    Attributes:
        cwd: Working directory; a relative one is relative to the document's. Default: there.
        env: Environment variables besides those of the run's own process.
        stdin: Text for its standard input.
        check: Whether an exit status other than 0 fails the step.
        output: `result` gives `{exit_code, stdout, stderr}`, `text` standard output without its
            last newline, `lines` a list of its lines, `json` what it holds as JSON.
    """

    cwd: str | None = None
    env: _Texts = Field(default_factory=dict)
    stdin: str | None = None
    check: _Flag = True
    output: Annotated[Literal["result", "text", "lines", "json"], OrReference()] = "result"


class ScriptArguments(_ProcessArguments):
    """`python/script`: runs Python in a process of its own; either `path` or `code`.

    Attributes:
        path: A file, relative to the document's directory.
        code: The program itself.
        args: Its command line arguments.
        python: The interpreter; that of the run unless given.
    """

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [_present("path"), _present("code")]},
    )

    path: str | None = None
    code: str | None = None
    args: _Words = Field(default_factory=list[_Text])
    python: str | None = None

    @model_validator(mode="after")
    def _one_program(self) -> Self:
        return _exactly_one(self, "path", "code")


class ShellArguments(_ProcessArguments):
    """`shell/run`: runs a command.

    Attributes:
        command: A list of arguments, started as it is; or a string, given to `shell -c`.
        shell: The shell for a string.
    """

    command: _Command
    shell: str = "sh"


class RequestArguments(Part):
    """`http/request`: one HTTP request; names as in httpx.

    Attributes:
        method: GET, POST, …
        url: Absolute, or relative to the connector's.
        connector: Name of a connector of type `http`.
        params: Query parameters.
        headers: Header fields.
        auth: `{username, password}` for Basic, `{token}` for Bearer.
        json: Body as JSON. At most one of `json`, `data`, `content`.
        data: Body as an HTML form.
        content: Body as text.
        timeout: Seconds for connecting and for each read or write.
        follow_redirects: Whether to.
        verify: Whether to check TLS certificates.
        raise_for_status: Whether status 400 and above fails the step.
        output: `response` gives `{status, headers, body}` (body as JSON where it is, else text);
            `json`, `text`, `bytes` the body alone.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "anyOf": [
                    _present("json", "data"),
                    _present("json", "content"),
                    _present("data", "content"),
                ]
            }
        },
    )

    method: str = "GET"
    url: str
    connector: str | None = None
    params: _Data = Field(default_factory=dict)
    headers: _Texts = Field(default_factory=dict)
    auth: _Texts | None = None
    json_: Any = Field(default=None, validation_alias="json", serialization_alias="json")
    data: _Data | None = None
    content: str | None = None
    timeout: _Number = 30.0
    follow_redirects: _Flag = True
    verify: _Flag = True
    raise_for_status: _Flag = True
    output: Annotated[Literal["response", "json", "text", "bytes"], OrReference()] = "response"

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        given = [n for n in ("json_", "data", "content") if getattr(self, n) is not None]
        if len(given) > 1:
            names = " and ".join(repr(name.rstrip("_")) for name in given)
            raise ValueError(f"a request has one body, not {names}")
        return self


class QueryArguments(Part):
    """`sql/query`: runs SQL; without `connector` and `url` in an in-memory DuckDB.

    Attributes:
        connector: Name of a connector of type `sql`.
        url: A SQLAlchemy URL, such as `sqlite:///x.db` or `duckdb:///x.duckdb`.
        query: SQL text, with `:name` parameters. Either `query` or `file`.
        file: A file which holds it, relative to the document's directory.
        parameters: Values of the parameters; a list of mappings runs it once for each.
        tables: DuckDB only: name → a CSV, Parquet or JSON file's path, rows, or a table; the
            query may read them by name.
        fetch: `all` rows, `one` row (null if there is none), or `none`: `{rowcount}`.
        format: What rows are: `records` (JSON mappings), or an `arrow`, `pandas`, `polars` table.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [_present("query"), _present("file")],
            "not": _present("connector", "url"),
        },
    )

    connector: str | None = None
    url: str | None = None
    query: str | None = None
    file: str | None = None
    parameters: Annotated[dict[str, Any] | list[dict[str, Any]], OrReference()] = Field(
        default_factory=dict
    )
    tables: _Data = Field(default_factory=dict)
    fetch: Annotated[Literal["all", "one", "none"], OrReference()] = "all"
    format: Annotated[Literal["records", "arrow", "pandas", "polars"], OrReference()] = "records"

    @model_validator(mode="after")
    def _one_query(self) -> Self:
        if self.connector is not None and self.url is not None:
            raise ValueError("give 'connector' or 'url', not both")
        return _exactly_one(self, "query", "file")


STEP_ARGUMENTS: Mapping[str, type[Part]] = {
    "core/echo": EchoArguments,
    "core/sleep": SleepArguments,
    "python/call": CallArguments,
    "python/script": ScriptArguments,
    "shell/run": ShellArguments,
    "http/request": RequestArguments,
    "sql/query": QueryArguments,
}


def parse_arguments(step_type: str, args: Mapping[str, Any]) -> BaseModel:
    """Read the resolved arguments of a built-in step type.

    Args:
        step_type: One of `STEP_ARGUMENTS`.
        args: Its arguments, without references.

    Returns:
        The model, in which the text of a number or flag has become one.

    Raises:
        pydantic.ValidationError: They do not fit.
    """
    return STEP_ARGUMENTS[step_type].model_validate(
        dict(args), strict=False, by_alias=True, by_name=False
    )


def with_defaults(step_type: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document's arguments with the defaults of format 2.1 filled in.

    Arguments of types which are not built in are returned as they are.
    """
    model = STEP_ARGUMENTS.get(step_type)
    filled = dict(args)
    if model is None:
        return filled
    for name, field in model.model_fields.items():
        key = str(field.validation_alias or name)
        if not field.is_required() and filled.get(key) is None:
            filled[key] = field.get_default(call_default_factory=True)
    return filled


def _exactly_one(model: _M, first: str, second: str) -> _M:
    given = sum(getattr(model, name) is not None for name in (first, second))
    if given != 1:
        raise ValueError(f"give either {first!r} or {second!r}{', not both' if given else ''}")
    return model
