"""A step that awaits, with a bound on how many are under way."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable, SingleAssignmentDisposable

from rxstream.errors import ConfigurationError, StreamError
from rxstream.flow import BoundedQueue, Gate, GatedQueue
from rxstream.rx import raised_by_subscriber
from rxstream.schedulers import gate_of, loop_for, running_loop
from rxstream.schedulers.gated_scheduler import gated, require_gate

A = TypeVar("A")
B = TypeVar("B")

SPARE = 1024
"""How many items of a source that cannot wait, such as `from_iterable`, may."""
BREATH = 0.001
"""Seconds of calls that never suspend after which other tasks of the loop get their turn."""


def map_async(
    fn: Callable[[A], Awaitable[B]], max_concurrency: int = 1, *, ordered: bool = True
) -> Callable[[Observable[A]], Observable[B]]:
    """Give what `fn` returns for each item, awaited, at most `max_concurrency` at a time.

    In the order of the items; with `ordered=False` as they get done. While so many are
    under way (in order: not delivered yet) the source is told to wait, and no new one
    is begun while the consumer wants nothing.

    An error of one cancels the others and ends the stream; disposing cancels them
    all. When the source completes or fails, what it had brought is done first.
    The calls run as tasks of the subscription's loop. A source that cannot wait is a
    `ConfigurationError`, at subscribe where that is known by then, else when more
    than 1,024 items wait. Raises `ValueError` for a concurrency less than 1.
    """
    if max_concurrency < 1:
        raise ValueError(f"the concurrency must be at least 1, not {max_concurrency}")

    def operator(source: Observable[A]) -> Observable[B]:
        def subscribe(observer: abc.ObserverBase[B], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            demand = gate_of(scheduler)
            carrier = gated(scheduler, Gate(downstream=demand))
            if demand is not None:
                demand.honour()
            calls = _Calls(
                fn,
                observer,
                limit=max_concurrency,
                ordered=ordered,
                loop=loop_for(carrier),
                gate=carrier.gate,
                demand=demand,
            )
            calls.source.disposable = source.subscribe(
                calls.on_next, calls.on_error, calls.on_completed, scheduler=carrier
            )
            if not calls.is_ended:
                try:
                    require_gate(carrier)
                except ConfigurationError:
                    calls.dispose()
                    raise
            return Disposable(calls.dispose)

        return Observable(subscribe)

    return operator


class _Calls(Generic[A, B]):
    """One subscription. All but the queue is touched on the loop only."""

    def __init__(
        self,
        fn: Callable[[A], Awaitable[B]],
        observer: abc.ObserverBase[B],
        *,
        limit: int,
        ordered: bool,
        loop: asyncio.AbstractEventLoop,
        gate: Gate,
        demand: Gate | None,
    ) -> None:
        self.source = SingleAssignmentDisposable()
        self.is_ended = False
        self._fn = fn
        self._limit = limit
        self._ordered = ordered
        self._observer = observer
        self._loop = loop
        self._gate = gate
        self._demand = demand
        self._is_listening = False
        self._stop_listening: Callable[[], None] | None = None
        self._queue: GatedQueue[A] = GatedQueue(BoundedQueue(1), gate, tolerance=SPARE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._begun = 0
        self._delivered = 0
        self._done: dict[int, B] = {}  # by number; waits for those before it
        self._error: Exception | None = None
        self._is_over = False

    def on_next(self, item: A) -> None:
        try:
            self._queue.put(item)
        except Exception as error:
            self.source.dispose()
            self._on_loop(partial(self._end_with, error))
        else:
            self._on_loop(self._fill)

    def on_error(self, error: Exception) -> None:
        self._error = error
        self.on_completed()

    def on_completed(self) -> None:
        self.is_ended = True
        self._on_loop(self._fill)

    def dispose(self) -> None:
        """Cancel what is under way and forget the rest; from any thread."""
        if not self._is_over:
            self._is_over = True
            self._on_loop(self._clear)
        self.source.dispose()

    def _on_loop(self, action: Callable[[], None]) -> None:
        if running_loop() is self._loop:
            action()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(action)

    def _fill(self) -> None:
        """Begin what may be begun."""
        while (job := self._next_job()) is not None:
            task = self._loop.create_task(self._work(*job))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self.is_ended and not self._under_way and not self._queue.waiting:
            self._end_with(self._error)

    def _next_job(self) -> tuple[int, A] | None:
        """Take the next item, with its number, if one waits and may be begun."""
        if self._under_way >= self._limit or not self._queue.waiting:
            return None
        if self._error is None and self._demand is not None and not self._demand.is_open:
            if not self._is_listening:
                self._is_listening = True  # before: it may open, in another thread, at any moment
                self._stop_listening = self._demand.when_open(self._wanted)
            return None
        self._under_way += 1
        if self._under_way >= self._limit:
            self._gate.close(self)  # before the queue lets go of it
        self._begun += 1
        return self._begun, self._queue.take()

    def _wanted(self) -> None:
        self._is_listening = False
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._fill)

    async def _work(self, number: int, item: A) -> None:
        """Do one job after another, as long as there is one to begin at once."""
        began = self._loop.time()
        while True:
            try:
                result = await self._fn(item)
            except asyncio.CancelledError:
                if not self._is_over:  # not by us: what was awaited was cancelled, or the loop comes to its end
                    self._end_with(StreamError("a call of map_async was cancelled"))
                raise
            except Exception as error:
                self._end_with(error)
                return
            self._finished(number, result)
            job = self._next_job()
            self._fill()
            if job is None:
                return
            number, item = job
            if self._loop.time() - began > BREATH:
                await asyncio.sleep(0)
                began = self._loop.time()

    def _finished(self, number: int, result: B) -> None:
        if not self._ordered:
            self._deliver(result)
            return
        self._done[number] = result
        while self._done and not self._is_over and (head := self._delivered + 1) in self._done:
            self._delivered = head
            self._deliver(self._done.pop(head))

    def _deliver(self, result: B) -> None:
        if self._is_over:
            return
        try:
            self._observer.on_next(result)
        except Exception as error:
            self._end_with(raised_by_subscriber(error))
        self._under_way -= 1
        self._gate.open(self)

    def _end_with(self, error: Exception | None) -> None:
        """Say the end, once, and let go of everything."""
        if self._is_over:
            return
        self._is_over = True
        self.source.dispose()
        self._clear()
        if error is not None:
            self._observer.on_error(error)
        else:
            self._observer.on_completed()

    def _clear(self) -> None:
        if self._stop_listening is not None:
            self._stop_listening()
        for task in self._tasks:
            task.cancel()
        self._done.clear()
        self._queue.close()
        self._gate.open(self)
