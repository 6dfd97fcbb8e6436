"""`map_async`: how many are under way, in which order they come out, and who is cancelled."""

import asyncio
import threading
import weakref
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as ops
from reactivex.subject import Subject

from rxstream.errors import ConfigurationError, StreamError, SubscriberError
from rxstream.flow import Gate
from rxstream.operators import map_async
from rxstream.schedulers import FlowScheduler
from rxstream.sources import from_async_iterable
from tests.demand import Faucet, Item, turns
from tests.virtual_loop import VirtualTimeLoop, run_virtual, virtual_time

BOOM = OSError("boom")


class Heard:
    """What came of a stream that is subscribed to on the running loop, and when."""

    def __init__(self, stream: reactivex.Observable[Any], gate: Gate | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.items: list[Any] = []
        self.times: list[float] = []
        self.end: asyncio.Future[Exception | None] = self.loop.create_future()
        self.subscription = stream.subscribe(
            self._hear, self.end.set_result, lambda: self.end.set_result(None), scheduler=FlowScheduler(self.loop, gate)
        )

    def _hear(self, item: Any) -> None:
        assert not self.end.done()
        self.items.append(item)
        self.times.append(self.loop.time())


class Work:
    """Takes so many seconds for each item, and knows how many are at it."""

    def __init__(self) -> None:
        self.at_once = self.most = self.cancelled = 0
        self.begun: list[float] = []

    async def __call__(self, seconds: float) -> float:
        self.begun.append(seconds)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            if seconds < 0:
                raise BOOM
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.at_once -= 1
        return seconds


def others() -> set[asyncio.Task[Any]]:
    """The tasks besides the test's."""
    return asyncio.all_tasks() - {asyncio.current_task()}


@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0]), max_size=12), st.integers(1, 4), st.booleans(), st.booleans()
)
def test_every_item_comes_out_once_and_no_more_than_allowed_are_under_way(
    items: list[float], limit: int, ordered: bool, fails: bool
) -> None:
    async def main() -> None:
        work, faucet = Work(), Faucet[float]()
        heard = Heard(faucet.stream.pipe(map_async(work, limit, ordered=ordered)))

        waiting = list(items)
        while waiting:
            assert faucet.gate is not None
            await faucet.gate.wait()
            faucet.push(waiting.pop(0))
        if fails:
            faucet.fail(BOOM)
        else:
            faucet.complete()
        end = await heard.end
        await turns()

        assert sorted(heard.items) == sorted(items)
        assert heard.items == items or not ordered
        assert work.most <= limit
        assert end is (BOOM if fails else None)
        assert not others()

    run_virtual(main())


@virtual_time
async def test_in_order_a_slow_item_holds_up_the_quick_ones_behind_it() -> None:
    heard = Heard(from_async_iterable([3.0, 1.0, 2.0]).pipe(map_async(Work(), 3)))

    await heard.end

    assert (heard.items, heard.times) == ([3.0, 1.0, 2.0], [3, 3, 3])


@virtual_time
async def test_out_of_order_each_comes_when_it_is_done() -> None:
    heard = Heard(from_async_iterable([3.0, 1.0, 2.0]).pipe(map_async(Work(), 3, ordered=False)))

    await heard.end

    assert (heard.items, heard.times) == ([1.0, 2.0, 3.0], [1, 2, 3])


@virtual_time
async def test_the_source_waits_while_as_many_as_allowed_are_under_way() -> None:
    faucet = Faucet[float]()
    Heard(faucet.stream.pipe(map_async(Work(), 2)))

    wanted = [(faucet.push(1.0), faucet.is_wanted)[1] for _ in range(3)]
    await asyncio.sleep(1.5)
    wanted.append(faucet.is_wanted)
    await asyncio.sleep(1)
    wanted.append(faucet.is_wanted)

    assert wanted == [True, False, False, True, True]


@virtual_time
async def test_what_is_done_but_held_up_counts_as_under_way() -> None:
    work, faucet = Work(), Faucet[float]()
    Heard(faucet.stream.pipe(map_async(work, 2)))

    faucet.push(10.0, 1.0, 1.0)
    await asyncio.sleep(5)

    assert work.begun == [10.0, 1.0]
    assert not faucet.is_wanted


@virtual_time
async def test_nothing_is_begun_while_the_consumer_wants_nothing() -> None:
    work, faucet, gate = Work(), Faucet[float](), Gate()
    gate.close("test")
    heard = Heard(faucet.stream.pipe(map_async(work, 2)), gate)

    faucet.push(1.0, 1.0)
    await asyncio.sleep(5)
    assert (work.begun, faucet.is_wanted) == ([], False)
    assert gate.is_honoured
    gate.open("test")
    await asyncio.sleep(5)

    assert heard.items == [1.0, 1.0]
    assert faucet.is_wanted


@virtual_time
async def test_whenever_the_consumer_wants_more_it_goes_on() -> None:
    faucet, gate = Faucet[float](), Gate()
    heard = Heard(faucet.stream.pipe(map_async(Work())), gate)

    for number in range(3):
        gate.close("test")
        faucet.push(1.0)
        await asyncio.sleep(5)
        assert len(heard.items) == number
        gate.open("test")
        await asyncio.sleep(5)
        assert len(heard.items) == number + 1


@virtual_time
async def test_the_consumer_may_want_more_in_the_very_moment_in_which_it_is_asked() -> None:
    class Door(Gate):
        """Opens right after it was found closed."""

        @property
        def is_open(self) -> bool:
            is_open = super().is_open
            self.open("test")
            return is_open

    faucet, door = Faucet[float](), Door()
    heard = Heard(faucet.stream.pipe(map_async(Work())), door)

    for _ in range(3):
        door.close("test")
        faucet.push(1.0)
        await asyncio.sleep(5)

    assert heard.items == [1.0] * 3


@virtual_time
async def test_completion_comes_after_what_the_consumer_does_not_want_yet() -> None:
    faucet, gate = Faucet[float](), Gate()
    gate.close("test")
    heard = Heard(faucet.stream.pipe(map_async(Work())), gate)

    faucet.push(1.0)
    faucet.complete()
    await asyncio.sleep(5)
    assert not heard.end.done()
    gate.open("test")

    assert await heard.end is None
    assert heard.items == [1.0]


@virtual_time
async def test_an_error_waits_for_no_demand_but_comes_after_what_came_before_it() -> None:
    faucet, gate = Faucet[float](), Gate()
    gate.close("test")
    heard = Heard(faucet.stream.pipe(map_async(Work())), gate)

    faucet.push(1.0, 1.0)
    faucet.fail(BOOM)

    assert await heard.end is BOOM
    assert heard.items == [1.0, 1.0]


@virtual_time
async def test_an_error_of_one_cancels_the_others() -> None:
    work, faucet = Work(), Faucet[float]()
    heard = Heard(faucet.stream.pipe(map_async(work, 3)))

    faucet.push(10.0, 20.0, -1.0, 30.0)

    assert await heard.end is BOOM
    await turns()
    assert work.cancelled == 2
    assert faucet.disposed == 1
    assert faucet.is_wanted
    assert not others()


@virtual_time
async def test_when_the_error_is_heard_the_source_is_gone_already() -> None:
    faucet, disposed = Faucet[float](), list[int]()
    faucet.stream.pipe(map_async(Work())).subscribe(on_error=lambda _: disposed.append(faucet.disposed))

    faucet.push(-1.0)
    await turns()

    assert disposed == [1]


@virtual_time
async def test_what_is_not_awaitable_at_all_ends_the_stream() -> None:
    def broken(_: int) -> Any:
        raise BOOM

    heard = Heard(from_async_iterable([1]).pipe(map_async(broken)))

    assert await heard.end is BOOM


@virtual_time
async def test_a_call_that_is_cancelled_by_others_ends_the_stream_too() -> None:
    async def cancelled(_: int) -> None:
        raise asyncio.CancelledError

    heard = Heard(from_async_iterable([1]).pipe(map_async(cancelled)))

    assert isinstance(await heard.end, StreamError)


@virtual_time
async def test_disposing_cancels_what_is_under_way_and_lets_go_of_the_source() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    work, faucet = Work(), Faucet[float]()
    heard = Heard(faucet.stream.pipe(map_async(work, 2)))
    faucet.push(10.0, 10.0, 10.0)
    await asyncio.sleep(1)

    heard.subscription.dispose()
    heard.subscription.dispose()
    await turns()

    assert work.cancelled == 2
    assert faucet.is_wanted
    assert faucet.disposed == 1
    assert loop.pending_timers == 0
    assert not others()


@virtual_time
async def test_a_disposed_subscription_keeps_nothing() -> None:
    made: list[weakref.ref[Item]] = []

    async def make(seconds: float) -> Item:
        await asyncio.sleep(seconds)
        item = Item()
        made.append(weakref.ref(item))
        return item

    faucet, gate = Faucet[float](), Gate()
    heard = Heard(faucet.stream.pipe(map_async(make, 2)), gate)
    faucet.push(10.0, 1.0)
    await asyncio.sleep(5)
    gate.close("test")
    faucet.push(1.0)
    assert [item() is None for item in made] == [False]  # it is done, and waits for the slow one before it

    heard.subscription.dispose()
    await turns()

    assert [item() for item in made] == [None]
    assert not vars(gate)["_listeners"]


@virtual_time
async def test_a_task_that_is_over_is_forgotten() -> None:
    tasks: list[weakref.ref[Any]] = []

    async def note(_: int) -> None:
        tasks.append(weakref.ref(asyncio.current_task()))

    faucet = Faucet[int]()
    Heard(faucet.stream.pipe(map_async(note)))
    for number in range(3):
        faucet.push(number)
        await turns()

    assert [task() for task in tasks] == [None] * 3


@virtual_time
async def test_enough_ends_it_from_within() -> None:
    work = Work()
    heard = Heard(from_async_iterable([1.0] * 10).pipe(map_async(work, 4, ordered=False), ops.take(2)))

    await heard.end
    await turns()

    assert heard.items == [1.0, 1.0]
    assert not others()


@virtual_time
async def test_a_subscriber_that_raises_ends_the_stream() -> None:
    errors: list[Exception] = []

    def hear(_: float) -> None:
        raise BOOM

    faucet = Faucet[float]()
    faucet.stream.pipe(map_async(Work(), 2)).subscribe(hear, errors.append)
    faucet.push(1.0, 2.0)
    await asyncio.sleep(5)

    assert isinstance(errors[0], SubscriberError)
    assert errors[0].__cause__ is BOOM
    assert len(errors) == 1
    assert faucet.disposed == 1
    assert not others()


@virtual_time
async def test_calls_that_never_suspend_cost_no_task_each_and_let_others_run() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    tasks: set[Any] = set()
    others_ran = 0

    async def at_once(item: int) -> int:
        tasks.add(asyncio.current_task())
        loop.advance(0.0001)
        return item

    async def other() -> None:
        nonlocal others_ran
        while True:
            others_ran += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    heard = Heard(reactivex.from_iterable(range(500)).pipe(map_async(at_once)))
    await heard.end
    beside.cancel()

    assert heard.items == list(range(500))
    assert len(tasks) < 10
    assert 40 <= others_ran <= 100


@virtual_time
async def test_a_source_in_another_thread_is_no_trouble() -> None:
    loop = asyncio.get_running_loop()
    faucet, threads = Faucet[int](), set[threading.Thread]()

    async def double(item: int) -> int:
        threads.add(threading.current_thread())
        return 2 * item

    heard = Heard(faucet.stream.pipe(map_async(double, 2)))
    await loop.run_in_executor(None, lambda: (faucet.push(*range(100)), faucet.complete()))
    await heard.end

    assert heard.items == list(range(0, 200, 2))
    assert threads == {threading.current_thread()}


@virtual_time
async def test_a_hot_source_is_refused_and_a_long_one_that_cannot_wait_too() -> None:
    subject = Subject[float]()
    hot = Heard(subject.pipe(map_async(Work())))
    long = Heard(reactivex.from_iterable([1.0] * 3_000).pipe(map_async(Work())))

    assert isinstance(await hot.end, ConfigurationError)
    assert not subject.observers
    assert isinstance(await long.end, ConfigurationError)
    assert long.items == []


@virtual_time
async def test_each_subscription_runs_its_own_calls() -> None:
    work = Work()
    stream = from_async_iterable([1.0, 2.0]).pipe(map_async(work))
    both = [Heard(stream), Heard(stream)]

    for heard in both:
        await heard.end

    assert [heard.items for heard in both] == [[1.0, 2.0]] * 2
    assert len(work.begun) == 4


def test_a_concurrency_of_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        map_async(Work(), 0)
