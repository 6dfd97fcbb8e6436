"""Operators that are broken on purpose, each in one way, and what they were before they were broken.

`Passing` and `Queueing` are healthy and as small as can be; each class under them
breaks one thing. `BROKEN` says which law has to notice.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from reactivex import Observable, abc
from reactivex.disposable import Disposable, SingleAssignmentDisposable

from rxstream.errors import ConfigurationError, SubscriberError
from rxstream.flow import Gate
from rxstream.schedulers import FlowScheduler, gate_of
from rxstream.schedulers.gated_scheduler import gated
from tests.contract import stage_laws as laws
from tests.contract.lawbook import Law
from tests.contract.subjects import Stage, Thing


class Passing:
    """One subscription of an operator that passes everything on."""

    def __init__(self, observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase) -> None:
        self.observer = observer
        self.scheduler = scheduler
        self.source = SingleAssignmentDisposable()

    def subscribe_to(self, source: Observable[Any]) -> None:
        self.source.disposable = source.subscribe(
            self.on_next, self.on_error, self.on_completed, scheduler=self.scheduler
        )

    def on_next(self, item: Any) -> None:
        self.observer.on_next(item)

    def on_error(self, error: Exception) -> None:
        self.observer.on_error(error)

    def on_completed(self) -> None:
        self.observer.on_completed()

    def dispose(self) -> None:
        self.source.dispose()


class Queueing(Passing):
    """One subscription of a bounded queue: what is not wanted waits, and makes the source wait."""

    CAPACITY = 4

    def __init__(self, observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase) -> None:
        super().__init__(observer, scheduler)
        demand = gate_of(scheduler)
        assert demand is not None
        demand.honour()
        self.demand = demand
        self.gate = Gate()
        self.loop = asyncio.get_running_loop()
        self.waiting: deque[Any] = deque()
        self.lock = threading.RLock()
        self.error: Exception | None = None
        self.is_ended = self.is_over = self.is_busy = False
        self.stop_listening: Callable[[], None] = _nothing

    def subscribe_to(self, source: Observable[Any]) -> None:
        carrier = gated(self.scheduler, self.gate)
        self.source.disposable = source.subscribe(self.on_next, self.on_error, self.on_completed, scheduler=carrier)
        if not self.gate.is_honoured and not self.is_ended:
            raise ConfigurationError("this source cannot wait")

    def on_next(self, item: Any) -> None:
        with self.lock:
            self.waiting.append(item)
            if len(self.waiting) >= self.CAPACITY:
                self.gate.close(self)
        self.drain()

    def on_error(self, error: Exception) -> None:
        self.error = error
        self.on_completed()

    def on_completed(self) -> None:
        self.is_ended = True
        self.drain()

    def dispose(self) -> None:
        self.is_over = True
        self.source.dispose()
        self.stop_listening()
        self.waiting.clear()
        self.gate.open(self)

    def is_wanted(self) -> bool:
        return self.error is not None or self.demand.is_open

    def drain(self) -> None:
        """Give what may be given, unless somebody does already."""
        with self.lock:
            if self.is_busy:
                return
            self.is_busy = True
        while not self.is_over and self.waiting and self.is_wanted():
            self.give(self.take())
        is_done = self.is_ended and not self.waiting and not self.is_over
        if self.waiting and not self.is_over:
            self.listen()
        with self.lock:
            self.is_busy = False
        if is_done:
            self.end()
        elif not self.is_over and ((self.waiting and self.is_wanted()) or (self.is_ended and not self.waiting)):
            self.drain()  # something came, or was wanted, in this very moment

    def take(self) -> Any:
        with self.lock:
            item = self.waiting.popleft()
            if len(self.waiting) < self.CAPACITY:
                self.gate.open(self)
        return item

    def give(self, item: Any) -> None:
        try:
            self.observer.on_next(item)
        except Exception as error:
            broken = SubscriberError("the subscriber raised")
            broken.__cause__ = error
            self.dispose()
            self.observer.on_error(broken)

    def listen(self) -> None:
        """Come back when more is wanted."""
        self.stop_listening()
        self.stop_listening = self.demand.when_open(lambda: self.loop.call_soon_threadsafe(self.drain))

    def end(self) -> None:
        self.is_over = True
        self.stop_listening()
        if self.error is not None:
            self.observer.on_error(self.error)
        else:
            self.observer.on_completed()


def operator_of(kind: type[Passing]) -> Callable[[], Callable[[Observable[Any]], Observable[Any]]]:
    """Return what makes an operator of what one subscription does."""

    def operator(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None) -> Disposable:
            assert scheduler is not None
            subscription = kind(observer, scheduler)
            subscription.subscribe_to(source)
            return Disposable(subscription.dispose)

        return Observable(subscribe)

    return lambda: operator


# What comes


class LastOneFirst(Queueing):
    """Reorders what waits."""

    def take(self) -> Any:
        self.waiting.rotate(1)
        return super().take()


class EveryTenthTwice(Passing):
    """Repeats itself."""

    heard = 0

    def on_next(self, item: Any) -> None:
        super().on_next(item)
        self.heard += 1
        if self.heard == 10:
            super().on_next(item)


class Leaky(Queueing):
    """Drops in silence what goes beyond the capacity."""

    def on_next(self, item: Any) -> None:
        if len(self.waiting) <= self.CAPACITY:
            super().on_next(item)
        else:
            self.drain()


class Pushy(Queueing):
    """Gives what nobody wants."""

    def is_wanted(self) -> bool:
        return True


def each_item_once() -> Callable[[Observable[Any]], Observable[Any]]:
    """Share what was seen between all subscriptions: what comes again in the second one is left out."""
    seen: set[int] = set()

    class Distinct(Passing):
        def on_next(self, item: Any) -> None:
            if item.number not in seen:
                seen.add(item.number)
                super().on_next(item)

    return operator_of(Distinct)()


# How fast


class Alone(Passing):
    """Does not pass the scheduler on."""

    def subscribe_to(self, source: Observable[Any]) -> None:
        self.source.disposable = source.subscribe(self.on_next, self.on_error, self.on_completed)


class Unbounded(Queueing):
    """Never closes the gate."""

    CAPACITY = 1_000_000


class Trusting(Queueing):
    """Takes a source that cannot wait, and grows."""

    def subscribe_to(self, source: Observable[Any]) -> None:
        self.gate.honour()
        super().subscribe_to(source)


class Sleepy(Queueing):
    """Listens for demand the first time only."""

    has_listened = False

    def listen(self) -> None:
        if not self.has_listened:
            self.has_listened = True
            super().listen()


class Nested(Passing):
    """Puts one more call around each item."""

    def __init__(self, observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase) -> None:
        super().__init__(observer, scheduler)
        self.emit: Callable[[Any], None] = observer.on_next

    def on_next(self, item: Any) -> None:
        before = self.emit

        def emit(item: Any) -> None:
            before(item)

        self.emit = emit
        emit(item)


class Overlapping(Queueing):
    """Gives a new item while another one is being heard."""

    def on_next(self, item: Any) -> None:
        if self.is_busy:
            self.give(item)
        else:
            super().on_next(item)


class OneThread(Queueing):
    """Comes back to the loop in a way that another thread must not use: it does not wake the loop up."""

    def on_completed(self) -> None:
        self.is_ended = True
        if threading.current_thread() is threading.main_thread():
            self.drain()
        else:
            self.loop.call_soon(self.drain)


# How it ends


class AfterTheEnd(Passing):
    """Remembers something when all is over."""

    def on_completed(self) -> None:
        super().on_completed()
        self.observer.on_next(Thing(0))


class TwoEnds(Passing):
    """Completes what has failed."""

    def on_error(self, error: Exception) -> None:
        super().on_error(error)
        self.observer.on_completed()


class Late(Passing):
    """Is not ready for a source that is done before `subscribe` returns."""

    is_ready = False

    def subscribe_to(self, source: Observable[Any]) -> None:
        super().subscribe_to(source)
        self.is_ready = True

    def on_completed(self) -> None:
        if self.is_ready:
            super().on_completed()


class Undemanding(Queueing):
    """Waits for demand even to say that there is nothing."""

    def drain(self) -> None:
        if self.is_ended and not self.is_wanted():
            self.listen()
        else:
            super().drain()


class Hasty(Queueing):
    """Completes before what waits is out."""

    def on_completed(self) -> None:
        if self.error is None:
            self.waiting.clear()
        super().on_completed()


class Swallowing(Passing):
    """Makes a completion of an error."""

    def on_error(self, error: Exception) -> None:
        self.observer.on_completed()


class Patient(Queueing):
    """Holds an error back until it is wanted."""

    def drain(self) -> None:
        if self.error is not None and not self.demand.is_open:
            self.listen()
        else:
            super().drain()


class Forgetful(Queueing):
    """Throws away what waits when the source fails."""

    def on_error(self, error: Exception) -> None:
        self.waiting.clear()
        super().on_error(error)


class Unguarded(Queueing):
    """Lets a subscriber raise into its own works, which then stand still."""

    def give(self, item: Any) -> None:
        self.observer.on_next(item)


# How it is left


class Deaf(Passing):
    """Ignores a dispose."""

    def dispose(self) -> None:
        """Go on."""


class Peeking(Queueing):
    """Takes an item out when it has been heard, although a dispose may have taken it before."""

    def take(self) -> Any:
        return self.waiting[0]

    def give(self, item: Any) -> None:
        super().give(item)
        super().take()


class Clinging(Queueing):
    """Leaves the gate closed behind itself."""

    def dispose(self) -> None:
        self.is_over = True
        self.source.dispose()
        self.stop_listening()
        self.waiting.clear()


class LeftTask(Passing):
    """Leaves a task behind."""

    def __init__(self, observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase) -> None:
        super().__init__(observer, scheduler)
        self.task = asyncio.ensure_future(asyncio.sleep(3_600))


class LeftTimer(Passing):
    """Leaves a timer behind."""

    def __init__(self, observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase) -> None:
        super().__init__(observer, scheduler)
        asyncio.get_running_loop().call_later(3_600, _nothing)


class LeftListener(Queueing):
    """Goes on listening to the consumer's gate, which so keeps it."""

    def listen(self) -> None:
        self.demand.when_open(lambda: self.loop.call_soon_threadsafe(self.drain))


class LeftItems(Queueing):
    """Keeps what waited when it is disposed of."""

    def dispose(self) -> None:
        waiting = [*self.waiting]
        super().dispose()
        self.waiting.extend(waiting)


# Where it runs


class OwnClock(Queueing):
    """Comes back by the clock of the loop, whatever the scheduler of the subscription is."""

    def listen(self) -> None:
        self.stop_listening()
        self.stop_listening = self.demand.when_open(lambda: self.loop.call_soon_threadsafe(self.come_back))

    def come_back(self) -> None:
        timer = self.loop.call_later(0.000_01, self.drain)
        self.stop_listening = timer.cancel


class SinceTheEpoch(Passing):
    """Thinks that the clock of a loop began at 0, and leaves out what seems to come late."""

    def on_next(self, item: Any) -> None:
        if not isinstance(self.scheduler, FlowScheduler) or self.scheduler.loop.time() < 1_000:
            super().on_next(item)


BROKEN: dict[Callable[..., Any], tuple[Law[Stage], ...]] = {
    LastOneFirst: (laws.what_had_to_wait_comes_in_order,),
    EveryTenthTwice: (laws.everything_comes_once_and_in_order,),
    Leaky: (laws.the_accounts_add_up_after_every_step,),
    Pushy: (laws.nothing_comes_that_nobody_wants,),
    each_item_once: (laws.each_subscription_begins_anew,),
    Alone: (laws.the_scheduler_reaches_the_source,),
    Unbounded: (laws.the_source_does_not_run_ahead,),
    Trusting: (laws.growth_is_never_silent,),
    Sleepy: (
        laws.a_consumer_that_stops_and_starts_loses_no_wake_up,
        laws.a_source_in_another_thread_is_heard_to_the_end,
    ),
    Nested: (laws.a_hundred_thousand_items_at_once_cause_no_recursion,),
    Overlapping: (laws.signals_are_serial,),
    OneThread: (laws.a_source_in_another_thread_is_heard_to_the_end,),
    AfterTheEnd: (laws.there_is_one_end_and_nothing_after_it,),
    TwoEnds: (laws.there_is_one_end_and_nothing_after_it,),
    Late: (laws.a_source_that_is_done_within_subscribe_is_heard,),
    Undemanding: (laws.completion_needs_no_demand,),
    Hasty: (laws.completion_comes_after_what_is_held,),
    Swallowing: (laws.an_error_is_not_held_back,),
    Patient: (laws.an_error_is_not_held_back,),
    Forgetful: (laws.what_is_held_comes_before_an_error,),
    Unguarded: (laws.a_subscriber_that_raises_does_not_hang_the_stream,),
    Deaf: (laws.dispose_reaches_the_source_at_once, laws.dispose_may_come_from_the_subscribers_own_code),
    Peeking: (
        laws.a_subscriber_that_raises_does_not_hang_the_stream,
        laws.dispose_may_come_from_the_subscribers_own_code,
    ),
    Clinging: (laws.dispose_lets_go_of_a_source_that_waits,),
    LeftTask: (laws.nothing_is_left,),
    LeftTimer: (laws.nothing_is_left,),
    LeftListener: (laws.nothing_is_left,),
    LeftItems: (laws.nothing_is_left,),
    OwnClock: (laws.virtual_time_changes_nothing,),
    SinceTheEpoch: (laws.a_real_clock_changes_nothing,),
}
"""Which laws each of them breaks; where there are two, one and the same fault shows in both."""


def stage_of(broken: Callable[..., Any]) -> Stage:
    """Return the stage that a class or an operator of this file makes."""
    if not isinstance(broken, type):
        return Stage(broken)
    return Stage(operator_of(broken), ahead=Queueing.CAPACITY if issubclass(broken, Queueing) else 0)


def _nothing() -> None:
    """What calls off what was not arranged."""
