"""One execution in this process: what is known of it, and the one path by which it changes."""

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from aether_dagster.errors import DependencyFailed, ExecutionEnded, HookError
from aether_dagster.journal import ExecutionRecord, Journal
from aether_dagster.journal.fold import is_due
from aether_dagster.journal.transaction import ATTEMPTS
from aether_dagster.manager.artifacts import Artifacts
from aether_dagster.manager.ending import (
    EXECUTING,
    FAILED,
    PENDING,
    RETRYING,
    SUCCEEDED,
    RunEnd,
    count_nodes,
    error_record,
    missing_ends,
    run_status,
)
from aether_dagster.manager.fitting import Fitting
from aether_dagster.manager.identity import own_identity
from aether_dagster.manager.redaction import Redaction
from aether_dagster.manager.references import referenced_values
from aether_dagster.script import Document, Resolved
from aether_dagster.state import Authority, Delta, NodeDelta, Outcome, Replica, check_transition
from aether_dagster.state.ids import delta_id
from aether_dagster.steps import ArtifactAccess, Connections
from aether_dagster.values import ValueRef, ValueStore

if TYPE_CHECKING:
    from aether_dagster.journal import Transaction
    from aether_dagster.journal.transaction import Review as WrittenReview
    from aether_dagster.manager.ledger import CallLedger
    from aether_dagster.manager.review import ArgumentChanges, Review
    from aether_dagster.plugins.activation import Active
    from aether_dagster.plugins.manager import HookManager

T = TypeVar("T")


class Execution:
    """The state of one execution, as the process which holds this object writes it.

    Several processes hold one each; the journal joins what they commit. All methods may be called
    from any thread.

    Args:
        journal: Where the execution is kept.
        record: The journal's record of it.
        document: The pipeline document, as this process compiled it.
        resolved: What was resolved once, at initialization.
        values: The artifact store.
        now: Unix seconds; passed in for tests.
    """

    def __init__(
        self,
        journal: Journal,
        record: ExecutionRecord,
        document: Document,
        resolved: Resolved,
        values: ValueStore,
        *,
        now: Callable[[], float] = time.time,
    ):
        self.journal = journal
        self.record = record
        self.document = document
        self.resolved = resolved
        self.values = values
        self.redaction = Redaction()
        self._now = now
        self._lock = threading.RLock()
        self.connections = Connections()
        self.hooks: HookManager | None = None
        self.active: Active | None = None
        self._review: Review | None = None
        self._ledger: CallLedger | None = None
        self._replica = journal.replica(record.pipeline_id)
        self._started: dict[str, tuple[int, float]] = {}
        self._committed_starts: dict[str, tuple[int, float]] = {}
        self._fitting = Fitting(values, record.pipeline_id)
        self._counter = itertools.count(1)

    @property
    def id(self) -> str:
        """The pipeline id of this execution."""
        return self.record.pipeline_id

    @property
    def replica(self) -> Replica:
        """The state as far as this process has read it; `catch_up` reads on."""
        return self._replica

    def catch_up(self) -> Replica:
        """Reads what was committed since; returns the state at the journal's head."""
        with self._lock:
            for version in self.journal.versions(self.id, after=self._replica.version):
                if not version.late:
                    for delta in version.deltas:
                        self._replica.apply(delta)
                        self._note_starts(delta, version.committed_at)
                self._replica.version = version.number
            return self._replica

    def use_hooks(self, hooks: "HookManager", ledger: "CallLedger") -> None:
        """Asks these state hooks from now on before a change is committed.

        Args:
            hooks: The hooks.
            ledger: Where their calls are noted; what it has pending is written with the changes.
        """
        # Imported here: an execution without hooks pays nothing for them.
        from aether_dagster.manager.review import Review

        self.hooks = hooks
        self._review = Review(self, hooks, ledger) if hooks.asks else None
        self._ledger = ledger

    def record_of(self, step: str) -> Mapping[str, Any] | None:
        """Returns a node's record as far as was read; it is shared. None of an unknown step."""
        with self._lock:
            replica = self._replica
            return replica.node(step) if replica.declares(step) else None

    def state_document(self) -> dict[str, Any]:
        """Returns the state document at the journal's head; its records are shared."""
        with self._lock:
            return self.catch_up().document()

    def transaction(self, actor: str) -> AbstractContextManager["Transaction"]:
        """Begins a transaction of a plugin, `Name@version` (spec 1.6)."""
        return self.journal.transaction(self.id, actor, self._written(), self.redaction.value)

    def transact(self, fn: "Callable[[Transaction], T]", actor: str, attempts: int = ATTEMPTS) -> T:
        """Runs `fn` in a transaction of a plugin, and again where that conflicts (spec 1.6).

        Args:
            fn: Is given the transaction; may run several times, with no lock held.
            actor: `Name@version` of the plugin.
            attempts: How often at most, with a growing random pause between.

        Returns:
            What `fn` returned the time its transaction was committed.

        Raises:
            WriteConflict: Of the last attempt.
            HookError: A state hook refused what it writes (`Vetoed`), or failed.
        """
        written, redact = self._written(), self.redaction.value
        return self.journal.transact(self.id, fn, actor, attempts, written, redact)

    def _written(self) -> "WrittenReview | None":
        return None if self._review is None else self._review.written

    def runs(self, step: str, attempt: int) -> bool:
        """Tells whether this process has committed the start of an attempt."""
        return step in self._started and self._started[step][0] == attempt

    def ended(self, step: str, attempt: int) -> Outcome | None:
        """Returns how another process has ended an attempt already; None where nobody has.

        An engine which does not know of that end, because the process died before it could tell,
        has the attempt run again.
        """
        with self._lock:
            outcome = self.catch_up().outcome(step)
        if outcome.attempt != attempt or outcome.status in (PENDING, EXECUTING):
            return None
        return None if self.runs(step, attempt) else outcome

    def start(
        self, step: str, attempt: int, arguments: Mapping[str, Any] | None
    ) -> "ArgumentChanges | None":
        """Commits that an attempt starts.

        Args:
            step: The step's name.
            attempt: From 1.
            arguments: The resolved arguments as they may be shown: secrets already masked; values
                which are not JSON are spilled. None where they could not be resolved.

        Returns:
            What state hooks changed of the arguments, if they did.

        Raises:
            DependencyFailed: A step which it depends on has failed; nothing is committed.
            ExecutionEnded: The execution has its report; nothing is committed.
            IllegalTransition: The node is not where it may start this attempt.
            HookError: A state hook refused (`Vetoed`), or failed. The start is committed, for the
                caller to commit its failure.
        """
        changes: ArgumentChanges | None = None
        refusal: HookError | None = None
        if self._review is not None and arguments is not None:
            try:
                changes = self._review.start(step, attempt, self.redaction.value(arguments))
            except HookError as error:
                refusal = error
        shown = arguments if changes is None or arguments is None else changes.apply(arguments)
        self._start(step, attempt, shown)
        if refusal is not None:
            raise refusal
        return changes

    def review_output(self, step: str, value: Any) -> Any:
        """Asks state hooks about what a step returned, before it is stored.

        Returns:
            The value as they leave it: what is stored, and what downstream loads.

        Raises:
            HookError: A state hook refused (`Vetoed`), or failed.
        """
        if self._review is None:
            return value
        return self._review.output(step, value, self.redaction.value(value))

    def check_dependencies(self, step: str) -> None:
        """Makes sure that no step which another depends on has failed, as far as was read.

        Raises:
            DependencyFailed: One has.
        """
        known = self._replica
        failed = [
            upstream
            for upstream in self.document.dependencies[step]
            if known.declares(upstream) and known.outcome(upstream).status == FAILED
        ]
        if failed:
            raise DependencyFailed(step, failed)

    def _start(self, step: str, attempt: int, arguments: Mapping[str, Any] | None) -> None:
        with self._lock:
            self.catch_up()
            if self._replica.report is not None:
                raise ExecutionEnded(step, self.id)
            self.check_dependencies(step)
            self._bridge(step, attempt)
            before = self._replica.outcome(step)
            again = (before.attempt, before.status) == (attempt, EXECUTING)
            if not again or self.runs(step, attempt):
                check_transition(step, before.status, before.attempt, EXECUTING, attempt)
            shown = self.redaction.value(arguments)
            payload = self._fitting.fit(
                self._replica, step, attempt, EXECUTING, input_payload=shown
            )["input_payload"]
            outcome = Outcome(attempt, EXECUTING)
            node = NodeDelta(
                outcome=outcome, input_payload=payload, has_input=True, worker=own_identity()
            )
            # An engine gives an attempt to another process when the first one was lost to it.
            kind = f"start by {own_identity()}" if again else "start"
            self._commit(self._node_delta(step, kind, Authority.STEP, attempt, node))
            self._started[step] = (attempt, time.perf_counter())

    def succeed(self, step: str, value: Any) -> ValueRef:
        """Stores what a step returned and commits that its attempt succeeded.

        Returns:
            The reference to the stored value; to the one which was stored before, where another
            process had ended this attempt.

        Raises:
            ValueStoreError: The value cannot be stored; nothing is committed.
            IllegalTransition: The step is not executing.
        """
        if step not in self._started:
            known = self.value_ref(step)
            if known is not None:
                return known
        attempt, began = self._started[step]
        ref = self.values.put(value, execution=self.id, step=step, attempt=attempt)
        shown = self.redaction.value(value)
        with self._lock:
            now = self.catch_up().outcome(step)
            if (now.attempt, now.status) == (attempt, SUCCEEDED) and now.value is not None:
                return ValueRef.from_json(now.value)
            self._check(step, attempt, SUCCEEDED)
            self._fitting.remember(shown, ref)
            record = self._fitting.fit(
                self._replica, step, attempt, SUCCEEDED, output_payload=shown
            )
            self._end(step, attempt, SUCCEEDED, record, _seconds_since(began), value=ref.to_json())
            self._fitting.forget()
        return ref

    def fail(
        self,
        step: str,
        type: str,
        message: str,
        *,
        traceback: str | None = None,
        retrying: bool = False,
        **more: Any,
    ) -> None:
        """Commits that a step's attempt failed, or that it failed and will be tried again.

        Args:
            step: The step's name.
            type: The error's type: the exception's class name, or one of spec 1.3.
            message: What went wrong; secrets are masked here.
            traceback: The user's frames.
            retrying: There will be another attempt.
            more: Further members of the error.
        """
        attempt, began = self._started[step]
        error = self._redacted(error_record(type, message, attempt, traceback=traceback, **more))
        status = RETRYING if retrying else FAILED
        if self._review is not None:
            self._review.happened(step, status, error)
        with self._lock:
            self.catch_up()
            self._check(step, attempt, status)
            record = self._fitting.fit(self._replica, step, attempt, status, error=error)
            self._end(step, attempt, status, record, _seconds_since(began))
            self._fitting.forget()

    def settle(
        self,
        step: str,
        attempt: int,
        status: str,
        error: Mapping[str, Any] | None = None,
        seconds: float | None = None,
    ) -> None:
        """Commits what Dagster says of how an attempt ended (run side).

        What the step itself reported of the same end stays in force; what nobody reported is
        filled in, also a start which never came.

        Args:
            step: The step's name.
            attempt: From 1.
            status: `succeeded`, `failed` or `retrying`.
            error: For the last two, with at least `type` and `message`.
            seconds: How long the attempt took, by Dagster's account; since its start was
                committed, where Dagster does not say.
        """
        with self._lock:
            self.catch_up()
            now = self._replica.outcome(step)
            if self._replica.settled(step) >= attempt and now.status == status:
                return
            known = (now.attempt, now.status) == (attempt, status)
        if self._review is not None and error is not None and not known:
            self._review.happened(step, status, self._redacted({**error, "attempt": attempt}))
        with self._lock:
            now = self.catch_up().outcome(step)
            if now.attempt < attempt:
                self._bridge(step, attempt)
                started = NodeDelta(outcome=Outcome(attempt, EXECUTING))
                self._commit(self._node_delta(step, "start", Authority.RUN, attempt, started))
                now = self._replica.outcome(step)
            if (now.attempt, now.status) == (attempt, status):
                node = NodeDelta(settled=attempt)
            else:
                said = None if error is None else self._redacted({**error, "attempt": attempt})
                record = self._fitting.fit(self._replica, step, attempt, status, error=said)
                if seconds is None:
                    seconds = self._since_start(step, attempt)
                outcome = Outcome(
                    attempt, status, error=record["error"], execution_time=round(seconds, 3)
                )
                node = NodeDelta(outcome=outcome, settled=attempt)
            self._commit(self._node_delta(step, f"settle-{status}", Authority.RUN, attempt, node))

    def artifacts(self, step: str) -> ArtifactAccess:
        """Returns the shared artifacts as a step reads and writes them."""
        return Artifacts(self, step)

    def write_artifact(self, step: str, name: str, uri: str | None) -> None:
        """Commits an artifact's path or URI; None deletes it.

        Raises:
            HookError: A state hook refused (`Vetoed`), or failed.
        """
        if self._review is not None:
            uri = self._review.artifact(step, name, uri)
        with self._lock:
            attempt = self._started[step][0] if step in self._started else 0
            identity = delta_id(
                self.id, step, attempt, "artifact", own_identity(), next(self._counter)
            )
            shown = None if uri is None else self.redaction.text(uri)
            self._commit(Delta(identity, Authority.STEP, artifacts={name: shown}))

    def loaded(self, value: Any, ref: ValueRef) -> None:
        """Remembers where a value which a step is given was loaded from.

        Where its arguments hold that value, state then refers to it instead of storing it again.
        """
        with self._lock:
            self._fitting.remember(value, ref)

    def value_ref(self, step: str) -> ValueRef | None:
        """Returns the reference to what a step of this execution returned, if it has."""
        with self._lock:
            reference = self.catch_up().outcome(step).value
        return None if reference is None else ValueRef.from_json(reference)

    def end_nodes(self, end: RunEnd) -> None:
        """Commits an end for every node which nobody reported one of."""
        with self._lock:
            missing = list(missing_ends(self.catch_up(), self.document.dependencies, end))
        if self._review is not None:
            for step, outcome in missing:
                error = None if outcome.error is None else self._redacted(outcome.error)
                self._review.happened(step, outcome.status, error)
        with self._lock:
            deltas: list[Delta] = []
            for step, outcome in missing:
                error = None if outcome.error is None else self._redacted(outcome.error)
                record = self._fitting.fit(
                    self._replica, step, max(1, outcome.attempt), outcome.status, error=error
                )
                fitted = replace(outcome, error=record["error"])
                node = NodeDelta(outcome=fitted, settled=outcome.attempt)
                kind = f"end-{outcome.status}"
                delta = self._node_delta(step, kind, Authority.RUN, outcome.attempt, node)
                deltas.append(delta)
            if deltas:
                self._commit(*deltas)

    def finalize(self, end: RunEnd, *, details: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Commits the final report; the state does not change after it.

        Args:
            end: How the run ended.
            details: Further members of the report.

        Returns:
            The report. Where the execution was finalized before, that one.
        """
        with self._lock:
            replica = self.catch_up()
            if replica.report is None:
                self._commit(
                    Delta(
                        delta_id(self.id, "finalize"),
                        Authority.RUN,
                        report={
                            **self._report(replica, end),
                            **(details or {}),
                        },
                    )
                )
                self.catch_up()
            return dict(self._replica.report or {})

    def referenced_values(self) -> set[str]:
        """Returns the URIs of all stored values which any committed version refers to."""
        return referenced_values(self.journal, self.id, self.catch_up().version)

    def _report(self, replica: Replica, end: RunEnd) -> dict[str, Any]:
        ended = round(self._now(), 3)
        started = float(replica.pipeline["start_timestamp"])
        return {
            "status": run_status(replica, end),
            "end_timestamp": ended,
            "duration": round(max(0.0, ended - started), 3),
            **count_nodes(replica),
            # The journal puts the number here under which it commits the report.
            "version": 0,
            **_resumed_from(self.record),
        }

    def _check(self, step: str, attempt: int, status: str) -> None:
        before = self._replica.outcome(step)
        check_transition(step, before.status, before.attempt, status, attempt)

    def _bridge(self, step: str, attempt: int) -> None:
        """Fills in the end of an attempt which ended in silence, before the next one starts."""
        now = self._replica.outcome(step)
        if now.status in (EXECUTING, SUCCEEDED) and now.attempt == attempt - 1:
            message = "The attempt ended without a word, and Dagster started the next one."
            error = error_record("WorkerLost", message, now.attempt)
            node = NodeDelta(outcome=Outcome(now.attempt, RETRYING, error=error))
            self._commit(self._node_delta(step, "bridge", Authority.RUN, now.attempt, node))

    def _end(
        self,
        step: str,
        attempt: int,
        status: str,
        record: Mapping[str, Any],
        seconds: float,
        value: Mapping[str, Any] | None = None,
    ) -> None:
        payload = record["input_payload"]
        spilled = payload != self._replica.node(step)["input_payload"]
        outcome = Outcome(
            attempt, status, record["output_payload"], record["error"], seconds, value
        )
        node = NodeDelta(
            outcome=outcome,
            input_payload=payload if spilled else None,
            has_input=spilled,
        )
        self._commit(self._node_delta(step, status, Authority.STEP, attempt, node))

    def _note_starts(self, delta: Delta, committed_at: float) -> None:
        for step, node in delta.nodes.items():
            if node.outcome is not None and node.outcome.status == EXECUTING:
                self._committed_starts[step] = (node.outcome.attempt, committed_at)

    def _since_start(self, step: str, attempt: int) -> float:
        known, committed_at = self._committed_starts.get(step, (0, 0.0))
        return max(0.0, self._now() - committed_at) if known == attempt else 0.0

    def _redacted(self, error: Mapping[str, Any]) -> dict[str, Any]:
        return self.redaction.value(dict(error))

    def _node_delta(
        self, step: str, kind: str, authority: Authority, attempt: int, node: NodeDelta
    ) -> Delta:
        identity = delta_id(self.id, step, attempt, kind, int(authority))
        return Delta(identity, authority, nodes={step: node})

    def _commit(self, *deltas: Delta) -> None:
        ended = () if self._ledger is None else self._ledger.pending()
        now_ms = int(self._now() * 1000)
        before = self._replica.version
        version = self.journal.append(self.id, deltas, now_ms=now_ms, ended=ended)
        if self._ledger is not None:
            self._ledger.written(ended)
        self.catch_up()
        if version > before and is_due(version):
            # The journal would have to fold all once more, and hold it a second time.
            self.journal.checkpoint(self.id, self._replica)


def _resumed_from(record: ExecutionRecord) -> dict[str, str]:
    return {} if record.resumed_from is None else {"resumed_from": record.resumed_from}


def _seconds_since(began: float) -> float:
    return round(time.perf_counter() - began, 3)
