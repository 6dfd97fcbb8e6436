"""A server that floods, and a consumer that does not hurry: how far the one gets ahead of the other."""

import asyncio

from rxstream import AiProvider, iterate
from rxstream.flow import LARGEST_READ, StreamBackpressureController
from rxstream.operators import rate_limit, text
from rxstream.schedulers import FlowScheduler
from rxstream.sources import Deadlines
from tests.end_to_end.flood import asked, asking, flooding, numbered
from tests.loopback import CHUNKED, Exchange, MovableLoop, run_movable, serving, turns
from tests.toy import TOY

WHOLE = 100_000
"""Tokens of an answer of 100 MB."""
SIZE = 1_000
"""Bytes of each event."""
ONE_READ = LARGEST_READ // SIZE + 1
"""Tokens that the largest read may bring."""


def test_a_consumer_of_a_hundred_tokens_a_second_stops_the_server() -> None:
    async def run(loop: MovableLoop) -> None:
        controller = StreamBackpressureController()
        taken: list[str] = []
        async with flooding(WHOLE, SIZE) as flood, asking(flood, controller=controller) as provider:
            began = loop.time()
            subscription = asked(provider).pipe(rate_limit(100, burst=1)).subscribe(taken.append)
            answer = await flood.answer()

            accepted = [await answer.stopped()]
            for _ in range(10):
                for _ in range(100):
                    loop.move(0.01)
                    await turns(3)
                accepted.append(await answer.stopped())

            assert 1_000 <= len(taken) <= 1 + 100 * (loop.time() - began)  # some real time has passed as well
            assert taken == numbered(len(taken))
            assert accepted[0] < flood.unread
            assert accepted[-1] < len(taken) * SIZE + flood.unread
            figures = controller.snapshot()
            assert figures.peak_items <= ONE_READ
            assert figures.peak_bytes < 2_000_000

            subscription.dispose()
            await answer.closed.wait()
            assert not answer.is_whole

    run_movable(run)


def test_the_server_stands_still_for_as_long_as_nothing_is_taken() -> None:
    async def run(loop: MovableLoop) -> None:
        async with (
            flooding(WHOLE, SIZE) as flood,
            asking(flood, deadlines=Deadlines(first_content=300, idle=120)) as provider,
            iterate(asked(provider), capacity=64) as tokens,
        ):
            assert await anext(tokens) == "0 "
            answer = await flood.answer()
            accepted = await answer.stopped()

            for _ in range(100):
                loop.move(3_600)
                await turns(20)

            assert await answer.stopped() == accepted
            assert [await anext(tokens) for _ in range(1_000)] == numbered(1_000, 1)

    run_movable(run)


def test_nothing_is_lost_or_reordered_when_the_consumer_speeds_up() -> None:
    async def run(loop: MovableLoop) -> None:
        controller = StreamBackpressureController()
        async with (
            flooding(WHOLE, SIZE) as flood,
            asking(flood, controller=controller) as provider,
            iterate(asked(provider), capacity=64) as tokens,
        ):
            slowly: list[str] = []
            for _ in range(500):
                slowly.append(await anext(tokens))
                loop.move(0.01)
                await turns(3)
            answer = await flood.answer()
            accepted = await answer.stopped()
            quickly = [token async for token in tokens]

            assert accepted < len(slowly) * SIZE + flood.unread
            assert slowly + quickly == numbered(WHOLE)
            assert answer.is_whole
            assert answer.accepted >= 100_000_000
            figures = controller.snapshot()
            assert figures.peak_items <= 64 + ONE_READ
            assert (figures.items_in, figures.items_out, figures.depth) == (WHOLE, WHOLE, 0)
            assert figures.streams == 0

    run_movable(run)


def test_the_server_goes_on_each_time_that_the_gate_opens() -> None:
    async def run(loop: MovableLoop) -> None:
        taken: list[str] = []
        async with flooding(WHOLE, SIZE) as flood, asking(flood) as provider:
            flow = FlowScheduler(loop)
            subscription = asked(provider).subscribe(taken.append, scheduler=flow)
            answer = await flood.answer()
            for _ in range(20):
                flow.gate.close("test")
                accepted = await answer.stopped()
                had = len(taken)
                await turns(50)
                assert len(taken) == had

                flow.gate.open("test")
                await answer.flowed(accepted)

            subscription.dispose()
            await answer.closed.wait()
            assert taken == numbered(len(taken))

    run_movable(run)


def test_the_source_goes_on_in_the_very_next_turn_of_the_loop_when_the_gate_opens() -> None:
    async def run(loop: MovableLoop) -> None:
        taken: list[str] = []
        lines = asyncio.Queue[bytes]()

        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(CHUNKED)
            while True:
                await exchange.send_chunk(await lines.get())

        async with serving(handle) as url, AiProvider(TOY, base_url=url, api_key=None) as provider:
            flow = FlowScheduler(loop)

            def take(token: str) -> None:
                taken.append(token)
                flow.gate.close("test")

            subscription = provider.stream("hello", model="toy").pipe(text()).subscribe(take, scheduler=flow)
            lines.put_nowait(b"start\ntext 0\n")
            while not taken:
                await turns(1)
            for number in range(1, 20):
                lines.put_nowait(b"text %d\n" % number)
                await turns(200)  # more than enough for it to arrive, and to stay unread
                assert len(taken) == number

                flow.gate.open("test")
                await turns(1)

                assert taken[-1] == str(number)
            subscription.dispose()

    run_movable(run)
