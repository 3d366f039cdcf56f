"""The three state objects of AetherScript, frozen, and what goes with them (spec 1.1).

`to_dict` gives the JSON object with its keys in the documented order; `from_dict` takes one.
Everything inside is immutable, however it was made: objects are `FrozenDict`, arrays are tuples.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, NoReturn, Self, cast


class NodeStatus(StrEnum):
    """Where a node is in its lifecycle (spec 1.3)."""

    PENDING = "pending"
    EXECUTING = "executing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRYING = "retrying"


class FrozenDict(dict[str, Any]):
    """A JSON object which cannot be changed: every attempt raises TypeError.

    It is a dict, so that `json.dumps`, `pickle` and comparison with a dict work as ever.
    """

    def _refuse(self: Any, *_arguments: Any, **_keywords: Any) -> NoReturn:
        raise TypeError("state handed to a plugin cannot be changed; thaw() gives a copy which can")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)


# Most of what is frozen; to ask an abstract class about each takes longer than all the rest.
_PLAIN = frozenset({str, int, float, bool, type(None)})


def freeze(value: Any) -> Any:
    """Returns `value` with every object a `FrozenDict` and every array a tuple."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        items = cast(Mapping[str, Any], value).items()
        return FrozenDict({key: freeze(item) for key, item in items})
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in cast(list[Any], value))
    return value


def thaw(value: Any) -> Any:
    """Returns a mutable copy of a frozen value: dicts and lists again."""
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [thaw(item) for item in cast(list[Any], value)]
    return value


class _Record:
    """Conversion between a frozen dataclass and its JSON object."""

    def __post_init__(self) -> None:
        members = vars(self)  # to be set in spite of `frozen`
        for name, value in members.items():
            members[name] = freeze(value)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Takes the documented JSON object; unknown members are an error (TypeError)."""
        return cls(**record)

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON object, keys in the documented order."""
        return {f.name: thaw(getattr(self, f.name)) for f in fields(cast(Any, self))}


@dataclass(frozen=True)
class PipelineState(_Record):
    """Pipeline State, immutable: which pipeline, which version of it, and when it began.

    Args:
        id: `pipeline_` and 8 characters of Crockford base32.
        version: Semantic version `x.y.z`.
        start_timestamp: Unix seconds, UTC, rounded to milliseconds.
        config_hash: 15 hexadecimal digits over the validated document.
    """

    id: str
    version: str
    start_timestamp: float
    config_hash: str


@dataclass(frozen=True)
class NodeState(_Record):
    """Node State, mutable over the execution; this is how it stood at one version.

    Args:
        node_id: Step name, `_`, 8 characters of Crockford base32.
        status: One of the five of `NodeStatus`.
        input_payload: The step's resolved arguments, secrets as `"***"`.
        output_payload: What the step returned, or a reference to where it is stored.
        error: `{"type", "message", "attempt", "traceback"}` and more by type, or None.
        retry_count: Attempts before this one.
        execution_time: Seconds of the attempt.
    """

    node_id: str
    status: NodeStatus
    input_payload: Mapping[str, Any] | None = None
    output_payload: Any = None
    error: Mapping[str, Any] | None = None
    retry_count: int = 0
    execution_time: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "status", NodeStatus(self.status))

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self.retry_count + 1

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON object, keys in the documented order."""
        return super().to_dict() | {"status": self.status.value}


@dataclass(frozen=True)
class ExecutionContext(_Record):
    """Execution Context, dynamic: what the nodes of one execution share.

    Args:
        environment_vars: The variables which the document declares.
        secret_store: URL of where secrets are, never a secret.
        active_plugins: `Name@x.y.z`, sorted.
        artifacts: Name to path or URI of a shared resource.
    """

    environment_vars: Mapping[str, str]
    secret_store: str | None
    active_plugins: tuple[str, ...]
    artifacts: Mapping[str, str]


@dataclass(frozen=True)
class Report(_Record):
    """The final execution report (spec 3).

    Args:
        status: `succeeded`, `failed` or `cancelled`.
        end_timestamp: Unix seconds, UTC, rounded to milliseconds.
        duration: Seconds from start to end.
        nodes: How many nodes ended in each status.
        retries: Attempts beyond the first, over all nodes.
        failed: Names of the nodes which failed.
        version: The journal's last version.
        details: What else the finalization reports: clean-up, history, the execution resumed.
    """

    status: str
    end_timestamp: float
    duration: float
    nodes: Mapping[str, int]
    retries: int
    failed: tuple[str, ...]
    version: int
    details: Mapping[str, Any]

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Takes the report of a `state_final.json`; members beyond the seven are `details`."""
        known = {f.name for f in fields(cls)} - {"details"}
        base = {key: value for key, value in record.items() if key in known}
        rest = {key: value for key, value in record.items() if key not in known}
        return cls(**base, details=rest)

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON object of the report, `details` flattened into it."""
        record = super().to_dict()
        details = record.pop("details")
        return record | details


@dataclass(frozen=True)
class Mutation:
    """A change which is about to be committed, as `pre_state_mutation` is given it (spec 5).

    Args:
        paths: The paths which change, for instance `nodes.transform_csv.status`.
        before: Their values now, by path.
        after: Their values once committed, by path.
        value: The live object where the change is a step's output, else None.
    """

    paths: tuple[str, ...]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    value: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", tuple(self.paths))
        object.__setattr__(self, "before", freeze(self.before))
        object.__setattr__(self, "after", freeze(self.after))
