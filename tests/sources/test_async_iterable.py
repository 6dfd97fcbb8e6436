"""`from_async_iterable`: cold where the iterable is, paced, and closed when nobody wants more."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as ops

from rxstream.errors import SubscriberError
from rxstream.flow import Gate
from rxstream.schedulers import FlowScheduler
from rxstream.sources import from_async_iterable
from tests.demand import turns
from tests.virtual_loop import VirtualTimeLoop, run_virtual, virtual_time

BOOM = OSError("boom")


class Countdown:
    """An async iterable that makes a new iterator each time."""

    def __init__(self, start: int) -> None:
        self.start = start

    async def __aiter__(self) -> AsyncIterator[int]:
        for number in range(self.start, 0, -1):
            await asyncio.sleep(1)
            yield number


async def heard(stream: reactivex.Observable[Any]) -> list[Any]:
    items: list[Any] = []
    is_over = asyncio.get_running_loop().create_future()
    stream.subscribe(items.append, is_over.set_exception, lambda: is_over.set_result(None))
    await is_over
    return items


def others() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


@given(st.lists(st.integers()))
def test_everything_comes_in_order(items: list[int]) -> None:
    async def numbers() -> AsyncGenerator[int]:
        for item in items:
            yield item

    assert run_virtual(heard(from_async_iterable(items))) == items
    assert run_virtual(heard(from_async_iterable(numbers()))) == items


@virtual_time
async def test_what_can_be_iterated_again_can_be_subscribed_to_again() -> None:
    stream = from_async_iterable(Countdown(3))

    assert [await heard(stream), await heard(stream)] == [[3, 2, 1]] * 2


@virtual_time
async def test_nothing_is_iterated_before_somebody_subscribes() -> None:
    begun: list[bool] = []

    async def numbers() -> AsyncGenerator[int]:
        begun.append(True)
        yield 1

    stream = from_async_iterable(numbers())
    await turns()
    assert begun == []

    assert await heard(stream) == [1]


@virtual_time
async def test_it_waits_while_the_gate_is_closed() -> None:
    loop = asyncio.get_running_loop()
    gate, items = Gate(), list[int]()

    def hear(item: int) -> None:
        items.append(item)
        if item % 3 == 0:
            gate.close("test")

    from_async_iterable(range(1, 10)).subscribe(hear, scheduler=FlowScheduler(loop, gate))
    counts: list[int] = []
    for _ in range(3):
        await turns(20)
        counts.append(len(items))
        gate.open("test")

    assert counts == [3, 6, 9]
    assert gate.is_honoured


@virtual_time
async def test_what_the_iterable_raises_ends_the_stream_after_what_came_before() -> None:
    async def numbers() -> AsyncGenerator[int]:
        yield 1
        raise BOOM

    items: list[int] = []
    with pytest.raises(OSError, match="boom"):
        await heard(from_async_iterable(numbers()).pipe(ops.do_action(items.append)))

    assert items == [1]


@pytest.mark.parametrize("state", ["waits for the next item", "waits for its consumer"])
@virtual_time
async def test_disposing_closes_a_generator_at_once_whatever_it_waits_for(state: str) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    closed, gate = list[float](), Gate()

    async def numbers() -> AsyncGenerator[int]:
        try:
            yield 1
            await asyncio.sleep(100)
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(loop.time())

    if state == "waits for its consumer":
        gate.close("test")
    subscription = from_async_iterable(numbers()).subscribe(scheduler=FlowScheduler(loop, gate))
    await asyncio.sleep(1)

    subscription.dispose()
    await turns()

    assert closed == [1]
    assert loop.pending_timers == 0
    assert not others()


@virtual_time
async def test_enough_closes_the_generator() -> None:
    closed: list[bool] = []

    async def numbers() -> AsyncGenerator[int]:
        try:
            for number in range(100):
                yield number
        finally:
            closed.append(True)

    assert await heard(from_async_iterable(numbers()).pipe(ops.take(2))) == [0, 1]
    await turns()

    assert closed == [True]


@virtual_time
async def test_an_iterator_that_holds_something_open_is_closed_too() -> None:
    class Lines:
        closed = False

        def __aiter__(self) -> "Lines":
            return self

        async def __anext__(self) -> int:
            raise StopAsyncIteration

        async def aclose(self) -> None:
            self.closed = True

    lines = Lines()
    await heard(from_async_iterable(lines))

    assert lines.closed


@virtual_time
async def test_a_subscriber_that_raises_closes_the_generator() -> None:
    closed: list[bool] = []
    errors: list[Exception] = []

    async def numbers() -> AsyncGenerator[int]:
        try:
            yield 1
        finally:
            closed.append(True)

    def hear(_: int) -> None:
        raise BOOM

    from_async_iterable(numbers()).subscribe(hear, errors.append)
    await turns()

    assert closed == [True]
    assert isinstance(errors[0], SubscriberError)


@virtual_time
async def test_an_iterable_that_never_waits_lets_others_run_now_and_then() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    others_ran = 0

    async def numbers() -> AsyncGenerator[int]:
        for number in range(1_000):
            loop.advance(0.0001)
            yield number

    async def other() -> None:
        nonlocal others_ran
        while True:
            others_ran += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    assert await heard(from_async_iterable(numbers())) == list(range(1_000))
    beside.cancel()

    assert 80 <= others_ran <= 130
