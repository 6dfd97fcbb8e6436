"""A stream for `async for`, read no faster than the loop takes it."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, NoReturn, TypeVar

from reactivex import Observable
from reactivex.disposable import SingleAssignmentDisposable

from rxstream.flow import BoundedQueue, Gate, GatedQueue, Overflow, wake
from rxstream.operators._relay import keeping_deltas, queues
from rxstream.schedulers import FlowScheduler, running_loop
from rxstream.schedulers.gated_scheduler import require_gate

T = TypeVar("T")

BREATH = 0.001
"""Seconds of items without a wait after which other tasks of the loop get their turn."""
BATCH = 8
"""The most items taken from the queue at once: its lock, and a look at the clock, cost as much as all the rest."""


@asynccontextmanager
async def iterate(
    source: Observable[T],
    *,
    capacity: int = 1024,
    low: int | None = None,
    overflow: Overflow = Overflow.PAUSE,
    weigh: Callable[[T], int] | None = None,
    on_drop: Callable[[T], object] | None = None,
) -> AsyncGenerator[AsyncIterator[T]]:
    """Subscribe to `source` for the length of an `async with`; its items come by `async for`.

        async with iterate(stream) as tokens:
            async for token in tokens: ...

    At most about `capacity` items wait; then the source is told to wait, and so, at
    its far end, is the server. The arguments are those of `buffered`, and so is what
    they raise; a source that cannot wait is a `ConfigurationError` on entering.
    Leaving the block, in whatever way, disposes of the subscription, which closes the
    connection. An error of the stream is raised in the loop, after what came before
    it. One task at a time may iterate; the source may run in any thread.
    """
    items = _Items(queues(capacity, low, overflow, weigh)(), on_drop)
    try:
        items.subscribe(source, overflow)
        yield items
    finally:
        items.close()


class _Items(AsyncIterator[T], Generic[T]):
    """What came and was not taken yet, on the loop that takes it."""

    def __init__(self, queue: BoundedQueue[T], on_drop: Callable[[T], object] | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._carrier = FlowScheduler(self._loop, Gate())
        self._queue = GatedQueue(queue, self._carrier.gate, on_drop=on_drop)
        self._waiting = self._queue.waiting
        self._taken: deque[T] = deque()
        self._batch = max(1, min(BATCH, queue.capacity // 16))
        self._subscription = SingleAssignmentDisposable()
        self._waiter: asyncio.Future[None] | None = None
        self._is_ended = False
        self._error: Exception | None = None
        self._breathed = self._loop.time()

    def subscribe(self, source: Observable[T], overflow: Overflow) -> None:
        self._subscription.disposable = keeping_deltas(source, overflow).subscribe(
            self._on_next, self._on_error, self._on_completed, scheduler=self._carrier
        )
        if overflow is Overflow.PAUSE and not self._is_ended:
            require_gate(self._carrier)

    def close(self) -> None:
        self._is_ended, self._error = True, None
        self._subscription.dispose()
        self._queue.close()
        self._taken.clear()
        self._wake()

    async def __anext__(self) -> T:
        taken = self._taken
        while not taken:
            if self._waiting:
                if self._loop.time() - self._breathed > BREATH:
                    await asyncio.sleep(0)
                    self._breathed = self._loop.time()
                taken.extend(self._queue.take_some(self._batch))
            elif not self._is_ended:
                await self._arrival()
            elif not self._waiting:  # once more: the last item comes before the end
                self._end()
        return taken.popleft()

    def _end(self) -> NoReturn:
        """Raise what ends the loop: an error once, and that there is no more ever after."""
        if self._error is None:
            raise StopAsyncIteration
        error, self._error = self._error, None
        raise error

    async def _arrival(self) -> None:
        """Wait until something has come."""
        if self._waiter is not None:
            raise RuntimeError("only one task at a time can iterate over a stream")
        waiter = self._waiter = self._loop.create_future()
        try:
            if not self._waiting and not self._is_ended:  # it may come, from another thread, at any moment
                await waiter
        finally:
            self._waiter = None
            self._breathed = self._loop.time()

    def _on_next(self, item: T) -> None:
        try:
            self._queue.put(item)
        except Exception as error:
            self._subscription.dispose()
            self._on_error(error)
            return
        if self._waiter is not None:
            self._wake()

    def _on_error(self, error: Exception) -> None:
        if not self._is_ended:
            self._error = error
            self._on_completed()

    def _on_completed(self) -> None:
        self._is_ended = True
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if running_loop() is self._loop:
            waiter.set_result(None)
        else:
            wake(self._loop, waiter)
