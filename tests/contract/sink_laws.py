"""The laws that every sink keeps: whoever uses one gets everything, at its own pace, and leaves nothing behind."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rxstream.errors import BufferOverflowError, StreamError
from rxstream.flow import Gate
from rxstream.schedulers import FlowScheduler
from tests.contract import lawbook
from tests.contract.lawbook import Lawbook
from tests.contract.probes import BoomError, Spring, Supply, settle, turns
from tests.contract.subjects import Sink
from tests.demand import quick_switches
from tests.virtual_loop import VirtualTimeLoop

SINK_LAWS = Lawbook[Sink]()

FLOOD = 100_000
"""Items that come at once; a hundred times what Python's stack is good for."""


class Drain(Supply):
    """A sink in a task of its own, with a subscriber that takes items when it is free."""

    def __init__(self, sink: Sink, *, is_free: bool = True, waits: bool = True, spring: Spring | None = None) -> None:
        super().__init__(sink.items, spring or Spring(waits=waits))
        self.sink = sink
        self.heard: list[Any] = []
        self.react: Callable[[], Awaitable[None]] = _at_once
        """What the subscriber's own code does with an item."""
        self.is_free = asyncio.Event()
        if is_free:
            self.is_free.set()
        self.task: asyncio.Task[None] | None = None

    async def begin(self) -> "Drain":
        """Let the sink subscribe."""
        self.task = asyncio.ensure_future(_drained(self.sink, self.spring, self._hear))
        await turns()
        return self

    async def end(self) -> BaseException | None:
        """Wait for the sink to return; give what it raised."""
        assert self.task is not None
        (raised,) = await asyncio.gather(self.task, return_exceptions=True)
        return raised

    @property
    def is_done(self) -> bool:
        """Whether the sink has returned, or raised."""
        assert self.task is not None
        return self.task.done()

    @property
    def given(self) -> list[Any]:
        """What the subscriber took, in the form in which loss and order show."""
        return self.items.read(self.heard)

    @property
    def expected(self) -> list[Any]:
        """What it should have taken of all that was pushed and a healthy end."""
        return self.sink.expected(self.inputs)

    async def _hear(self, item: Any) -> None:
        self.heard.append(self.items.note(item))
        del item
        await self.react()
        await self.is_free.wait()


async def _drained(sink: Sink, spring: Spring, hear: Callable[[Any], Awaitable[None]]) -> None:
    await sink.drain(spring.stream, hear)


# What comes


@SINK_LAWS.in_virtual_time
async def everything_comes_once_and_in_order(sink: Sink) -> None:
    drain = await Drain(sink).begin()

    await drain.bring(20)
    drain.complete()
    await settle()

    assert drain.given == drain.expected
    assert drain.is_done


@SINK_LAWS.in_virtual_time
async def what_had_to_wait_comes_in_order(sink: Sink) -> None:
    drain = await Drain(sink, is_free=False).begin()

    drain.push(1 + (sink.ahead or 3))
    await settle()
    drain.is_free.set()
    await settle()
    drain.push(1)
    await settle()
    drain.complete()
    await settle()

    assert drain.given == drain.expected


@SINK_LAWS.in_virtual_time
async def the_accounts_add_up_after_every_step(sink: Sink) -> None:
    if not sink.items.are_counted:
        return
    drain = await Drain(sink).begin()

    for is_free in (True, False, True, False):
        (drain.is_free.set if is_free else drain.is_free.clear)()
        for _ in range((sink.ahead or 3) + 4):
            drain.push()
            await turns()
            waiting = drain.pushed - len(set(drain.given))
            assert drain.alive - waiting in {0, 1}  # the one that was taken last may still be somebody's variable


@SINK_LAWS.in_virtual_time
async def each_use_begins_anew(sink: Sink) -> None:
    drains: list[Drain] = []
    for _ in range(2):
        drain = await Drain(sink, spring=drains[0].spring if drains else None).begin()
        drains.append(drain)
        await drain.bring(10)
        drain.complete()
        await settle()

    assert drains[0].heard == drains[1].heard


# How fast


@SINK_LAWS.in_virtual_time
async def the_source_hears_of_the_loop_and_of_demand(sink: Sink) -> None:
    drain = await Drain(sink).begin()

    (scheduler,) = drain.spring.schedulers

    assert isinstance(scheduler, FlowScheduler)
    assert scheduler.loop is asyncio.get_running_loop()
    assert isinstance(drain.spring.gate, Gate)


@SINK_LAWS.in_virtual_time
async def the_source_does_not_run_ahead(sink: Sink) -> None:
    """What waits is at most the capacity and, since a mark is a line and no wall, one chunk's expansion."""
    if sink.ahead is None:
        return
    chunk = 3
    drain = await Drain(sink, is_free=False).begin()
    if drain.spring.gate is None:  # another law's affair
        return

    bringing = asyncio.ensure_future(drain.bring(200, chunk=chunk))
    await settle()
    bringing.cancel()

    taken = 1  # what the subscriber is busy with
    assert drain.pushed - taken <= sink.ahead + chunk - 1


@SINK_LAWS.in_virtual_time
async def growth_is_never_silent(sink: Sink) -> None:
    if sink.ahead is None:
        return
    drain = await Drain(sink, is_free=False, waits=False).begin()
    if drain.spring.schedulers == [None]:  # another law's affair
        return

    drain.push(5_000)
    drain.is_free.set()
    await settle()

    assert drain.is_done
    assert isinstance(await drain.end(), StreamError)


@SINK_LAWS.in_virtual_time
async def a_subscriber_that_takes_its_time_loses_no_wake_up(sink: Sink) -> None:
    drain = await Drain(sink).begin()
    drain.react = lambda: asyncio.sleep(0.01)

    bringing = asyncio.ensure_future(drain.bring(50, chunk=2))
    await settle()
    assert bringing.done()
    drain.complete()
    await settle()

    assert drain.is_done


@SINK_LAWS.in_virtual_time
async def a_hundred_thousand_items_at_once_cause_no_recursion(sink: Sink) -> None:
    drain = await Drain(sink).begin()

    async with asyncio.timeout(60):
        await drain.flood(FLOOD if sink.ahead is None else FLOOD // 10)
    drain.complete()
    await settle()

    assert isinstance(await drain.end(), BufferOverflowError | None)


@SINK_LAWS.in_real_time
async def a_source_in_another_thread_is_heard_to_the_end(sink: Sink) -> None:
    drain = await Drain(sink).begin()
    drain.react = lambda: asyncio.sleep(0)

    async with asyncio.timeout(lawbook.PATIENCE):
        with quick_switches():
            await asyncio.to_thread(drain.bring_from_this_thread, 50, lawbook.PATIENCE / 2)
            await drain.end()


# How it ends


@SINK_LAWS.in_virtual_time
async def completion_comes_after_what_is_held(sink: Sink) -> None:
    drain = await Drain(sink, is_free=False).begin()

    drain.push(1 + (sink.ahead or 3))
    await settle()
    drain.complete()
    await settle()
    drain.is_free.set()
    await settle()

    assert await drain.end() is None
    assert len(drain.given) == len(drain.expected)


@SINK_LAWS.in_virtual_time
async def a_source_that_is_done_within_subscribe_is_heard(sink: Sink) -> None:
    drain = Drain(sink)

    def run() -> None:
        drain.push()
        drain.complete()

    drain.spring.on_subscribe = run
    await drain.begin()
    await settle()

    assert drain.is_done
    assert drain.heard
    assert not drain.spring.has_subscribers


@SINK_LAWS.in_virtual_time
async def an_error_is_raised(sink: Sink) -> None:
    for count in (0, 3):
        for is_free in (True, False):
            drain, boom = await Drain(sink, is_free=is_free).begin(), BoomError()

            drain.push(count)
            drain.fail(boom)
            await settle()
            drain.is_free.set()
            await settle()

            assert drain.is_done
            assert await drain.end() is boom


@SINK_LAWS.in_virtual_time
async def a_subscriber_that_raises_lets_go_of_the_source(sink: Sink) -> None:
    async def raises() -> None:
        raise ZeroDivisionError

    drain = await Drain(sink).begin()
    drain.react = raises

    drain.push(3)
    await settle()
    if not drain.heard:
        drain.complete()

    assert isinstance(await drain.end(), ZeroDivisionError)
    assert not drain.spring.has_subscribers


# How it is left


@SINK_LAWS.in_virtual_time
async def to_cancel_it_reaches_the_source_at_once(sink: Sink) -> None:
    """Whether it waits for items or for its subscriber; a source that waits at its gate is let go."""
    for is_free in (True, False):
        for count in (0, 1 + (sink.ahead or 3)):
            drain = await Drain(sink, is_free=is_free).begin()
            drain.push(count)
            await turns()
            gate = drain.spring.gate

            assert drain.task is not None
            drain.task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await drain.task

            assert drain.spring.disposed == 1
            assert gate is None or gate.is_open


@SINK_LAWS.in_virtual_time
async def nothing_is_left(sink: Sink) -> None:
    """No task, no timer and no reference."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    kept: list[object] = []
    heards: list[weakref.ref[Any]] = []
    for end in (Drain.complete, Drain.fail, _cancel):
        for is_free in (True, False):
            drain = await Drain(sink, is_free=is_free).begin()

            drain.push(1 + (sink.ahead or 3))
            end(drain)
            if end is not _cancel:
                drain.is_free.set()
            await turns(20)

            assert drain.is_done
            await drain.end()
            drain.task = None  # it has what was raised, and so all that was on its stack
            await turns()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert loop.pending_timers == 0
            kept += drain.spring, *drain.spring.schedulers
            heards.append(weakref.ref(drain))
            drain.spring.forget()
            if drain.alive:
                gc.collect()
            assert not drain.alive
            del drain
    if any(heard() for heard in heards):
        gc.collect()
    assert not any(heard() for heard in heards), "the subscriber is still known to somebody"
    assert kept  # until here


# Where it runs


@SINK_LAWS.in_both_times
async def a_real_clock_changes_nothing(sink: Sink) -> list[Any]:
    drain = await Drain(sink).begin()

    await drain.bring(20)
    drain.complete()
    async with asyncio.timeout(lawbook.PATIENCE):
        await drain.end()

    return drain.given


def _cancel(drain: Drain) -> None:
    assert drain.task is not None
    drain.task.cancel()


async def _at_once() -> None:
    """What a subscriber does that is quick."""
