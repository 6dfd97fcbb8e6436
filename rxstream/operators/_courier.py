"""What carries items to an observer that cannot always take them at once.

The one mechanism behind the operators that hold something: `buffered`, `deliver_on`,
`rate_limit`, `fan_out`, `frames` and `throttle_text` say what is held and when it may
go; the courier does the rest.

Who is in charge
----------------
Signals must never overlap, although items may come from one thread and the gate be
opened, or a timer fire, in another. So one party at a time is in charge, and only
that one talks to the observer: it either delivers, or is parked until demand, time or
its turn on the scheduler brings it back. Whoever finds somebody in charge leaves its
item with what waits and goes away; who gives up charge looks once more whether
something was left meanwhile. In charge is who holds `_charge`, which nobody ever
waits for.

How it ends
-----------
Completion comes after what waits, and that goes as demand and pace allow. An error
is not held back for anything: what waits is delivered at once, then the error. If
the observer's own code raises while the courier delivers, the stream ends in
`SubscriberError`.
"""

import math
import threading
from abc import abstractmethod
from collections.abc import Callable, Sized
from datetime import timedelta
from functools import partial
from typing import Any, Generic, TypeVar

from reactivex import abc
from reactivex.disposable import Disposable, SingleAssignmentDisposable

from rxstream.flow import Gate
from rxstream.rx import raised_by_subscriber
from rxstream.schedulers import FlowScheduler, running_loop
from rxstream.schedulers.gated_scheduler import clock_of

T = TypeVar("T")

BREATH = 0.001
"""Seconds of deliveries after which others on the same scheduler get their turn."""


class Courier(Generic[T]):
    """One subscription: items in from `source`, out to `observer`, when they may go.

    `waiting` is what is held, empty or not. Timers run on `scheduler`; what had to
    wait is delivered there. With `hands_over` all is, so that it changes the thread.
    Nothing goes while `demand` is closed.
    """

    def __init__(
        self,
        observer: abc.ObserverBase[Any],
        scheduler: abc.SchedulerBase,
        waiting: Sized,
        *,
        demand: Gate | None = None,
        hands_over: bool = False,
    ) -> None:
        self.source = SingleAssignmentDisposable()
        """The subscription to what brings the items."""
        self.is_ended = False
        """Whether the source has completed or failed."""
        self._observer = observer
        self._emit = observer.on_next
        self._scheduler = scheduler
        self._now = clock_of(scheduler)
        self._waiting = waiting
        self._demand = demand
        self._hands_over = hands_over
        self._error: Exception | None = None
        self._is_over = False
        self._charge = threading.Lock()
        # Reentrant, because the collector may end an abandoned subscription in the middle of anything.
        self._lock = threading.RLock()
        self._parked: object | None = None  # the ticket to come back with
        self._is_coming = False  # its turn on the scheduler to hand over to is planned
        self._unpark: Callable[[], None] = _nothing

    def on_next(self, item: T) -> None:
        self._keep(item)
        self._look()

    def on_error(self, error: Exception) -> None:
        self._error = error
        self.on_completed()

    def on_completed(self) -> None:
        self.is_ended = True
        if self._charge.acquire(blocking=False) or (not self._is_coming and self._take_over()):
            self._go()

    def fail(self, error: Exception) -> None:
        """End with `error`, after what waits, although the source would go on."""
        self.source.dispose()
        if self._error is None:
            self.on_error(error)

    def dispose(self) -> None:
        """Forget everything; from any thread."""
        self._is_over = True
        self._take_over()
        self.source.dispose()
        self._forget()

    def disposable(self) -> abc.DisposableBase:
        """Return what a subscribe function returns."""
        return Disposable(self.dispose)

    @abstractmethod
    def _put(self, item: T) -> None:
        """Add `item` to what waits; what is raised ends the stream."""

    @abstractmethod
    def _deliver_next(self) -> None:
        """Take the next of what waits and emit it; another thread's dispose may just have taken it all."""

    @abstractmethod
    def _forget(self) -> None:
        """Let go of what waits."""

    def _wait(self) -> float:
        """Return the seconds until the next of what waits may go."""
        return 0.0

    def _keep(self, item: T) -> None:
        try:
            self._put(item)
        except Exception as error:
            self.fail(error)

    def _look(self) -> None:
        """See to it that what is to be done is done, by whoever is in charge."""
        if self._charge.acquire(blocking=False):
            self._go()

    def _go(self) -> None:
        """Deliver, here or where it is to be; the caller is in charge."""
        if self._hands_over:
            self._park_for(0)
        else:
            self._run()

    def _run(self) -> None:
        """Deliver what may go; the caller is in charge, and remains so where the rest has to wait."""
        while self._deliver():
            self._charge.release()
            has_work = not self._is_over and (self._waiting or self.is_ended)  # something may have come meanwhile
            if not has_work or not self._charge.acquire(blocking=False):
                return

    def _deliver(self) -> bool:
        """Deliver until nothing is left to do, and return True; False if the rest has to wait."""
        stop_at = self._now() + BREATH
        while not self._is_over:
            if not self._waiting:
                if not self.is_ended:
                    return True
                if not self._waiting:  # once more: another thread brings the last item before the end
                    self._finish()
                    return True
            if self._has_to_wait(stop_at):
                return False
            try:
                self._deliver_next()
            except Exception as error:
                self._give_up(error)
        return True

    def _has_to_wait(self, stop_at: float) -> bool:
        """Park, if there is a reason to."""
        was_ended = self.is_ended
        if self._error is not None:
            return False
        if self._demand is not None and not self._demand.is_open:
            ticket = self._park_until_wanted(self._demand)
        else:
            try:
                seconds = self._wait()
            except Exception as error:
                self.fail(error)
                return False
            if seconds <= 0 and self._now() <= stop_at:
                return False
            ticket = self._park_for(seconds)
        # Who ended the source in this very moment may have found nobody parked yet.
        return not (self.is_ended and not was_ended and self._take_over(ticket))

    def _finish(self) -> None:
        self._is_over = True
        error, self._error = self._error, None  # its traceback may hold an item
        if error is not None:
            self._observer.on_error(error)
        else:
            self._observer.on_completed()

    def _give_up(self, error: Exception) -> None:
        """End at once, because the subscriber raised `error`."""
        self._is_over = True
        self.source.dispose()
        self._forget()
        self._observer.on_error(raised_by_subscriber(error))

    def _park_until_wanted(self, demand: Gate) -> object:
        ticket = self._parked = object()
        self._unparked_by(ticket, demand.when_open(partial(self._schedule, ticket)))
        return ticket

    def _park_for(self, seconds: float) -> object:
        """Come back after `seconds`; after none, when the scheduler has done what was planned before."""
        ticket = self._parked = object()
        if seconds <= 0:
            self._is_coming = self._hands_over
            self._schedule(ticket)
        else:
            # In whole microseconds, as schedulers count: to come early would mean to come again and again.
            due = timedelta(microseconds=max(1, math.ceil(seconds * 1e6 - 0.001)))
            timer = self._scheduler.schedule_relative(due, self._come_back, ticket)
            self._unparked_by(ticket, partial(_dispose_on, self._scheduler, timer))
        return ticket

    def _unparked_by(self, ticket: object, unpark: Callable[[], None]) -> None:
        """Remember how to call off what was arranged for `ticket`, unless it has happened already."""
        with self._lock:
            if self._parked is ticket and not self._is_over:
                self._unpark = unpark
                return
        unpark()

    def _schedule(self, ticket: object) -> None:
        try:
            self._scheduler.schedule(self._come_back, ticket)
        except RuntimeError:
            if not (isinstance(self._scheduler, FlowScheduler) and self._scheduler.loop.is_closed()):
                raise
            self.dispose()  # the loop is gone, and with it everything that ran there

    def _come_back(self, _: abc.SchedulerBase, ticket: object = None) -> None:
        self._is_coming = False
        if self._take_over(ticket):
            self._run()

    def _take_over(self, ticket: object = None) -> bool:
        """Take charge from whoever is parked (with `ticket`, if one is given); False if nobody is."""
        with self._lock:
            if self._parked is None or (ticket is not None and ticket is not self._parked):
                return False
            self._parked = None
            unpark, self._unpark = self._unpark, _nothing
        unpark()
        return True


def _dispose_on(scheduler: abc.SchedulerBase, timer: abc.DisposableBase) -> None:
    """Dispose of a timer on the loop that it was set on: asyncio's own must not be touched from elsewhere."""
    if not isinstance(scheduler, FlowScheduler) or running_loop() is scheduler.loop:
        timer.dispose()
    elif not scheduler.loop.is_closed():
        scheduler.loop.call_soon_threadsafe(timer.dispose)


def _nothing() -> None:
    """How to call off what was not arranged."""
