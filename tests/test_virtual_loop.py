"""The virtual-time loop itself: a test tool that is wrong makes every test that uses it wrong."""

import asyncio
import gc
import threading
from datetime import timedelta

import pytest
import reactivex
from reactivex import operators as ops
from reactivex.scheduler.eventloop import AsyncIOScheduler

from tests import virtual_loop
from tests.virtual_loop import EPOCH, DeadlockError, VirtualTimeLoop, run_virtual, virtual_time


def test_an_hour_passes_at_once() -> None:
    async def an_hour() -> float:
        await asyncio.sleep(3_600)
        return asyncio.get_running_loop().time()

    assert run_virtual(an_hour()) == 3_600


@virtual_time
async def test_timers_fire_in_order_and_each_at_its_time() -> None:
    loop = asyncio.get_running_loop()
    fired: list[tuple[str, float]] = []
    for name, due in [("late", 0.3), ("early", 0.1), ("also late", 0.3)]:
        loop.call_later(due, lambda name=name: fired.append((name, loop.time())))

    await asyncio.sleep(0.1)
    await asyncio.sleep(0.2)
    await asyncio.sleep(0)

    assert fired == [("early", 0.1), ("late", 0.3), ("also late", 0.3)]


@virtual_time
async def test_timers_due_at_one_moment_fire_in_the_order_they_were_set() -> None:
    loop = asyncio.get_running_loop()
    fired: list[int] = []

    for number in range(100):
        loop.call_later(1, fired.append, number)
    await asyncio.sleep(1)

    assert fired == list(range(100))


@virtual_time
async def test_the_wall_clock_of_schedulers_follows_the_loop() -> None:
    scheduler = AsyncIOScheduler(asyncio.get_running_loop())

    await asyncio.sleep(90)

    assert scheduler.now == EPOCH + timedelta(seconds=90)


@virtual_time
async def test_stock_operators_that_compare_due_times_with_now_work() -> None:
    loop = asyncio.get_running_loop()
    arrived: list[tuple[int, float]] = []
    ticks = reactivex.interval(60).pipe(ops.take(3), ops.delay(5))

    ticks.subscribe(lambda tick: arrived.append((tick, loop.time())), scheduler=AsyncIOScheduler(loop))
    await asyncio.sleep(300)

    assert arrived == [(0, 65), (1, 125), (2, 185)]


@virtual_time
async def test_work_in_a_thread_takes_no_virtual_time() -> None:
    release = threading.Event()
    asyncio.get_running_loop().call_soon(release.set)

    async with asyncio.timeout(0.001):
        assert await asyncio.to_thread(release.wait, 60)


@virtual_time
async def test_other_threads_may_wake_the_loop() -> None:
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()

    thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(woken.set))
    thread.start()
    await woken.wait()

    thread.join()
    assert loop.time() == 0


def test_a_deadlock_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_loop, "PATIENCE", 0.0)

    async def wait_for_nobody() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError):
        run_virtual(wait_for_nobody())


def test_what_a_callback_raises_fails_the_run() -> None:
    def fail() -> None:
        raise LookupError("nobody is here to catch it")

    async def go_on() -> None:
        asyncio.get_running_loop().call_later(1, fail)
        await asyncio.sleep(2)

    with pytest.raises(BaseExceptionGroup) as caught:
        run_virtual(go_on())

    assert [type(error) for error in caught.value.exceptions] == [LookupError]


def test_a_task_that_failed_unseen_fails_the_run() -> None:
    async def fail() -> None:
        raise LookupError("nobody awaits this task")

    async def forget_it() -> None:
        asyncio.create_task(fail())  # noqa: RUF006  # to be forgotten is its part here
        await asyncio.sleep(1)
        gc.collect()

    with pytest.raises(BaseExceptionGroup):
        run_virtual(forget_it())


@virtual_time
async def test_pending_timers_counts_what_is_still_set() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)

    timers = [loop.call_later(due, print) for due in (60, 70, 80)]
    timers[1].cancel()
    loop.call_later(0.5, bool)
    await asyncio.sleep(1)

    assert loop.pending_timers == 2
