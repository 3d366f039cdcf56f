"""Every error which aether_dagster raises on purpose, in one tree.

Each carries its facts as attributes and a message which says what to do. Nothing here imports
anything of the product, so every ring may raise them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class AetherError(Exception):
    """Base of all errors raised on purpose by aether_dagster."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a pipeline document.

    Args:
        file: The document's path as the user gave it.
        line: 1-based line, or None where the document has no text (Python authoring).
        column: 1-based column.
        message: A sentence which says what is wrong.
        found: What stands there, shortened.
        expected: What may stand there.
        suggestion: The nearest known name, if there is one.
    """

    file: str
    line: int | None
    column: int | None
    message: str
    found: str | None = None
    expected: str | None = None
    suggestion: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(p) for p in (self.file, self.line, self.column) if p is not None)
        text = f"{place}: {self.message}"
        if self.found is not None:
            text += f"; found {self.found}"
        if self.expected is not None:
            text += f"; expected {self.expected}"
        if self.suggestion is not None:
            text += f"; did you mean {self.suggestion}?"
        return text


class ScriptError(AetherError):
    """A pipeline document is wrong (spec 2). Holds all of its problems, in document order.

    Attributes:
        problems: Every problem found, sorted by position.
        file, line, column: The position of the first one.
    """

    def __init__(self, problems: Iterable[Problem]):
        self.problems: tuple[Problem, ...] = tuple(problems)
        if not self.problems:
            raise AssertionError("a ScriptError needs at least one problem")
        first = self.problems[0]
        self.file, self.line, self.column = first.file, first.line, first.column
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SettingsError(AetherError):
    """A setting, flag or environment variable has a value which cannot be used."""


class StateError(AetherError):
    """The state refuses a change or a read (spec 1)."""


class UnknownExecution(StateError):
    """The journal holds no execution of that id.

    Attributes:
        pipeline_id: The id which was asked for.
    """

    def __init__(self, pipeline_id: str, known: Sequence[str] = ()):
        self.pipeline_id = pipeline_id
        hint = f" The newest are {', '.join(known)}." if known else " It is empty."
        super().__init__(f"The journal holds no execution {pipeline_id!r}.{hint}")


class IllegalTransition(StateError):
    """A writer tried a transition which the lifecycle does not know (spec 1.3).

    Attributes:
        node: The step's name.
        before: Its status and attempt now, as text.
        after: The status and attempt which were refused, as text.
    """

    def __init__(self, node: str, before: str, after: str):
        self.node, self.before, self.after = node, before, after
        super().__init__(f"Node {node!r} cannot go from {before} to {after}.")


class ReadOnlyState(StateError):
    """A plugin tried to write outside `context.artifacts` (spec 1.6).

    Attributes:
        key: The path which is not a plugin's to write.
    """

    def __init__(self, key: str):
        self.key = key
        super().__init__(
            f"{key!r} cannot be written by a plugin; plugins write context.artifacts.<name>, "
            "and tx.private[...] for what they want to remember."
        )


class WriteConflict(StateError):
    """A transaction read or wrote keys which somebody else changed meanwhile (spec 1.6).

    Attributes:
        keys: The paths in conflict, sorted.
    """

    def __init__(self, keys: Iterable[str]):
        self.keys = tuple(sorted(keys))
        super().__init__(
            f"Changed since the transaction began: {', '.join(self.keys)}. "
            "Run it again, for instance with manager.transact(fn)."
        )


class TransactionError(StateError):
    """A transaction was nested, used after its end, or used from another thread."""


class DependencyFailed(StateError):
    """A step was started although a step which it depends on had failed.

    Dagster's own executors never do that; the one of Dask does.
    """

    def __init__(self, step: str, failed: Sequence[str]):
        self.step = step
        self.failed = tuple(failed)
        names = ", ".join(repr(name) for name in failed)
        super().__init__(f"Step {step!r} did not run: it depends on {names}, which failed.")


class ExecutionEnded(StateError):
    """A step was started after its execution had been brought to its end."""

    def __init__(self, step: str, pipeline_id: str):
        self.step = step
        self.pipeline_id = pipeline_id
        super().__init__(
            f"Step {step!r} did not run: {pipeline_id} has been brought to its end already, "
            "because the process of its run died or the run was ended."
        )


class ExecutionMismatch(StateError):
    """The document which a process compiled is not the one its execution was begun with."""


class NothingToResume(StateError):
    """Every step of the execution which is to be resumed succeeded, and none was changed.

    Attributes:
        pipeline_id: The execution.
    """

    def __init__(self, pipeline_id: str):
        self.pipeline_id = pipeline_id
        super().__init__(
            f"Nothing to resume: every step of {pipeline_id} succeeded, and none was changed since."
        )


class JournalError(AetherError):
    """The journal cannot be opened, read or written; the message names the URL without secrets."""


class SnapshotError(AetherError):
    """The state history cannot be read or written (spec 3)."""


class FolderExists(SnapshotError):
    """An execution folder of that name is already there.

    Attributes:
        folder: Its name.
    """

    def __init__(self, folder: str):
        self.folder = folder
        super().__init__(f"The folder {folder!r} exists already and belongs to another execution.")


class ValueStoreError(AetherError):
    """A stored value is missing, damaged, or cannot be stored."""


class SealError(AetherError):
    """Something sealed cannot be opened, or cannot be sealed (spec 3)."""


class UnknownKey(SealError):
    """The file was sealed with a key which is not in the key ring, or there is no key at all."""


class WrongKey(SealError):
    """The key of that id does not open the file."""


class Tampered(SealError):
    """The file, or its place in the chain, was changed after it was sealed."""


class Truncated(Tampered):
    """The end of the file is missing."""


class Misplaced(Tampered):
    """The file is whole, and another one than its name and folder say.

    Attributes:
        execution: The pipeline id of the execution which it was sealed for.
        name: The name which it was sealed under.
    """

    def __init__(self, execution: str, name: str):
        self.execution, self.name = execution, name
        super().__init__(f"It is {name!r} of {execution}.")


class NotSealed(SealError):
    """A plain file stands where a sealed one must be."""


class ProtocolError(AetherError):
    """A client of the live protocol said something which it may not say (spec 4)."""


class PluginError(AetherError):
    """A plugin is missing, does not fit, or cannot be loaded (spec 5)."""


class HookError(AetherError):
    """A state hook failed.

    Attributes:
        plugin: `Name@version` of the plugin which the hook belongs to.
    """

    def __init__(self, plugin: str, message: str):
        self.plugin = plugin
        super().__init__(f"{plugin}: {message}")


class Vetoed(HookError):
    """A state hook refused what was about to happen (spec 5).

    Attributes:
        plugin: `Name@version` of the plugin which the hook belongs to.
        hook: The hook's class.
        reason: Why, in the hook's own words.
    """

    def __init__(self, plugin: str, hook: str, reason: str):
        self.hook, self.reason = hook, reason
        super().__init__(plugin, f"{hook} refused: {reason}")

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        # A step's process hands it on to another.
        return Vetoed, (self.plugin, self.hook, self.reason)


class StepError(AetherError):
    """A step's attempt ended without a value."""


class StepTimeout(StepError):
    """An attempt took longer than its step's `timeout` and was ended.

    Attributes:
        seconds: The limit which passed.
    """

    def __init__(self, seconds: float):
        self.seconds = seconds
        super().__init__(
            f"The attempt was ended: it took longer than its timeout of {seconds:g} s."
        )


class StepFailed(StepError):
    """A step's own code failed.

    Attributes:
        type: Class name of the original exception.
        message: Its text.
        traceback: The traceback of the user's code, without the frames of the framework.
    """

    def __init__(self, type: str, message: str, traceback: str):
        self.type, self.message, self.traceback = type, message, traceback
        super().__init__(f"{type}: {message}" if message else type)
