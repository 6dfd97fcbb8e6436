"""A hundred floods under one controller: what they hold together is bounded, and none waits for ever for another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from reactivex import operators as ops

from rxstream import AiProvider, iterate
from rxstream.flow import BackpressureConfig, StreamBackpressureController
from tests.end_to_end.flood import asked, asking, flooding, numbered
from tests.loopback import MovableLoop, run_movable

STREAMS = 100
MANY, SIZE = 500, 2_000
"""Tokens of an answer, and the bytes of their events: a hundred answers of 1 MB each."""
ROOM = 65_536
"""Bytes for each kernel, so that an answer does not fit into the buffers beneath us."""
PATIENCE = 60.0
"""Seconds after which somebody waits for ever."""
TOGETHER = 2_048
"""Items that they may hold together: a third of what their own queues would."""


def one_controller() -> StreamBackpressureController:
    return StreamBackpressureController(BackpressureConfig(maximum_items=TOGETHER))


async def opened(stack: AsyncExitStack, provider: AiProvider) -> list[AsyncIterator[str]]:
    """Subscribe to a hundred streams."""
    return [await stack.enter_async_context(iterate(asked(provider), capacity=64)) for _ in range(STREAMS)]


async def rest(tokens: AsyncIterator[str]) -> list[str]:
    return [token async for token in tokens]


def test_a_hundred_slow_consumers_hold_little_and_all_get_everything() -> None:
    async def run(loop: MovableLoop) -> None:
        controller = one_controller()
        async with (
            flooding(MANY, SIZE, room=ROOM) as flood,
            asking(flood, controller=controller) as provider,
            AsyncExitStack() as stack,
        ):
            await stack.enter_async_context(asyncio.timeout(PATIENCE))
            streams = await opened(stack, provider)

            taken = [[await anext(tokens) for tokens in streams] for _ in range(20)]  # each gets its turn each time
            for answer in flood.answers:
                await answer.stopped(20)
            slow = controller.snapshot()
            rests = await asyncio.gather(*map(rest, streams))

            assert taken == [[f"{number} "] * STREAMS for number in range(20)]
            assert slow.streams == STREAMS
            assert slow.times_paused >= 1
            assert rests == [numbered(MANY - 20, 20)] * STREAMS
            figures = controller.snapshot()
            assert figures.peak_items <= TOGETHER
            assert figures.peak_bytes < 2_000_000
            assert (figures.depth, figures.bytes_held, figures.streams) == (0, 0, 0)
            assert figures.items_in == figures.items_out == STREAMS * MANY

    run_movable(run)


def test_the_last_consumer_goes_on_when_ninety_nine_have_stopped() -> None:
    async def run(loop: MovableLoop) -> None:
        controller = one_controller()
        async with (
            flooding(MANY, SIZE, room=ROOM) as flood,
            asking(flood, controller=controller) as provider,
            AsyncExitStack() as stack,
        ):
            await stack.enter_async_context(asyncio.timeout(PATIENCE))
            *stopped, last = await opened(stack, provider)
            for tokens in stopped:
                assert await anext(tokens) == "0 "
            for answer in flood.answers:
                await answer.stopped(20)
            assert controller.snapshot().is_paused

            assert await rest(last) == numbered(MANY)

            assert controller.snapshot().is_paused
            assert controller.snapshot().peak_items <= TOGETHER
            assert controller.snapshot().streams == STREAMS - 1

        assert (controller.snapshot().streams, controller.snapshot().depth) == (0, 0)

    run_movable(run)


@pytest.mark.parametrize("count", [100, 200])
def test_what_an_ended_stream_left_in_a_queue_is_counted_until_it_is_taken(count: int) -> None:
    async def run(loop: MovableLoop) -> None:
        controller = StreamBackpressureController()
        ended = asyncio.Event()
        async with flooding(count) as flood, asking(flood, controller=controller) as provider:
            stream = asked(provider).pipe(ops.take(100), ops.do_action(on_completed=ended.set))
            async with iterate(stream, capacity=200) as tokens:
                await ended.wait()
                seen: list[tuple[int, int]] = []
                async for _ in tokens:
                    figures = controller.snapshot()
                    seen.append((figures.depth, figures.streams))

        assert seen[0][0] >= 90  # some are taken at once
        assert [depth for depth, _ in seen] == sorted((depth for depth, _ in seen), reverse=True)
        assert all(streams == (depth > 0) for depth, streams in seen)
        assert seen[-1] == (0, 0)

    run_movable(run)


def test_a_stream_that_is_left_lets_the_others_have_what_it_held() -> None:
    async def run(loop: MovableLoop) -> None:
        controller = StreamBackpressureController(BackpressureConfig(maximum_items=128))
        async with (
            flooding(MANY, SIZE, room=ROOM) as flood,
            asking(flood, controller=controller) as provider,
            iterate(asked(provider), capacity=1_000) as tokens,
        ):
            await anext(tokens)
            async with iterate(asked(provider), capacity=1_000) as others:
                await anext(others)
                for answer in flood.answers:
                    await answer.stopped(20)
                held = controller.snapshot().depth

            assert held >= 96
            assert controller.snapshot().depth < held
            assert controller.snapshot().streams == 1
            assert await rest(tokens) == numbered(MANY - 1, 1)

    run_movable(run)
