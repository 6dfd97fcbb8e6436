"""The laws that every operator keeps; the numbers are rules of Reactive Streams.

Each is a function that is given one `Stage` and raises if the law is broken. Most run
in virtual time, where what happens is the same each time. A law looks at one thing
only, so that a fault shows by the law that names it: `test_broken.py` holds them to that.
"""

import asyncio
import functools
import gc
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

from reactivex.testing import TestScheduler

from rxstream.errors import StreamError
from rxstream.flow import Gate
from rxstream.schedulers import FlowScheduler
from rxstream.schedulers.gated_scheduler import GatedScheduler
from tests.contract import lawbook
from tests.contract.lawbook import Lawbook
from tests.contract.probes import Bench, BoomError, Watch, settle, turns
from tests.contract.subjects import Stage, same
from tests.demand import quick_switches
from tests.virtual_loop import VirtualTimeLoop

STAGE_LAWS = Lawbook[Stage]()

FLOOD = 100_000
"""Items that come at once; a hundred times what Python's stack is good for."""


# What comes


@STAGE_LAWS.in_virtual_time
async def everything_comes_once_and_in_order(stage: Stage) -> None:
    bench = Bench(stage).subscribe()

    await bench.bring(20)
    bench.complete()
    await settle()

    assert bench.given == bench.expected
    assert bench.watch.is_completed


@STAGE_LAWS.in_virtual_time
async def what_had_to_wait_comes_in_order(stage: Stage) -> None:
    if stage.drops:
        return
    bench = Bench(stage, wants=False).subscribe()

    bench.push(stage.room)
    await settle()
    bench.want()
    await bench.bring(5)
    bench.complete()
    await settle()

    assert bench.given == bench.expected


@STAGE_LAWS.in_virtual_time
async def the_accounts_add_up_after_every_step(stage: Stage) -> None:
    """In is out, dropped or held, and what is held is really there: no item is lost on the way."""
    if not stage.items.are_counted:
        return
    bench = Bench(stage).subscribe()

    async def check() -> None:
        await turns()
        assert bench.alive == bench.held

    for wants in (True, False, True, False, True):
        (bench.want if wants else bench.want_nothing)()
        await check()
        for _ in range(stage.room + 2):
            bench.push()
            await check()
    await settle()
    await check()
    bench.complete()
    await check()
    assert not bench.alive


@STAGE_LAWS.in_virtual_time
async def nothing_comes_that_nobody_wants(stage: Stage) -> None:
    if stage.ahead == 0:  # it is the source that waits
        return
    bench = Bench(stage, wants=False).subscribe()

    bench.push(stage.room)
    await settle()

    assert not bench.watch.heard


@STAGE_LAWS.in_virtual_time
async def each_subscription_begins_anew(stage: Stage) -> None:
    if stage.is_for_one:
        return
    first = Bench(stage)
    benches = [first, Bench(stage, spring=first.spring, stream=first.stream)]

    async def run(*together: Bench) -> None:
        for bench in together:
            bench.subscribe()
        await together[0].bring(10)
        together[0].complete()
        await settle()

    for bench in benches:
        await run(bench)
        bench.spring.forget()
    assert benches[0].watch.heard == benches[1].watch.heard

    if not stage.is_shared:
        both = [Bench(stage, spring=first.spring, stream=first.stream) for _ in range(2)]
        await run(*both)
        assert [bench.watch.heard for bench in both] == [benches[0].watch.heard] * 2


# How fast


@STAGE_LAWS.in_virtual_time
async def the_scheduler_reaches_the_source(stage: Stage) -> None:
    loop = asyncio.get_running_loop()
    clock = TestScheduler()
    for scheduler in (FlowScheduler(loop, Gate()), GatedScheduler(clock, Gate())):
        bench = Bench(stage, scheduler=scheduler).subscribe()

        (reached,) = bench.spring.schedulers

        if stage.ahead == 0:
            assert reached is scheduler
        elif isinstance(scheduler, FlowScheduler):
            assert isinstance(reached, FlowScheduler)
            assert reached.loop is loop
        else:
            assert isinstance(reached, GatedScheduler)
            assert reached.inner is clock
        bench.dispose()


@STAGE_LAWS.in_virtual_time
async def the_source_does_not_run_ahead(stage: Stage) -> None:
    """What waits is at most the capacity and, since a mark is a line and no wall, one chunk's expansion."""
    chunk = 3
    bench = Bench(stage, wants=False).subscribe()
    if bench.spring.gate is None:  # another law's affair
        return

    bringing = asyncio.ensure_future(bench.bring(200, chunk=chunk))
    await settle()
    bringing.cancel()

    most = bench.stage.most if stage.ahead is None else stage.ahead + chunk - 1 if stage.ahead else 0
    assert most is not None
    waiting = bench.alive if stage.items.are_counted else bench.pushed - len(bench.given) - len(bench.dropped)
    assert waiting <= most


@STAGE_LAWS.in_virtual_time
async def growth_is_never_silent(stage: Stage) -> None:
    """A source that cannot wait ends in an error, if nothing may be dropped."""
    if stage.ahead == 0 or stage.drops:
        return
    bench = Bench(stage, wants=False, waits=False).subscribe()

    for _ in range(50):
        bench.push(100)
        await turns(3)

    assert isinstance(bench.watch.error, StreamError)


@STAGE_LAWS.in_virtual_time
async def a_consumer_that_stops_and_starts_loses_no_wake_up(stage: Stage) -> None:
    bench = Bench(stage).subscribe()
    bench.stop_and_start()

    bringing = asyncio.ensure_future(bench.bring(50, chunk=2))
    await settle()
    assert bringing.done()
    bench.complete()
    await settle()

    assert bench.watch.is_ended


@STAGE_LAWS.in_virtual_time
async def a_hundred_thousand_items_at_once_cause_no_recursion(stage: Stage) -> None:
    """Rule 3.3."""
    bench = Bench(stage).subscribe()
    bench.watch.note = _nothing
    async with asyncio.timeout(3_600):
        await bench.flood(FLOOD if stage.is_quick else FLOOD // 50)
    bench.complete()
    await settle()

    assert bench.watch.error is None
    assert bench.watch.is_completed


@STAGE_LAWS.in_virtual_time
async def signals_are_serial(stage: Stage) -> None:
    """Rule 1.3, where a stage is free to break it: what it gives by itself, while something new comes to it."""
    for another_thread in (False, True):
        bench = Bench(stage, wants=False).subscribe()

        def push_more(bench: Bench = bench, another_thread: bool = another_thread) -> None:
            if bench.spring.is_pushing or not bench.spring.has_subscribers:
                return
            more = bench.push if bench.pushed < stage.room + 5 else bench.complete
            if not another_thread:
                more()
                return
            pushing = threading.Thread(target=more, daemon=True)
            pushing.start()
            pushing.join(lawbook.PATIENCE)
            assert not pushing.is_alive(), "whoever brings items has to wait for whoever hears them"

        bench.push(stage.room)
        bench.watch.react = push_more
        bench.want()
        await settle()

        assert not bench.watch.overlaps


@STAGE_LAWS.in_real_time
async def a_source_in_another_thread_is_heard_to_the_end(stage: Stage) -> None:
    """No wake-up is lost between two threads, however they interleave."""
    bench = Bench(stage).subscribe()
    bench.stop_and_start()
    over = asyncio.Event()
    bench.watch.on_end = functools.partial(asyncio.get_running_loop().call_soon_threadsafe, over.set)

    async with asyncio.timeout(lawbook.PATIENCE):
        with quick_switches():
            await asyncio.to_thread(bench.bring_from_this_thread, 50, lawbook.PATIENCE / 2)
            await over.wait()


# How it ends


@STAGE_LAWS.in_virtual_time
async def a_source_that_is_done_within_subscribe_is_heard(stage: Stage) -> None:
    for end in (Bench.complete, Bench.fail):
        bench = Bench(stage)

        def run(bench: Bench = bench, end: Callable[[Bench], None] = end) -> None:
            bench.push()
            end(bench)

        bench.spring.on_subscribe = run
        bench.subscribe()
        await settle()

        assert bench.watch.is_ended
        assert bench.watch.heard
        assert not bench.spring.has_subscribers


@STAGE_LAWS.in_virtual_time
async def there_is_one_end_and_nothing_after_it(stage: Stage) -> None:
    """Rules 1.4 and 1.7, without Rx's guard, which would hide what comes too late."""
    for end in (Bench.complete, Bench.fail):
        for wants in (True, False):
            bench = Bench(stage, wants=wants).subscribe(unguarded=True)

            bench.push(stage.room)
            end(bench)
            await settle()
            bench.want()
            await settle()

            assert not bench.watch.after_the_end
            assert bench.watch.is_ended


@STAGE_LAWS.in_virtual_time
async def completion_needs_no_demand(stage: Stage) -> None:
    bench = Bench(stage, wants=False).subscribe()

    bench.spring.complete()
    await settle()

    assert bench.watch.is_ended


@STAGE_LAWS.in_virtual_time
async def completion_comes_after_what_is_held(stage: Stage) -> None:
    bench = Bench(stage, wants=False).subscribe()

    bench.push(stage.room)
    bench.complete()
    await settle()
    bench.want()
    await settle()

    assert bench.watch.is_completed
    assert len(bench.given) + len(bench.dropped) == len(bench.expected)


@STAGE_LAWS.in_virtual_time
async def an_error_is_not_held_back(stage: Stage) -> None:
    """No operator swallows an error, and none keeps it waiting for demand."""
    for wants in (True, False):
        for count in (0, stage.room):
            bench, boom = Bench(stage, wants=wants).subscribe(), BoomError()

            bench.push(count)
            bench.fail(boom)
            await settle()

            assert bench.watch.error is not None
            assert boom in (bench.watch.error, bench.watch.error.__cause__)


@STAGE_LAWS.in_virtual_time
async def what_is_held_comes_before_an_error(stage: Stage) -> None:
    if stage.gives is not same:  # what a machine makes of a broken input is its own affair
        return
    bench = Bench(stage, wants=False).subscribe()

    bench.push(stage.room)
    bench.fail()
    await settle()
    bench.want()
    await settle()

    pushed = stage.items.read([stage.items.note(item) for item in bench.inputs])
    assert len(bench.given) + len(bench.dropped) == len(pushed)


@STAGE_LAWS.in_virtual_time
async def a_subscriber_that_raises_does_not_hang_the_stream(stage: Stage) -> None:
    """The stream ends for it, and the source is let go; also if the source has ended by then."""

    def raises() -> None:
        raise ZeroDivisionError

    for wants in (True, False):
        for end in (None, Bench.complete, Bench.fail):
            bench = Bench(stage, wants=wants).subscribe()
            if end is None:
                bench.watch.react = raises

            bench.push(stage.room)
            if end is not None:
                bench.watch.react = raises
                end(bench)
            await settle()
            bench.want()
            await settle()

            assert bench.watch.is_ended or not bench.watch.heard
            assert bench.spring.has_subscribers is not bench.watch.is_ended


# How it is left


@STAGE_LAWS.in_virtual_time
async def dispose_reaches_the_source_at_once(stage: Stage) -> None:
    """Rules 3.5 to 3.7: prompt, idempotent and from any thread; and nothing comes after it."""
    for wants in (True, False):
        for another_thread in (True, False):
            for count in (0, stage.room):
                bench = Bench(stage, wants=wants).subscribe()
                bench.push(count)
                heard = len(bench.watch.heard)

                for _ in range(2):
                    if another_thread:
                        disposing = threading.Thread(target=bench.dispose)
                        disposing.start()
                        disposing.join(lawbook.PATIENCE)
                    else:
                        bench.dispose()
                assert bench.spring.disposed == 1
                bench.want()
                await settle()

                assert len(bench.watch.heard) == heard
                assert not bench.watch.is_ended


@STAGE_LAWS.in_virtual_time
async def dispose_may_come_from_the_subscribers_own_code(stage: Stage) -> None:
    """The source is let go, and nothing comes any more, although the source, or the stage, has it in hand."""
    for when in ("within subscribe", "as it comes", "as it is let go"):
        bench = Bench(stage, wants=when != "as it is let go")
        bench.watch.react = bench.dispose
        if when == "within subscribe":
            bench.spring.on_subscribe = functools.partial(bench.push, stage.room)

        bench.subscribe()
        bench.push(stage.room)
        await settle()
        bench.want()
        await settle()
        if not bench.watch.heard:
            bench.complete()  # what was held until then comes now
            await settle()

        assert not bench.watch.is_ended
        assert not bench.spring.has_subscribers
        if when != "within subscribe":  # where even Rx has nothing to dispose of yet
            assert len(bench.watch.heard) == 1


@STAGE_LAWS.in_virtual_time
async def dispose_lets_go_of_a_source_that_waits(stage: Stage) -> None:
    """Rule 3.12: whoever waits at the gate of a stage does not wait for one that is gone."""
    bench = Bench(stage, wants=False).subscribe()
    gate = bench.spring.gate
    if gate is None or gate is bench.demand:
        return

    bench.push(stage.room)
    await turns()
    bench.dispose()
    await turns()

    assert gate.is_open


@STAGE_LAWS.in_virtual_time
async def nothing_is_left(stage: Stage) -> None:
    """Rule 3.13: no task, no timer and no reference, whichever way it ended and although the rest lives on."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    kept: list[object] = []
    watches: list[weakref.ref[Watch]] = []
    for end in (Bench.complete, Bench.fail, Bench.dispose):
        for wants in (True, False):
            bench = Bench(stage, wants=wants).subscribe()

            bench.push(stage.room)
            end(bench)
            if end is not Bench.dispose:
                bench.want()
                await settle()
            await turns()

            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert loop.pending_timers == 0
            assert not bench.alive
            kept += bench.spring, bench.stream, bench.scheduler, bench.demand
            watches.append(weakref.ref(bench.watch))
            bench.spring.forget()
            del bench
    if any(watch() for watch in watches):
        gc.collect()
    assert not any(watch() for watch in watches), "the subscriber is still known to somebody"
    assert kept  # until here


# Where it runs


@STAGE_LAWS.in_virtual_time
async def virtual_time_changes_nothing(stage: Stage) -> None:
    """The same marbles on a scheduler of Rx's own in virtual time as on the loop."""

    async def run(bench: Bench, advance: Callable[[float], Coroutine[Any, Any, None]]) -> list[tuple[float, str]]:
        bench.subscribe()
        for count, seconds in ((1, 0.0), (3, 0.01), (0, 0.2), (2, 0.004), (2, 0.3)):
            for _ in range(count):
                bench.push()
                await advance(0.0)
            await advance(seconds)
        bench.want_nothing()
        bench.push(stage.room)
        await advance(0.1)
        bench.want()
        await advance(0.2)
        bench.push()
        bench.complete()
        await advance(1.0)
        return bench.watch.marbles

    async def on_loop(seconds: float) -> None:
        await turns()
        await asyncio.sleep(seconds)
        await turns()

    clock = TestScheduler()

    async def in_virtual_time(seconds: float) -> None:
        for moment in (0.000_001, seconds, 0.000_001):
            await turns()
            clock.advance_by(moment)
        await turns()

    demand = Gate()
    loop_marbles = await run(Bench(stage), on_loop)
    virtual = await run(Bench(stage, scheduler=GatedScheduler(clock, demand), demand=demand), in_virtual_time)

    assert virtual == loop_marbles


@STAGE_LAWS.in_both_times
async def a_real_clock_changes_nothing(stage: Stage) -> list[Any]:
    bench = Bench(stage).subscribe()
    over = asyncio.Event()
    bench.watch.on_end = over.set

    await bench.bring(20)
    bench.complete()
    await asyncio.wait_for(over.wait(), lawbook.PATIENCE)

    return bench.given


def _nothing(_: Any) -> None:
    """What is remembered of items that are too many."""
