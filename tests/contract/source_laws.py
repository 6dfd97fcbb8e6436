"""The laws that every source keeps: it reads no faster than it may, says one end, and closes what it read from."""

import asyncio
import gc
import itertools
import time
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from reactivex import Observable

from rxstream.errors import SubscriberError, TransportError
from rxstream.flow import Gate
from rxstream.schedulers import FlowScheduler
from tests.contract import lawbook
from tests.contract.lawbook import Lawbook
from tests.contract.probes import BoomError, Feed, Watch, turns
from tests.contract.subjects import Source

SOURCE_LAWS = Lawbook[Source]()

FLOOD = 100_000
"""Items that are there at once; a hundred times what Python's stack is good for."""
A_WHILE = 100
"""Turns of the loop in which something would happen that must not."""


class Outlet:
    """A source between a `Feed` and a `Watch`, on the running loop."""

    def __init__(self, source: Source, feed: Feed, stream: Observable[Any]) -> None:
        self.source = source
        self.feed = feed
        self.stream = stream
        self.demand = Gate()
        self.scheduler = FlowScheduler(asyncio.get_running_loop(), self.demand)
        self.watch = Watch(source.items.note, clock=self.scheduler.loop.time)
        self._name = object()

    def subscribe(self, *, unguarded: bool = False) -> "Outlet":
        self.watch.subscribe(self.stream, self.scheduler, unguarded=unguarded)
        return self

    def again(self) -> "Outlet":
        """Return one more subscription to the same stream."""
        return Outlet(self.source, self.feed, self.stream).subscribe()

    def put(self, count: int) -> None:
        """Let there be `count` more items to read."""
        begin = len(self.feed.chunks)
        self.feed.put(*map(self.source.items.make, range(begin, begin + count)))

    def end(self) -> None:
        self.feed.put(*self.source.items.last)
        self.feed.end()

    def fail(self) -> None:
        self.feed.fail()

    def dispose(self) -> None:
        self.watch.dispose()

    @property
    def given(self) -> list[Any]:
        """What the watch heard, in the form in which loss and order show."""
        return self.source.items.read(self.watch.heard)

    def want_nothing(self) -> None:
        self.demand.close(self._name)

    def want(self) -> None:
        self.demand.open(self._name)


@asynccontextmanager
async def opened(source: Source) -> AsyncGenerator[Outlet]:
    """Open `source` over an empty feed."""
    feed = Feed()
    async with source.open(feed) as stream:
        yield (outlet := Outlet(source, feed, stream))
        outlet.dispose()
        outlet.want()
        feed.end()
        await turns()


async def until(is_so: Callable[[], object]) -> None:
    """Let the loop go round until something is so that has to be so."""
    given_up_at = time.monotonic() + lawbook.PATIENCE
    for turn in itertools.count():
        if is_so():
            return
        assert turn < 10 * A_WHILE or time.monotonic() < given_up_at, "it did not happen"
        await asyncio.sleep(0)


def expected(source: Source, count: int) -> list[Any]:
    """What should come of so many items and a healthy end."""
    return source.expected([source.items.make(number) for number in range(count)])


# What comes


@SOURCE_LAWS.over_sockets
async def everything_comes_once_and_in_order(source: Source) -> None:
    async with opened(source) as outlet:
        outlet.subscribe()
        for _ in range(20):
            outlet.put(1)
            await asyncio.sleep(0)
        outlet.end()
        await until(lambda: outlet.watch.is_ended)

        assert outlet.given == expected(source, 20)
        assert outlet.watch.is_completed


@SOURCE_LAWS.over_sockets
async def what_is_there_comes_before_more_is(source: Source) -> None:
    async with opened(source) as outlet:
        outlet.subscribe()
        for count in (1, 2, 3):
            outlet.put(1)
            await until(lambda count=count: len(outlet.watch.heard) == count)


@SOURCE_LAWS.over_sockets
async def each_subscription_begins_anew(source: Source) -> None:
    if not source.is_cold:
        return
    async with opened(source) as outlet:
        outlet.put(10)
        outlet.end()

        first = outlet.again()
        await until(lambda: first.watch.is_ended)
        second, third = outlet.again(), outlet.again()
        await until(lambda: second.watch.is_ended and third.watch.is_ended)

        assert first.watch.heard == second.watch.heard == third.watch.heard


# How fast


@SOURCE_LAWS.over_sockets
async def it_says_that_it_waits_at_the_gate(source: Source) -> None:
    async with opened(source) as outlet:
        outlet.subscribe()

        assert outlet.demand.is_honoured


@SOURCE_LAWS.over_sockets
async def nothing_is_read_while_nothing_is_wanted(source: Source) -> None:
    async with opened(source) as outlet:
        outlet.watch.react = outlet.want_nothing
        outlet.subscribe()

        outlet.put(1)
        await until(lambda: outlet.watch.heard)
        outlet.put(5)
        await turns(A_WHILE)

        assert len(outlet.watch.heard) == 1


@SOURCE_LAWS.over_sockets
async def a_consumer_that_stops_and_starts_loses_no_wake_up(source: Source) -> None:
    async with opened(source) as outlet:
        outlet.watch.react = outlet.want_nothing
        outlet.subscribe()
        for count in range(50):
            outlet.put(1)
            await turns(count % 4)
            outlet.want()
        outlet.end()

        def want() -> bool:
            outlet.want()
            return outlet.watch.is_ended

        await until(want)


@SOURCE_LAWS.over_sockets
async def a_hundred_thousand_items_at_once_leave_others_their_turn(source: Source) -> None:
    """And cause no recursion."""
    async with opened(source) as outlet:
        first, item = source.items.make(0), source.items.make(1)
        outlet.watch.note = _nothing
        outlet.feed.put(first, *[item] * (FLOOD - 1))
        outlet.end()
        outlet.subscribe()

        gone_round = 0
        while not outlet.watch.is_ended:
            gone_round += 1
            await asyncio.sleep(0)

        assert outlet.watch.is_completed
        assert len(outlet.watch.heard) >= FLOOD
        assert gone_round >= 10


# How it ends


@SOURCE_LAWS.over_sockets
async def there_is_one_end_and_nothing_after_it(source: Source) -> None:
    for is_healthy in (True, False):
        async with opened(source) as outlet:
            outlet.subscribe(unguarded=True)

            outlet.put(3)
            await until(lambda outlet=outlet: outlet.watch.heard)
            if is_healthy:
                outlet.end()
            else:
                outlet.feed.fail()
            await until(lambda outlet=outlet: outlet.watch.is_ended)
            await turns(A_WHILE)

            assert not outlet.watch.after_the_end


@SOURCE_LAWS.over_sockets
async def completion_needs_no_demand(source: Source) -> None:
    """A healthy end that was read is told, although nothing more is wanted."""
    if not source.knows_its_end:
        return
    async with opened(source) as outlet:
        outlet.want_nothing()
        if source.items.last:
            outlet.feed.put(b"".join([source.items.make(0), *source.items.last]))
        outlet.feed.end()
        outlet.subscribe()

        await until(lambda: outlet.watch.is_completed)


@SOURCE_LAWS.over_sockets
async def an_error_comes_after_what_came_before_it(source: Source) -> None:
    async with opened(source) as outlet:
        outlet.subscribe()

        outlet.put(2)
        await until(lambda: len(outlet.watch.heard) == 2)
        outlet.fail()
        await until(lambda: outlet.watch.is_ended)

        error = outlet.watch.error
        assert isinstance(error, BoomError | TransportError)
        assert len(outlet.watch.heard) == 2


@SOURCE_LAWS.over_sockets
async def a_subscriber_that_raises_ends_the_stream(source: Source) -> None:
    def raises() -> None:
        raise ZeroDivisionError

    async with opened(source) as outlet:
        outlet.watch.react = raises
        outlet.subscribe()

        outlet.put(3)
        await until(lambda: outlet.watch.is_ended)

        assert isinstance(outlet.watch.error, SubscriberError)
        await until(lambda: not outlet.feed.readers)


# How it is left


@SOURCE_LAWS.over_sockets
async def dispose_closes_what_it_reads_from(source: Source) -> None:
    """At once, from any thread, whether it waits for more or for demand; and nothing comes after it."""
    for another_thread in (False, True):
        for wants in (True, False):
            async with opened(source) as outlet:
                outlet.subscribe()
                if not wants:
                    outlet.watch.react = outlet.want_nothing
                outlet.put(1)
                await until(lambda outlet=outlet: outlet.watch.heard)
                await turns()

                for _ in range(2):
                    if another_thread:
                        await asyncio.to_thread(outlet.watch.dispose)
                    else:
                        outlet.watch.dispose()
                await until(lambda outlet=outlet: not outlet.feed.readers)
                outlet.put(3)
                outlet.want()
                await turns(A_WHILE)

                assert len(outlet.watch.heard) == 1
                assert not outlet.watch.is_ended


@SOURCE_LAWS.over_sockets
async def dispose_may_come_before_anything_has_happened(source: Source) -> None:
    async with opened(source) as outlet:
        outlet.put(1)
        outlet.subscribe()

        outlet.watch.dispose()
        await turns(A_WHILE)

        assert not outlet.watch.heard
        await until(lambda: not outlet.feed.readers)


@SOURCE_LAWS.over_sockets
async def dispose_may_come_from_the_subscribers_own_code(source: Source) -> None:
    async with opened(source) as outlet:
        outlet.watch.react = outlet.watch.dispose
        outlet.put(5)
        outlet.subscribe()

        await until(lambda: outlet.watch.heard)
        await until(lambda: not outlet.feed.readers)
        await turns(A_WHILE)

        assert len(outlet.watch.heard) == 1
        assert not outlet.watch.is_ended


@SOURCE_LAWS.over_sockets
async def nothing_is_left(source: Source) -> None:
    """No task and no reference, whichever way it ended and although the stream lives on."""
    tasks = asyncio.all_tasks()
    kept: list[object] = []
    watches: list[weakref.ref[Watch]] = []
    for end in (Outlet.end, Outlet.fail, Outlet.dispose):
        for wants in (True, False):
            async with opened(source) as outlet:
                outlet.subscribe()
                if not wants:
                    outlet.watch.react = outlet.want_nothing
                outlet.put(2)
                await until(lambda outlet=outlet: outlet.watch.heard)
                end(outlet)
                if not outlet.watch.is_stopped:
                    outlet.watch.react = _at_ease
                    outlet.want()
                    await until(lambda outlet=outlet: outlet.watch.is_ended)
                await until(lambda outlet=outlet: not outlet.feed.readers)
                kept += outlet.stream, outlet.feed, outlet.demand, outlet.scheduler
                watches.append(weakref.ref(outlet.watch))
                del outlet
    await until(lambda: asyncio.all_tasks() == tasks)
    if any(watch() for watch in watches):
        gc.collect()
    assert not any(watch() for watch in watches), "the subscriber is still known to somebody"
    assert kept  # until here


def _nothing(_: Any) -> None:
    """What is remembered of items that are too many."""


def _at_ease() -> None:
    """What a subscriber does that has nothing against more."""
