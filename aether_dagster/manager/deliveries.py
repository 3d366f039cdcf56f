"""Delivers the `post_` events of one execution to its hooks, from the journal's outbox (spec 5)."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from aether_dagster.journal import Journal, Version
from aether_dagster.manager.delivery_ledger import DeliveryLedger, cursor_of
from aether_dagster.manager.identity import is_gone, own_identity
from aether_dagster.plugins.call import BeginTransaction
from aether_dagster.plugins.deliverer import Delivered, Deliverer
from aether_dagster.plugins.hooks import ActiveHook
from aether_dagster.plugins.outbox import FINALIZE, Deliveries, Delivery, Position
from aether_dagster.state import Replica

# What a hook's lease lasts beyond its time limit, in seconds, and after how many it is prolonged
# where it is kept.
_LEASE = 30.0
_PROLONG = 10.0
# A position after every delivery of its version.
_ALL = 1_000_000
# How many deliveries to a hook are made in turn at most, and how long, in milliseconds, one to it
# may take: what was told and is not noted yet is told again where the process is killed.
_AT_ONCE = 32
_QUICK = 2.0


@dataclass(frozen=True)
class Drained:
    """What one look at the outbox came to.

    Args:
        delivered: How many deliveries were made, whatever became of them.
        dead: How many were given up.
        waiting: How many are left: to be tried again, or not looked at any more.
        retry_at: When the first of them may be tried again, Unix seconds.
        held: How many hooks somebody else is delivering to.
        oldest: When the first of those which are left was committed, Unix seconds.
    """

    delivered: int = 0
    dead: int = 0
    waiting: int = 0
    retry_at: float | None = None
    held: int = 0
    oldest: float | None = None


class HookDeliveries:
    """Makes the deliveries of one execution. For one thread at a time.

    Args:
        journal: The journal.
        pipeline_id: The execution.
        hooks: Those to deliver to.
        begin: Begins a transaction of a plugin.
        redact: Masks secrets in a text or JSON value.
        launches: Whether the caller launches the jobs of triggers.
        followed: Somebody follows the execution and gives each version to `see`; otherwise they
            are read here.
        now: Unix seconds; passed in for tests.

    Attributes:
        failures: What hooks raised whose failures count (`on_error = "fail_run"`).
        log: What hooks logged: levels and texts, for whoever shows it in Dagster's log.
    """

    def __init__(
        self,
        journal: Journal,
        pipeline_id: str,
        hooks: Sequence[ActiveHook],
        *,
        begin: BeginTransaction,
        redact: Callable[[Any], Any],
        launches: bool = False,
        followed: bool = False,
        now: Callable[[], float] = time.time,
    ):
        self.failures: list[str] = []
        self.log: deque[tuple[int, str]] = deque()
        self._journal, self._pipeline_id, self._now = journal, pipeline_id, now
        self._hooks = [hook for hook in hooks if hook.delivers]
        # A thread which was left behind in this process must not pass for this one.
        self._holder = f'{own_identity()[:-1]},"deliverer":{id(self)}}}'
        self._folded = Deliveries(pipeline_id)
        self._seen: deque[tuple[Version, list[Delivery]]] | None = deque() if followed else None
        self._due: list[Delivery] = []
        self._read_to, self._finalized = 0, False
        self._committed: dict[int, float] = {}
        # Of the hooks whose leases this has: since when, by `time.monotonic()`, and where they are.
        self._since: dict[str, float] = {}
        self._positions: dict[str, Position] = {}
        # Of the hooks which return at once; and how many deliveries are to be made one by one, so
        # that one which ends its process is found.
        self._quick: set[str] = set()
        self._careful: dict[str, int] = {}
        self._store = DeliveryLedger(journal, pipeline_id)
        self._deliverer = Deliverer(self._store, now, redact, begin, launches)

    def drain(
        self,
        *,
        written: bool,
        give_up: float = float("inf"),
        over: float | None = None,
        most: int | None = None,
        keep: bool = False,
    ) -> Drained:
        """Makes the deliveries which are due.

        Args:
            written: The final state is on disk, so that `post_state_finalize` may be delivered.
            give_up: When to begin no more, by `time.monotonic()`.
            over: When the last one must be over; `give_up` unless given.
            most: How many deliveries at most.
            keep: Keep the hooks' leases, because there will be more.
        """
        self._read()
        drained = Drained()
        for hook in self._in_turn():
            if not self._take(hook):
                drained = replace(drained, held=drained.held + 1)
                continue
            try:
                left = None if most is None else most - drained.delivered
                until = (give_up, give_up if over is None else over)
                drained = self._drain_hook(hook, drained, written, until, left, keep=keep)
            finally:
                self._store.flush()
                if not keep:
                    self._release(hook)
        self._drop_made()
        return drained

    def release(self) -> None:
        """Gives up the leases which were kept."""
        for hook in self._hooks:
            if hook.key in self._since:
                self._release(hook)

    def _in_turn(self) -> list[ActiveHook]:
        """The hooks which have something left, those whose deliveries failed last."""
        if any(hook.key not in self._positions for hook in self._hooks):
            # One which fails, or ends the process each time, must not keep the others waiting.
            known = {**self._stored(), **self._positions}
        else:
            known = self._positions
        left = [h for h in self._hooks if h.key in known and not known[h.key].done]
        return sorted(left, key=lambda hook: known[hook.key].attempts)

    def _take(self, hook: ActiveHook) -> bool:
        """Takes the hook's lease, unless this has it, and learns where the hook is."""
        since = self._since.get(hook.key)
        now = time.monotonic()
        if since is not None and now - since < _PROLONG:
            return True
        if not self._acquire(hook):
            self._forget(hook)
            return False
        if since is None or now - since > _LEASE:
            # Read once more: whoever had the lease before may have moved it.
            stored = self._stored().get(hook.key, Position(done=True))
            self._positions[hook.key] = stored
            self._careful[hook.key] = _AT_ONCE if stored.attempts else 0
        self._since[hook.key] = now
        return True

    def _release(self, hook: ActiveHook) -> None:
        self._forget(hook)
        self._journal.release(self._pipeline_id, self._holder, name=_lease(hook))

    def _forget(self, hook: ActiveHook) -> None:
        self._since.pop(hook.key, None)
        self._positions.pop(hook.key, None)

    def _stored(self) -> dict[str, Position]:
        return {
            each.hook: Position(each.version, each.part, each.attempts, each.retry_at, each.done)
            for each in self._journal.outbox.cursors(self._pipeline_id)
        }

    def see(self, version: Version, replica: Replica) -> bool:
        """Takes the next version of an execution which is followed; from any thread.

        Args:
            version: The version.
            replica: The state after it; it is read here and now.

        Returns:
            Whether there is something to deliver.
        """
        assert self._seen is not None, "it was not made to be followed"
        due = self._folded.see(replica, version.number, version.deltas, late=version.late)
        self._seen.append((version, due))
        return bool(due)

    def _read(self) -> None:
        for version, due in self._news():
            self._read_to = version.number
            if due:
                self._committed[version.number] = version.committed_at
                self._due += due
                self._finalized = self._finalized or due[-1].event == FINALIZE

    def _drop_made(self) -> None:
        """Keeps what some hook is still to be told, so that a long run is not looked through."""
        if all(hook.key in self._positions for hook in self._hooks):
            self._due = [
                due
                for due in self._due
                if any(
                    due.event in hook.events and self._positions[hook.key].is_before(due)
                    for hook in self._hooks
                )
            ]

    def _news(self) -> Iterator[tuple[Version, list[Delivery]]]:
        if self._seen is None:
            for version in self._journal.versions(self._pipeline_id, after=self._folded.version):
                yield version, self._folded.fold(version.number, version.deltas, late=version.late)
            return
        while self._seen:
            yield self._seen.popleft()

    def _drain_hook(
        self,
        hook: ActiveHook,
        drained: Drained,
        written: bool,
        until: tuple[float, float],
        most: int | None,
        *,
        keep: bool,
    ) -> Drained:
        give_up, over = until
        position = self._positions[hook.key]
        due = [each for each in self._due if position.is_before(each) and each.event in hook.events]
        made = 0
        while made < len(due):
            delivery = due[made]
            if delivery.event == FINALIZE and not written:
                return drained
            if position.retry_at > self._now():
                return self._left(drained, due[made:], position.retry_at)
            if time.monotonic() >= give_up or (most is not None and made >= most):
                return self._left(drained, due[made:])
            if not self._take(hook):
                return replace(drained, held=drained.held + 1)
            if not self._positions[hook.key].is_before(delivery):
                made += 1  # whoever had the lease meanwhile has made it
                continue
            limit = None if over == float("inf") else max(0.1, over - time.monotonic())
            for delivered in self._deliver(hook, due[made:most], limit):
                self.log.extend(delivered.log)
                dead = drained.dead + int(delivered.outcome == "dead")
                drained = replace(drained, delivered=drained.delivered + 1, dead=dead)
                if delivered.error is not None and hook.hook.on_error == "fail_run":
                    self.failures.append(f"{hook.label}: {hook.name} failed: {delivered.error}")
                position = self._positions[hook.key] = delivered.position
                if position.retry_at:
                    return self._left(drained, due[made:], position.retry_at)
                made += 1
        if not keep or self._finalized:
            self._pass_over(hook, position)
        return drained

    def _deliver(
        self, hook: ActiveHook, due: Sequence[Delivery], limit: float | None
    ) -> Sequence[Delivered]:
        """Makes the next delivery, or several in turn."""
        position, careful = self._positions[hook.key], self._careful.get(hook.key, 0)
        turn: list[Delivery] = []
        if hook.key in self._quick and not position.attempts and not careful:
            turn = list(takewhile(lambda each: each.event != FINALIZE, due[:_AT_ONCE]))
        if len(turn) > 1:
            delivered = self._deliverer.deliver_in_turn(hook, position, turn, limit)
        else:
            delivered = [self._deliverer.deliver(hook, position, due[0], limit)]
            self._careful[hook.key] = max(0, careful - 1)
        if max(each.milliseconds for each in delivered) <= _QUICK:
            self._quick.add(hook.key)
        else:
            self._quick.discard(hook.key)
        return delivered

    def _left(
        self, drained: Drained, due: Sequence[Delivery], retry_at: float | None = None
    ) -> Drained:
        first = self._committed[due[0].version]
        return replace(
            drained,
            waiting=drained.waiting + len(due),
            retry_at=_earlier(drained.retry_at, retry_at),
            oldest=_earlier(drained.oldest, first),
        )

    def _pass_over(self, hook: ActiveHook, position: Position) -> None:
        """Nothing is left in what was read: the cursor moves there, for whoever looks later."""
        done = self._finalized
        if FINALIZE in hook.events or (position.version, position.done) == (self._read_to, done):
            return
        after = self._positions[hook.key] = Position(self._read_to, _ALL, done=done)
        self._journal.outbox.move(cursor_of(self._pipeline_id, hook, after))

    def _acquire(self, hook: ActiveHook) -> bool:
        name, seconds = _lease(hook), _LEASE + hook.hook.timeout
        if self._journal.acquire(self._pipeline_id, self._holder, seconds, name=name):
            return True
        lease = self._journal.lease(self._pipeline_id, name=name)
        if lease is None or not is_gone(lease.holder):
            return False
        # Killed in the middle of a delivery, which is made again with the same id.
        self._journal.renew(self._pipeline_id, lease.holder, 0, name=name)
        return self._journal.acquire(self._pipeline_id, self._holder, seconds, name=name)


def _earlier(one: float | None, other: float | None) -> float | None:
    return min((time for time in (one, other) if time is not None), default=None)


def _lease(hook: ActiveHook) -> str:
    return f"hook {hook.key}"
