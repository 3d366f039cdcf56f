"""Delivers to the hooks of one execution while its run goes on, in a thread beside it (spec 5)."""

import threading
import time
from contextlib import suppress
from dataclasses import replace

from aether_dagster.errors import AetherError
from aether_dagster.manager.deliveries import Drained, HookDeliveries

# How long the thread of a run sleeps at most before it looks whether it shall end, in seconds.
_NAP = 0.5
# How long it gathers what is committed, in seconds: each time it wakes costs the run more than what
# it then does. No longer than people look: the live stream has four frames a second.
_GATHER = 0.2


class DeliveryThread:
    """Delivers while a run goes on, in a thread beside it.

    Args:
        deliveries: What it makes.
    """

    def __init__(self, deliveries: HookDeliveries):
        self.deliveries = deliveries
        self.left = Drained()
        self._wake = threading.Condition()
        self._news, self._written, self._stopped = True, False, False
        self._hurry = False
        self._busy = True
        self._give_up = float("inf")
        self._thread = threading.Thread(target=self._run, name="state hooks", daemon=True)
        self._thread.start()

    def notify(self) -> None:
        """Tells that there is something to deliver."""
        with self._wake:
            if not self._news:
                self._news = True
                self._wake.notify_all()

    def settle(self, seconds: float) -> None:
        """Waits until what is committed was delivered once, but no longer than that."""
        with self._wake:
            self._news, self._hurry = True, True
            self._wake.notify_all()
            self._wake.wait_for(lambda: not (self._news or self._busy), seconds)
            self._hurry = False

    def finish(self, seconds: float) -> Drained:
        """Delivers the rest, now that the final state is written, and ends the thread.

        Args:
            seconds: How long it may take; what is left then stays in the outbox.

        Returns:
            What is left.
        """
        give_up = time.monotonic() + seconds
        with self._wake:
            self._written, self._hurry, self._news, self._give_up = True, True, True, give_up
            self._wake.notify_all()
            self._wake.wait_for(self._is_done, seconds + _NAP)
            self._stopped = True
            self._wake.notify_all()
        self._thread.join(_NAP)
        return self.left

    def _is_done(self) -> bool:
        return not (self._news or self._busy or self.left.waiting)

    def _run(self) -> None:
        try:
            while self._next():
                self._drain()
        finally:
            with suppress(AetherError):  # a lease expires by itself
                self.deliveries.release()

    def _next(self) -> bool:
        with self._wake:
            self._busy = False
            self._wake.notify_all()
            while not self._stopped:
                retry = self.left.retry_at is not None and self.left.retry_at <= time.time()
                if self._news or retry:
                    self._wake.wait_for(lambda: self._hurry or self._stopped, _GATHER)
                    self._news, self._busy = False, True
                    return True
                self._wake.wait(_NAP if self.left.retry_at is None else _GATHER)
            return False

    def _drain(self) -> None:
        try:
            self.left = self.deliveries.drain(
                written=self._written, give_up=self._give_up, keep=True
            )
        except AetherError as error:
            # The journal may answer later; what is not delivered stays in it.
            self.left = replace(self.left, waiting=1, retry_at=time.time() + 1)
            self.deliveries.log.append((40, f"State hooks wait: {error}"))
