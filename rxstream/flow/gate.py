"""The gate: how a consumer says "wait" to a source that it has never met.

A source looks at the gate before each read and waits while it is closed. Whoever
cannot take more closes it and opens it again when there is room. Several may hold
one gate; it opens when the last lets go. A gate may have a parent: then it is open
only while the parent is open too, so that a source deep in a chain hears them all.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Hashable


class Gate:
    """Open or closed, from any thread.

    `now` gives monotonic seconds; only the figures need it.
    """

    def __init__(self, parent: "Gate | None" = None, *, now: Callable[[], float] = time.monotonic) -> None:
        self._parent = parent
        self._now = now
        self._lock = threading.Lock()
        self._holders: set[Hashable] = set()
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = set()
        self._closed_at = 0.0
        self._seconds_closed = 0.0
        self.times_closed = 0
        """How often the gate itself went from open to closed; its parent counts for itself."""
        self.is_honoured = False
        """Whether a source has said that it waits at this gate."""

    @property
    def is_open(self) -> bool:
        """Whether nobody holds this gate or one of its parents closed."""
        return not self._holders and (self._parent is None or self._parent.is_open)

    @property
    def seconds_closed(self) -> float:
        """How long the gate itself was closed, up to now."""
        with self._lock:
            return self._seconds_closed + (self._now() - self._closed_at if self._holders else 0.0)

    def honour(self) -> None:
        """Say that a source waits at this gate, and so at its parents."""
        self.is_honoured = True
        if self._parent is not None:
            self._parent.honour()

    def close(self, holder: Hashable) -> None:
        """Hold the gate closed in the name of `holder`; a second time changes nothing."""
        with self._lock:
            if not self._holders:
                self._closed_at = self._now()
                self.times_closed += 1
            self._holders.add(holder)

    def open(self, holder: Hashable) -> None:
        """Let go in the name of `holder`; whoever waits goes on once the last has let go."""
        with self._lock:
            if holder not in self._holders:
                return
            self._holders.remove(holder)
            if self._holders:
                return
            self._seconds_closed += self._now() - self._closed_at
            waiters, self._waiters = self._waiters, set()
        for loop, waiter in waiters:
            _wake(loop, waiter)

    async def wait(self) -> None:
        """Return once the gate and its parents are open; at once if they are."""
        while not self.is_open:
            if not self._holders and self._parent is not None:
                await self._parent.wait()
            else:
                await self._wait_here()

    async def _wait_here(self) -> None:
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        with self._lock:
            if not self._holders:  # opened between the look and the lock: no wake-up would come
                return
            self._waiters.add((loop, waiter))
        try:
            await waiter
        finally:
            with self._lock:
                self._waiters.discard((loop, waiter))


def _wake(loop: asyncio.AbstractEventLoop, waiter: "asyncio.Future[None]") -> None:
    """Let `waiter` go on, on its own loop; a loop that is closed has nobody left to wake."""

    def finish() -> None:
        if not waiter.done():
            waiter.set_result(None)

    if not loop.is_closed():
        loop.call_soon_threadsafe(finish)
