"""The whole state document, frozen, as hooks are given it (spec 1.1)."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NoReturn

from aethersdk.state import ExecutionContext, NodeState, PipelineState, thaw


class _Nodes(Mapping[str, NodeState]):
    """Made of records as they are asked for: a hook looks at few of many nodes."""

    def __init__(self, records: Mapping[str, Any]):
        self._records = records

    def __getitem__(self, name: str) -> NodeState:
        return NodeState.from_dict(self._records[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)


class State:
    """The state of one execution at one version.

    Args:
        document: The state document, `{"pipeline", "nodes", "context"}`; nobody changes it later.
    """

    def __init__(self, document: Mapping[str, Any]):
        self._document: Mapping[str, Any]
        self.__dict__["_document"] = document

    @cached_property
    def pipeline(self) -> PipelineState:
        """The Pipeline State."""
        return PipelineState.from_dict(self._document["pipeline"])

    @cached_property
    def nodes(self) -> Mapping[str, NodeState]:
        """Node States by step name, in topological order."""
        return _Nodes(self._document["nodes"])

    @cached_property
    def context(self) -> ExecutionContext:
        """The Execution Context."""
        return ExecutionContext.from_dict(self._document["context"])

    def to_dict(self) -> dict[str, Any]:
        """Returns the state document as a JSON object of the caller's own."""
        return thaw(self._document)

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError(f"{name!r} cannot be set: state handed to a plugin is immutable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name!r} cannot be deleted: state handed to a plugin is immutable")
