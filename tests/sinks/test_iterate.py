"""`iterate` and `to_async_iterator`: a stream in a loop, and what leaving the loop does."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex import operators as ops
from reactivex.scheduler import NewThreadScheduler
from reactivex.subject import Subject

from rxstream.errors import BufferOverflowError, ConfigurationError
from rxstream.flow import Overflow
from rxstream.operators import map_async
from rxstream.sinks import iterate, to_async_iterator
from rxstream.sources import from_async_iterable
from rxstream.tokens import FinishReason, StreamEnd, TextDelta, ToolCallStart
from tests.demand import Faucet, quick_switches, turns
from tests.virtual_loop import VirtualTimeLoop, run_virtual, virtual_time

BOOM = OSError("boom")


@asynccontextmanager
async def closing(source: Observable[Any], **options: Any) -> AsyncGenerator[AsyncIterator[Any]]:
    """`to_async_iterator` as it is best used."""
    async with contextlib.aclosing(to_async_iterator(source, **options)) as items:
        yield items


Sink = Callable[..., AbstractAsyncContextManager[AsyncIterator[Any]]]
both = pytest.mark.parametrize("sink", [iterate, closing])


def others() -> set[asyncio.Task[Any]]:
    """The tasks besides the test's."""
    return asyncio.all_tasks() - {asyncio.current_task()}


async def taken(items: AsyncIterator[Any], into: list[Any] | None = None) -> list[Any]:
    """Take all there is; `into` has it even where an error comes after it."""
    into = [] if into is None else into
    async for item in items:
        into.append(item)
    return into


@both
@virtual_time
async def test_a_loop_gets_every_item_in_order_and_ends(sink: Sink) -> None:
    async with sink(from_async_iterable(range(5_000))) as items:
        assert await taken(items) == list(range(5_000))
        assert await taken(items) == []


@both
@virtual_time
async def test_an_error_comes_after_what_came_before_it_and_once(sink: Sink) -> None:
    heard: list[int] = []
    async with sink(from_async_iterable(range(3)).pipe(ops.concat(reactivex.throw(BOOM)))) as items:
        with pytest.raises(OSError, match="boom") as caught:
            await taken(items, heard)

        assert caught.value is BOOM
        assert heard == [0, 1, 2]
        assert await taken(items) == []


@both
@virtual_time
async def test_the_source_runs_ahead_by_the_capacity_and_no_more(sink: Sink) -> None:
    made: list[int] = []

    async def numbers() -> AsyncGenerator[int]:
        for number in range(100):
            made.append(number)
            yield number

    async with sink(from_async_iterable(numbers()), capacity=10) as items:
        for taken_so_far in range(1, 101):
            await anext(items)
            await turns()

            assert len(made) - taken_so_far <= 10


@both
@virtual_time
async def test_leaving_the_block_disposes_of_the_source_and_leaves_nothing(sink: Sink) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    closed: list[float] = []

    async def numbers() -> AsyncGenerator[int]:
        try:
            for number in range(100):
                yield number
                await asyncio.sleep(1)
        finally:
            closed.append(loop.time())

    async with sink(from_async_iterable(numbers())) as items:
        async for item in items:
            if item == 3:
                break
    await turns()

    assert closed == [3]
    assert loop.pending_timers == 0
    assert not others()


@both
@virtual_time
async def test_leaving_while_the_source_waits_for_room_lets_go_of_it(sink: Sink) -> None:
    faucet = Faucet[int]()
    async with sink(faucet.stream, capacity=2) as items:
        first = asyncio.ensure_future(anext(items))
        await turns()
        faucet.push(1, 2, 3)
        assert await first == 1
        faucet.push(4)
        assert not faucet.is_wanted

    assert faucet.is_wanted
    assert faucet.disposed == 1


@both
@virtual_time
async def test_an_exception_in_the_block_closes_it_too(sink: Sink) -> None:
    faucet = Faucet[int]()

    async def fail_in_the_block() -> None:
        async with sink(faucet.stream) as items:
            asyncio.get_running_loop().call_soon(faucet.push, 1)
            async for _ in items:
                raise BOOM

    with pytest.raises(OSError, match="boom"):
        await fail_in_the_block()

    assert faucet.disposed == 1


@both
@virtual_time
async def test_cancelling_the_loop_closes_it_too(sink: Sink) -> None:
    faucet = Faucet[int]()

    async def loop() -> None:
        async with sink(faucet.stream) as items:
            await taken(items)

    task = asyncio.create_task(loop())
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert faucet.disposed == 1


@virtual_time
async def test_a_loop_without_waits_lets_others_run_now_and_then() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    others_ran = 0

    async def other() -> None:
        nonlocal others_ran
        while True:
            others_ran += 1
            await asyncio.sleep(0)

    faucet = Faucet[int]()
    async with iterate(faucet.stream) as items:
        faucet.push(*range(1_000))
        faucet.complete()
        beside = asyncio.create_task(other())
        async for _ in items:
            loop.advance(0.0001)
        beside.cancel()

    assert 40 <= others_ran <= 200


@virtual_time
async def test_taking_what_is_there_costs_no_turn_of_the_loop() -> None:
    turned: list[bool] = []
    faucet = Faucet[int]()
    async with iterate(faucet.stream) as items:
        faucet.push(*range(100))
        asyncio.get_running_loop().call_soon(turned.append, True)

        for _ in range(100):
            await anext(items)

        assert turned == []


@virtual_time
async def test_two_tasks_at_once_are_told_that_only_one_may_iterate() -> None:
    async with iterate(Faucet[int]().stream) as items:
        waiting = asyncio.ensure_future(anext(items))
        await turns()

        with pytest.raises(RuntimeError, match="one task"):
            await anext(items)
        waiting.cancel()


@virtual_time
async def test_a_wait_that_is_cancelled_loses_nothing() -> None:
    faucet = Faucet[int]()
    async with iterate(faucet.stream) as items:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await anext(items)
        faucet.push(1)

        assert await anext(items) == 1


@virtual_time
async def test_a_task_that_waits_when_the_block_is_left_elsewhere_ends() -> None:
    stack = contextlib.AsyncExitStack()
    items = await stack.enter_async_context(iterate(Faucet[int]().stream))
    waiting = asyncio.ensure_future(taken(items))
    await turns()

    await stack.aclose()

    assert await waiting == []


@virtual_time
async def test_a_hot_source_is_refused_on_entering() -> None:
    subject = Subject[int]()

    with pytest.raises(ConfigurationError, match="cannot wait"):
        async with iterate(subject):
            pytest.fail("it was let in")

    assert not subject.observers


@virtual_time
async def test_a_short_source_that_cannot_wait_is_let_in_and_a_long_one_ends_in_an_error() -> None:
    async with iterate(reactivex.of(1, 2, 3)) as items:
        assert await taken(items) == [1, 2, 3]
    async with iterate(reactivex.from_iterable(range(10)), capacity=4) as items:
        with pytest.raises(ConfigurationError, match="more than 4"):
            await taken(items)


@pytest.mark.parametrize(
    ("overflow", "kept"),
    [(Overflow.DROP_OLDEST, [2, 3]), (Overflow.DROP_NEWEST, [0, 1]), (Overflow.LATEST, [3])],
)
@both
@virtual_time
async def test_what_is_dropped_is_told(sink: Sink, overflow: Overflow, kept: list[int]) -> None:
    subject, dropped = Subject[int](), list[int]()
    async with sink(subject, capacity=2, overflow=overflow, on_drop=dropped.append) as items:
        first = asyncio.ensure_future(anext(items))
        await turns()
        subject.on_next(-1)
        await first
        for number in range(4):
            subject.on_next(number)
        subject.on_completed()

        assert await taken(items) == kept
        assert sorted(dropped + kept) == [0, 1, 2, 3]


@virtual_time
async def test_text_is_joined_while_the_loop_is_busy() -> None:
    subject = Subject[Any]()
    call, end = ToolCallStart("call-0", "1", "add"), StreamEnd(FinishReason.STOP)
    async with iterate(subject, overflow=Overflow.CONFLATE) as items:
        for token in (TextDelta("a"), TextDelta("b"), call, TextDelta("c"), TextDelta("d"), end):
            subject.on_next(token)
        subject.on_completed()

        assert await taken(items) == [TextDelta("ab"), call, TextDelta("cd"), end]


@virtual_time
async def test_a_full_queue_may_be_an_error_after_what_it_held() -> None:
    subject, heard = Subject[int](), list[int]()
    async with iterate(subject, capacity=2, overflow=Overflow.ERROR) as items:
        for number in range(4):
            subject.on_next(number)

        with pytest.raises(BufferOverflowError):
            await taken(items, heard)

    assert heard == [0, 1]
    assert not subject.observers


@virtual_time
async def test_tokens_are_never_dropped_but_refused() -> None:
    subject = Subject[TextDelta]()
    async with iterate(subject, overflow=Overflow.LATEST) as items:
        subject.on_next(TextDelta("a"))

        with pytest.raises(ConfigurationError, match="LATEST"):
            await taken(items)


@virtual_time
async def test_what_weighs_more_fills_it_sooner() -> None:
    faucet = Faucet[bytes]()
    async with iterate(faucet.stream, capacity=10, weigh=len) as items:
        faucet.push(b"12345")
        wanted = [faucet.is_wanted]
        faucet.push(b"12345")
        wanted.append(faucet.is_wanted)
        await anext(items)
        wanted.append(faucet.is_wanted)

    assert wanted == [True, False, True]


@virtual_time
async def test_marks_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="capacity"):
        async with iterate(Faucet[int]().stream, capacity=0):
            pytest.fail("it was let in")


@given(st.lists(st.sampled_from(["push", "take", "turn"]), max_size=60), st.booleans(), st.integers(1, 40))
def test_whoever_is_quicker_nothing_is_lost(steps: list[str], fails: bool, capacity: int) -> None:
    async def main() -> None:
        faucet = Faucet[int]()
        heard: list[int] = []
        pushed = 0
        async with iterate(faucet.stream, capacity=capacity) as items:
            for step in steps:
                if step == "take" and len(heard) < pushed:
                    heard.append(await anext(items))
                elif step == "turn":
                    await asyncio.sleep(0)
                elif step == "push" and faucet.is_wanted:
                    faucet.push(pushed)
                    pushed += 1
                assert pushed - len(heard) <= capacity + max(1, capacity // 16)
            if fails:
                faucet.fail(BOOM)
            else:
                faucet.complete()
            try:
                await taken(items, heard)
            except OSError as error:
                assert (fails, error) == (True, BOOM)  # noqa: PT017  # whether it raises depends
            else:
                assert not fails
        assert heard == list(range(pushed))

    run_virtual(main())


async def test_a_source_in_another_thread_is_read_safely_and_waits() -> None:
    faucet, is_over = Faucet[int](), threading.Event()
    most = sent = 0

    def produce() -> None:
        nonlocal sent
        for number in range(3_000):
            wanted = threading.Event()
            assert faucet.gate is not None
            faucet.gate.when_open(wanted.set)
            assert wanted.wait(10)
            sent = number
            faucet.push(sent)
        faucet.complete()
        is_over.set()

    heard: list[int] = []
    with quick_switches():
        async with iterate(faucet.stream, capacity=32) as items:
            producer = threading.Thread(target=produce)
            producer.start()
            async for item in items:
                heard.append(item)
                most = max(most, sent - item)
        producer.join()

    assert heard == list(range(3_000))
    assert most <= 32 + 2


async def test_a_stock_source_on_a_thread_of_its_own_works_with_a_strategy() -> None:
    source = reactivex.from_iterable(range(500), NewThreadScheduler())

    async with iterate(source, overflow=Overflow.ERROR) as items:
        assert await taken(items) == list(range(500))


@virtual_time
async def test_demand_reaches_the_source_through_stock_operators_and_awaiting_steps() -> None:
    made = 0

    async def numbers() -> AsyncGenerator[int]:
        nonlocal made
        for number in range(200):
            made += 1
            yield number

    async def same(number: int) -> int:
        await asyncio.sleep(0.01)
        return number

    stream = from_async_iterable(numbers()).pipe(
        ops.map(lambda number: number), ops.filter(lambda _: True), map_async(same, 2), ops.scan(lambda _, item: item)
    )
    heard: list[int] = []
    async with iterate(stream, capacity=4) as items:
        async for item in items:
            heard.append(item)
            await asyncio.sleep(1)
            assert made - len(heard) <= 4 + 2 + 2

    assert heard == list(range(200))


@virtual_time
async def test_an_iterator_that_is_never_begun_never_subscribes() -> None:
    faucet = Faucet[int]()

    await to_async_iterator(faucet.stream).aclose()

    assert faucet.subscribed == 0
