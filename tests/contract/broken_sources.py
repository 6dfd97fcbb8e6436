"""Sources that are broken on purpose, each in one way, and the one that they were before.

`Reading` is healthy and as small as can be; each class under it breaks one thing.
`BROKEN` says which law has to notice.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable

from rxstream.errors import SubscriberError
from rxstream.schedulers import FlowScheduler, gate_of
from tests.contract import source_laws as laws
from tests.contract.lawbook import Law
from tests.contract.probes import Feed
from tests.contract.subjects import THINGS, Source, Thing, same


class Reading:
    """One subscription to a feed, read in a task."""

    def __init__(self, feed: Feed, observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None) -> None:
        assert isinstance(scheduler, FlowScheduler)
        gate = gate_of(scheduler)
        assert gate is not None
        self.gate, self.loop = gate, scheduler.loop
        self.feed = feed
        self.observer = observer
        self.is_over = False
        self.task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self.gate.honour()
        self.task = self.loop.create_task(self.run())

    async def run(self) -> None:
        chunks = aiter(self.feed)
        try:
            async for item in chunks:
                await self.give(item)
                if self.is_over:
                    return
            self.complete()
        except Exception as error:
            self.fail(error)
        finally:
            await chunks.aclose()
            del self.observer  # an exception keeps what is on its stack

    async def give(self, item: Any) -> None:
        try:
            self.observer.on_next(item)
        except Exception as error:
            raise SubscriberError("the subscriber raised") from error
        await asyncio.sleep(0)
        await self.gate.wait()

    def complete(self) -> None:
        self.observer.on_completed()

    def fail(self, error: Exception) -> None:
        self.observer.on_error(error)

    def dispose(self) -> None:
        """Stop, from any thread."""
        self.is_over = True
        self.loop.call_soon_threadsafe(self.cancel)

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


def source_of(kind: type[Reading]) -> Source:
    """Return the source that reads as `kind` does."""

    @asynccontextmanager
    async def opened(feed: Feed) -> AsyncGenerator[Observable[Any]]:
        def subscribe(observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None) -> Disposable:
            reading = kind(feed, observer, scheduler)
            reading.begin()
            return Disposable(reading.dispose)

        yield Observable(subscribe)

    return Source(opened, THINGS, gives=same)


class Twice(Reading):
    """Repeats itself."""

    given = 0

    async def give(self, item: Any) -> None:
        await super().give(item)
        self.given += 1
        if self.given == 15:
            await super().give(item)


class OneBehind(Reading):
    """Gives the third item only when a fourth is there."""

    given = 0

    async def give(self, item: Any) -> None:
        self.given += 1
        if self.given == 3:
            self.third = item
            return
        if self.given == 4:
            await super().give(self.third)
        await super().give(item)

    def complete(self) -> None:
        if self.given == 3:
            self.observer.on_next(self.third)
        super().complete()


class OnlyOnce(Reading):
    """Takes away what it reads: nothing is left for the next subscription."""

    def complete(self) -> None:
        self.feed.chunks.clear()
        super().complete()


class Silent(Reading):
    """Waits at the gate, but does not say so."""

    def begin(self) -> None:
        self.task = self.loop.create_task(self.run())


class Eager(Reading):
    """Does not look at the gate."""

    async def give(self, item: Any) -> None:
        self.gate.open(self)
        try:
            self.observer.on_next(item)
        except Exception as error:
            raise SubscriberError("the subscriber raised") from error
        await asyncio.sleep(0)


class Sleepy(Reading):
    """Waits for the gate to open only once, and then for ever."""

    has_waited = False

    async def give(self, item: Any) -> None:
        times_closed = self.gate.times_closed
        await super().give(item)
        if self.gate.times_closed == times_closed:
            return
        if self.has_waited:
            await asyncio.Event().wait()
        self.has_waited = True


class Selfish(Reading):
    """Gives nobody else a turn."""

    async def give(self, item: Any) -> None:
        try:
            self.observer.on_next(item)
        except Exception as error:
            raise SubscriberError("the subscriber raised") from error
        await self.gate.wait()


class TwoEnds(Reading):
    """Completes what has failed."""

    def fail(self, error: Exception) -> None:
        super().fail(error)
        self.observer.on_completed()


class AfterTheEnd(Reading):
    """Remembers something when all is over."""

    def complete(self) -> None:
        super().complete()
        self.observer.on_next(Thing(0))


class Undemanding(Reading):
    """Waits for demand even to say that there is nothing."""

    async def run(self) -> None:
        await self.gate.wait()
        await super().run()


class Swallowing(Reading):
    """Makes a completion of an error of what it reads."""

    def fail(self, error: Exception) -> None:
        if isinstance(error, SubscriberError):
            super().fail(error)
        else:
            self.complete()


class Unguarded(Reading):
    """Says nothing when the subscriber raises."""

    def fail(self, error: Exception) -> None:
        if not isinstance(error, SubscriberError):
            super().fail(error)


class Deaf(Reading):
    """Ignores a dispose."""

    def dispose(self) -> None:
        """Go on."""


class Patient(Reading):
    """Looks whether it was disposed of only after an item."""

    def dispose(self) -> None:
        self.is_over = True


class LeftReference(Reading):
    """Remembers everyone who ever subscribed."""

    everyone: ClassVar[list[abc.ObserverBase[Any]]] = []

    def begin(self) -> None:
        super().begin()
        self.everyone.append(self.observer)


BROKEN: dict[type[Reading], tuple[Law[Source], ...]] = {
    Twice: (laws.everything_comes_once_and_in_order,),
    OneBehind: (laws.what_is_there_comes_before_more_is,),
    OnlyOnce: (laws.each_subscription_begins_anew,),
    Silent: (laws.it_says_that_it_waits_at_the_gate,),
    Eager: (laws.nothing_is_read_while_nothing_is_wanted,),
    Sleepy: (laws.a_consumer_that_stops_and_starts_loses_no_wake_up,),
    Selfish: (laws.a_hundred_thousand_items_at_once_leave_others_their_turn,),
    TwoEnds: (laws.there_is_one_end_and_nothing_after_it,),
    AfterTheEnd: (laws.there_is_one_end_and_nothing_after_it,),
    Undemanding: (laws.completion_needs_no_demand,),
    Swallowing: (laws.an_error_comes_after_what_came_before_it,),
    Unguarded: (laws.a_subscriber_that_raises_ends_the_stream,),
    Deaf: (
        laws.dispose_closes_what_it_reads_from,
        laws.dispose_may_come_before_anything_has_happened,
        laws.dispose_may_come_from_the_subscribers_own_code,
        laws.nothing_is_left,
    ),
    Patient: (laws.dispose_closes_what_it_reads_from, laws.nothing_is_left),
    LeftReference: (laws.nothing_is_left,),
}
"""Which laws each of them breaks; where there are more, one and the same fault shows in all."""
