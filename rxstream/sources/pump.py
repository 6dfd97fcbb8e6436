"""The one loop that pushes what is read into Rx, at the pace that the consumer allows.

Every source reads in a task on an event loop and gives each item to a `Pump`. The
pump waits while the gate of the subscription's scheduler is closed, or that of the
stream's share of a controller, lets the loop breathe, and makes sure of one terminal,
of a prompt end when the subscription is disposed of, and of nothing left afterwards.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Generic, TypeVar, cast

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rxstream.errors import StreamError
from rxstream.flow import AdaptiveReadSize, StreamBackpressureController, wake
from rxstream.rx import Stoppable, raised_by_subscriber
from rxstream.schedulers import call_on, gate_of, loop_for, running_loop

T = TypeVar("T")

BREATH = 0.001
"""Seconds of work after which other tasks of the loop get their turn."""
LOGGED = "_log_destroy_pending"
"""What asyncio has a task remember: whether to log that its loop was closed before it had ended."""


class Pump(Generic[T]):
    """One subscription to a source: items in from a task, out to an observer."""

    def __init__(
        self,
        observer: abc.ObserverBase[T],
        scheduler: abc.SchedulerBase | None,
        controller: StreamBackpressureController | None,
    ) -> None:
        self.loop = loop_for(scheduler)
        gate = gate_of(scheduler)
        chosen = gate.find_offered() if controller is None and gate is not None else controller
        self._share = chosen.stream() if isinstance(chosen, StreamBackpressureController) else None
        self._sizes = chosen if isinstance(chosen, AdaptiveReadSize) else AdaptiveReadSize()
        self._note_read = self._sizes.note if self._share is None else self._share.note_read
        if gate is not None:
            gate.honour(self._share)
        self._gates = [gate for gate in (gate, self._share and self._share.gate) if gate is not None]
        self.on_pause: Callable[[], None] = _nothing
        """Called when the consumer makes the stream wait."""
        self.on_resume: Callable[[], None] = _nothing
        self.on_stop: Callable[[], None] = _nothing
        """Called at once when the subscription is disposed of: closes what is open."""
        self._observer = observer
        self._downstream = cast(Stoppable, observer)
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._failure: StreamError | None = None
        self._is_over = False
        self._worked = 0.0

    def start(self, read: Callable[["Pump[T]"], Awaitable[None]]) -> None:
        """Run `read`, which pushes the items, as a task of the loop; call on the loop."""
        if not self._is_over:
            self._task = self.loop.create_task(self._run(read))
            if hasattr(self._task, LOGGED):  # who closes the loop has no way to cancel this task before
                setattr(self._task, LOGGED, False)

    async def push(self, item: T) -> bool:
        """Give `item` to the observer, then wait as long as it wants; return whether it wants more.

        Raises `SubscriberError` if the observer raises.
        """
        await self.give(item)
        return await self.is_wanted()

    async def give(self, item: T) -> float:
        """Give `item` to the observer, without a look at the gates: for the last one, after which nothing is read.

        Returns the loop's time after that. Raises `SubscriberError` if the observer raises.
        """
        now = self.give_now(item)
        await self.breathe()
        return now

    def give_now(self, item: T) -> float:
        """Give `item` to the observer and nothing else; return the loop's time after that. Raises as `give`."""
        started = self.loop.time()
        try:
            self._observer.on_next(item)
        except Exception as error:
            raise raised_by_subscriber(error) from error
        now = self.loop.time()
        if isinstance(item, bytes):
            self._note_read(len(item), now - started)
        self._worked += now - started
        return now

    async def breathe(self) -> None:
        """Let other tasks of the loop have their turn, if it is time."""
        if self.is_tired:
            self._worked = 0.0
            await asyncio.sleep(0)

    @property
    def is_tired(self) -> bool:
        """Whether others of the loop should have their turn."""
        return self._worked > BREATH

    @property
    def is_open(self) -> bool:
        """Whether the consumer wants more right now."""
        if self._is_over or self._downstream.is_stopped:
            return False
        for gate in self._gates:  # noqa: SIM110  # `all` would make a generator for each event of the stream
            if not gate.is_open:
                return False
        return True

    async def is_wanted(self) -> bool:
        """Wait until the consumer wants more; return False if it never will."""
        for gate in self._gates:
            if not gate.is_open:
                await self._wait()
        return not self._downstream.is_stopped

    @property
    def read_size(self) -> int:
        """Bytes to ask for in the next read, if it is bytes that are read."""
        return self._sizes.size if self._share is None else self._share.read_size

    @property
    def largest_read(self) -> int:
        """Bytes that `read_size` will not go beyond."""
        return self._sizes.maximum if self._share is None else self._share.largest_read

    async def _wait(self) -> None:
        """Wait until every gate is open at once."""
        self.on_pause()
        while closed := [gate for gate in self._gates if not gate.is_open]:
            waiter = self._waiter = self.loop.create_future()
            stop = closed[0].when_open(partial(wake, self.loop, waiter))
            try:
                await waiter
            finally:
                stop()
        self.on_resume()

    def hurry(self) -> None:
        """Wait for the consumer no more: what is read has broken off, which is not held back; call on the loop."""
        self._gates = []
        if self._waiter is not None:
            wake(self.loop, self._waiter)

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
        else:
            call_on(self.loop, self._stop_here)

    def _stop_here(self) -> None:
        self.on_stop()
        self._end_share()
        if self._task is not None:
            self._task.cancel()

    def _end_share(self) -> None:
        """Hold nothing back any more; what is queued counts until it is taken, or its queue is disposed of too."""
        if self._share is not None:
            self._share.close_when_empty()

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
            self._end_share()
            self.on_pause = self.on_resume = self.on_stop = _nothing
            del self._observer, self._downstream  # whoever keeps an exception keeps this pump, on its stack

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


def pumped(
    read: Callable[[Pump[T]], Awaitable[None]],
    controller: StreamBackpressureController | None = None,
    *,
    on_stop: Callable[[], None] | None = None,
) -> Observable[T]:
    """Return the cold Observable of what `read` pushes; each subscription runs it anew on its loop.

    With a `controller`, or one that a stage downstream offers, each has a share of it:
    what is queued downstream counts there, and its gate is waited for too. `on_stop`
    closes what is open before `read` has begun; a dispose may come that early.
    """

    def subscribe(observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        pump = Pump(observer, scheduler, controller)
        pump.on_stop = on_stop or _nothing
        if running_loop() is pump.loop:
            pump.start(read)
        else:
            pump.loop.call_soon_threadsafe(pump.start, read)
        return Disposable(pump.stop)

    return Observable(subscribe)


def _nothing() -> None:
    """What happens where nobody asked for anything."""
