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
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rxstream.flow.controller import StreamBackpressureController
    from rxstream.flow.read_size import AdaptiveReadSize


class Account(Protocol):
    """Where a source lets what waits downstream be counted: its share of a controller."""

    def add(self, items: int = 1, size: int = 0) -> None:
        """Count in items, of `size` bytes in all."""
        ...

    def release(self, items: int = 1, size: int = 0) -> None:
        """Count them out."""
        ...


class Gate:
    """Open or closed, from any thread.

    `parent` is a gate that holds the source too; `downstream` is one that does not,
    since a queue lies between, but whose queue is counted with the source's stream.
    `now` gives monotonic seconds; only the figures need it.
    """

    def __init__(
        self,
        parent: "Gate | None" = None,
        *,
        downstream: "Gate | None" = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parent = parent
        self._downstream = downstream
        self._now = now
        # Reentrant, because the collector may end an abandoned waiter in the middle of anything.
        self._lock = threading.RLock()
        self._holders: set[Hashable] = set()
        self._listeners: dict[Callable[[], None], None] = {}  # in the order in which they came
        self._closed_at = 0.0
        self._seconds_closed = 0.0
        self.times_closed = 0
        """How often the gate itself went from open to closed; its parent counts for itself."""
        self.is_honoured = False
        """Whether a source has said that it waits at this gate."""
        self.account: Account | None = None
        """Where what waits behind this gate is counted, if the source has a controller."""
        self.offered: StreamBackpressureController | AdaptiveReadSize | None = None
        """What a source is to go by that has no controller of its own; see `find_offered`."""

    @property
    def is_open(self) -> bool:
        """Whether nobody holds this gate or one of its parents closed."""
        return not self._holders and (self._parent is None or self._parent.is_open)

    @property
    def seconds_closed(self) -> float:
        """How long the gate itself was closed, up to now."""
        with self._lock:
            return self._seconds_closed + (self._now() - self._closed_at if self._holders else 0.0)

    def honour(self, account: Account | None = None) -> None:
        """Say that a source waits at this gate, and so at its parents; and where to count what waits behind them."""
        self.is_honoured = True
        self.account = account or self.account
        if self._parent is not None:
            self._parent.honour(account)
        if self._downstream is not None and account is not None:
            self._downstream.honour(account)

    def close(self, holder: Hashable) -> None:
        """Hold the gate closed in the name of `holder`; a second time changes nothing."""
        with self._lock:
            was_open = not self._holders
            self._holders.add(holder)
            if was_open:
                self._closed_at = self._now()
                self.times_closed += 1

    def open(self, holder: Hashable) -> None:
        """Let go in the name of `holder`; whoever waits goes on once the last has let go."""
        call_each(self.let_go(holder))

    def let_go(self, holder: Hashable) -> list[Callable[[], None]]:
        """Let go like `open`, but tell nobody; return who is to be told, by `call_each`.

        For whoever lets go inside a lock that those who wait may want themselves.
        """
        with self._lock:
            if holder not in self._holders:
                return []
            self._holders.remove(holder)
            if self._holders:
                return []
            self._seconds_closed += self._now() - self._closed_at
            listeners, self._listeners = self._listeners, {}
        return list(listeners)

    def find_offered(self) -> "StreamBackpressureController | AdaptiveReadSize | None":
        """Return what is offered here, or else further down: nearest to the source first."""
        if self.offered is not None:
            return self.offered
        below = (gate for gate in (self._parent, self._downstream) if gate is not None)
        return next((found for gate in below if (found := gate.find_offered()) is not None), None)

    async def wait(self) -> None:
        """Return once the gate and its parents are open; at once if they are."""
        while not self.is_open:
            loop = asyncio.get_running_loop()
            waiter = loop.create_future()
            stop = self.when_open(lambda loop=loop, waiter=waiter: wake(loop, waiter))
            try:
                await waiter
            finally:
                stop()

    def when_open(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback` once, when the gate and its parents are open; at once if they are.

        It is called from the thread that opens the last of them, maybe inside a lock of
        that thread's, so it should be short: at best it only schedules. Returns what
        calls it off; from another thread that may come too late.
        """
        is_off = False
        stop_above: Callable[[], None] = _nothing

        def look() -> None:
            nonlocal stop_above
            with self._lock:
                if is_off:
                    return
                if self._holders:
                    self._listeners[look] = None
                    return
            if self._parent is None or self._parent.is_open:
                callback()
                return
            stop_above = self._parent.when_open(look)
            if is_off:
                stop_above()

        def stop() -> None:
            nonlocal is_off
            with self._lock:
                is_off = True
                self._listeners.pop(look, None)
            stop_above()

        look()
        return stop


def wake(loop: asyncio.AbstractEventLoop, waiter: "asyncio.Future[None]") -> bool:
    """Let `waiter` go on, on its own loop; False if that loop is closed, which has nobody left to wake.

    From within the loop it goes on in the very next turn.
    """

    def finish() -> None:
        if not waiter.done():
            waiter.set_result(None)

    if _runs_here(loop):
        finish()
        return True
    try:
        loop.call_soon_threadsafe(finish)
    except RuntimeError:  # it may close at any moment, in its own thread
        if not loop.is_closed():
            raise
        return False
    return True


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:  # asyncio's way to say that none does
        return False


def call_each(listeners: list[Callable[[], None]]) -> None:
    """Call them in order, all of them even if one raises."""
    if not listeners:
        return
    with ExitStack() as calls:
        for listener in reversed(listeners):  # it calls the last one first
            calls.callback(listener)


def _nothing() -> None:
    """What calls off a call that nobody asked for."""
