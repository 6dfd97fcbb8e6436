"""The one loop that pushes what is read into Rx, at the pace that the consumer allows.

Every source reads in a task on an event loop and gives each item to a `Pump`. The
pump waits while the gate of the subscription's scheduler is closed, lets the loop
breathe, and makes sure of one terminal, of a prompt end when the subscription is
disposed of, and of nothing left afterwards.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar, cast

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rxstream.errors import StreamError, SubscriberError
from rxstream.rx import Stoppable
from rxstream.schedulers import gate_of, loop_for, running_loop

T = TypeVar("T")

BREATH = 0.001
"""Seconds of work after which other tasks of the loop get their turn."""


class Pump(Generic[T]):
    """One subscription to a source: items in from a task, out to an observer."""

    def __init__(self, observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None) -> None:
        self.loop = loop_for(scheduler)
        self.gate = gate_of(scheduler)
        if self.gate is not None:
            self.gate.honour()
        self.on_pause: Callable[[], None] = _nothing
        """Called when the consumer makes the stream wait."""
        self.on_resume: Callable[[], None] = _nothing
        self.on_stop: Callable[[], None] = _nothing
        """Called at once when the subscription is disposed of: closes what is open."""
        self._observer = observer
        self._downstream = cast(Stoppable, observer)
        self._task: asyncio.Task[None] | None = None
        self._failure: StreamError | None = None
        self._is_over = False
        self._worked = 0.0

    def start(self, read: Callable[["Pump[T]"], Awaitable[None]]) -> None:
        """Run `read`, which pushes the items, as a task of the loop; call on the loop."""
        if not self._is_over:
            self._task = self.loop.create_task(self._run(read))

    async def push(self, item: T) -> bool:
        """Give `item` to the observer, then wait as long as it wants; return whether it wants more.

        Raises `SubscriberError` if the observer raises.
        """
        started = self.loop.time()
        try:
            self._observer.on_next(item)
        except Exception as error:
            raise SubscriberError(f"the subscriber raised {type(error).__name__}") from error
        self._worked += self.loop.time() - started
        if self._worked > BREATH:
            self._worked = 0.0
            await asyncio.sleep(0)
        if self.gate is not None and not self.gate.is_open:
            self.on_pause()
            await self.gate.wait()
            self.on_resume()
        return not self._downstream.is_stopped

    def fail(self, error: StreamError) -> None:
        """End the stream with `error` now, wherever its task waits; call on the loop."""
        self._failure = error
        if self._task is not None:
            self._task.cancel()

    def stop(self) -> None:
        """End the stream without a word, as a dispose does; from any thread."""
        if self._is_over:
            return
        self._is_over = True
        if running_loop() is self.loop:
            self._stop_here()
        elif not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._stop_here)

    def _stop_here(self) -> None:
        self.on_stop()
        if self._task is not None:
            self._task.cancel()

    async def _run(self, read: Callable[["Pump[T]"], Awaitable[None]]) -> None:
        try:
            await read(self)
        except asyncio.CancelledError:
            if self._failure is None or self._is_over:
                raise
            self._end(self._failure)
        except Exception as error:
            self._end(error)
        else:
            self._end(None)
        finally:
            self.on_pause = self.on_resume = self.on_stop = _nothing

    def _end(self, error: Exception | None) -> None:
        """Give the observer its one terminal; what it raises then has nobody left but the loop to hear it."""
        if self._is_over:
            return
        self._is_over = True
        try:
            if error is None:
                self._observer.on_completed()
            else:
                self._observer.on_error(error)
        except Exception as raised:
            message = "a subscriber raised when its stream ended"
            self.loop.call_exception_handler({"message": message, "exception": raised, "task": self._task})


def pumped(read: Callable[[Pump[T]], Awaitable[None]]) -> Observable[T]:
    """Return the cold Observable of what `read` pushes; each subscription runs it anew on its loop."""

    def subscribe(observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        pump = Pump(observer, scheduler)
        if running_loop() is pump.loop:
            pump.start(read)
        else:
            pump.loop.call_soon_threadsafe(pump.start, read)
        return Disposable(pump.stop)

    return Observable(subscribe)


def _nothing() -> None:
    """What happens where nobody asked for anything."""
