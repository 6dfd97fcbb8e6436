"""What may happen to a stream while it waits for its consumer: it is disposed of, it breaks, its time is up."""

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from reactivex import Observable
from reactivex.testing import TestScheduler

from rxstream import AiProvider, iterate
from rxstream.errors import IdleTimeoutError, TotalTimeoutError, TransportError
from rxstream.flow import Gate, RetryPolicy, StreamBackpressureController
from rxstream.operators import buffered, deliver_on, map_async, rate_limit, text
from rxstream.schedulers import FlowScheduler
from rxstream.sources import Deadlines
from tests.end_to_end.flood import asked, asking, flooding, numbered
from tests.loopback import CHUNKED, Exchange, MovableLoop, run_movable, serving, turns
from tests.toy import TOY

MANY = 10_000


class Heard:
    """A subscriber that says when it heard the end."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.error: Exception | None = None
        self.over = asyncio.Event()

    def subscribe_to(self, source: Observable[Any], gate: Gate) -> Any:
        scheduler = FlowScheduler(asyncio.get_running_loop(), gate)
        return source.subscribe(self.items.append, self.fail, self.over.set, scheduler=scheduler)

    def fail(self, error: Exception) -> None:
        self.error = error
        self.over.set()


async def soon(happens: Callable[[], bool]) -> None:
    """Wait until it has happened, but not for ever."""
    for _ in range(10_000):
        if happens():
            return
        await turns(1)
    pytest.fail("it does not happen")


def closed_gate() -> Gate:
    gate = Gate()
    gate.close("test")
    return gate


async def never(_: object) -> None:
    await asyncio.get_running_loop().create_future()


PAUSED: dict[str, Callable[[Observable[Any]], tuple[Observable[Any], Gate]]] = {
    "by itself": lambda source: (source, closed_gate()),
    "buffered": lambda source: (source.pipe(buffered(64)), closed_gate()),
    "rate_limit": lambda source: (source.pipe(rate_limit(0.001, burst=1)), Gate()),
    "map_async": lambda source: (source.pipe(map_async(never)), Gate()),
    "deliver_on": lambda source: (source.pipe(deliver_on(TestScheduler(), 64)), Gate()),
    "all of them": lambda source: (
        source.pipe(buffered(64), map_async(never), rate_limit(0.001), deliver_on(TestScheduler(), 64), buffered(64)),
        closed_gate(),
    ),
}
"""A stream from which nothing more comes, and the gate to subscribe to it with."""


def timers(loop: Any) -> int:
    """How many timers are set on the loop."""
    return sum(not timer.cancelled() for timer in loop._scheduled)


@pytest.mark.parametrize("way", PAUSED)
def test_a_dispose_while_paused_releases_everything_at_once(way: str) -> None:
    async def run(loop: MovableLoop) -> None:
        controller = StreamBackpressureController()
        async with flooding(MANY) as flood, asking(flood, controller=controller) as provider:
            before = timers(loop)
            heard = Heard()
            reference = weakref.ref(heard)
            stream, gate = PAUSED[way](asked(provider))
            subscription = heard.subscribe_to(stream, gate)
            answer = await flood.answer()
            await answer.stopped()
            assert controller.snapshot().streams == 1

            subscription.dispose()
            await turns(2)

            assert len(asyncio.all_tasks()) == 2 + (not answer.closed.is_set())  # the test's and the server's own
            assert timers(loop) == before
            assert (controller.snapshot().streams, controller.snapshot().depth) == (0, 0)
            await answer.closed.wait()
            assert not answer.is_whole
            assert not heard.over.is_set()
            del heard, subscription, stream
            gc.collect()
            assert reference() is None

    run_movable(run)


def test_leaving_the_loop_over_a_paused_stream_closes_the_connection() -> None:
    async def run(loop: MovableLoop) -> None:
        controller = StreamBackpressureController()
        async with flooding(MANY) as flood, asking(flood, controller=controller) as provider:
            async with iterate(asked(provider), capacity=16) as tokens:
                await anext(tokens)
                answer = await flood.answer()
                await answer.stopped()
                assert controller.snapshot().depth >= 16
            await answer.closed.wait()

            assert not answer.is_whole
            assert (controller.snapshot().streams, controller.snapshot().depth) == (0, 0)

    run_movable(run)


async def toy_stream(handle: Callable[[Exchange], Any], check: Callable[[Observable[str]], Any]) -> None:
    async with (
        serving(handle) as url,
        AiProvider(TOY, base_url=url, api_key=None, retry=RetryPolicy(retries=0)) as provider,
    ):
        await check(provider.stream("hello", model="toy").pipe(text()))


@pytest.mark.parametrize("end", ["reset", "close", "bad chunk"])
def test_a_break_is_heard_while_the_stream_is_paused_with_what_came_before_it(end: str) -> None:
    async def run(loop: MovableLoop) -> None:
        pause = asyncio.Event()

        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(CHUNKED)
            await exchange.send_chunk(b"start\ntext a\n")
            await pause.wait()
            await exchange.send_chunk(b"text b\ntext c\n")
            await turns(50)
            if end == "reset":
                exchange.reset()
            elif end == "bad chunk":
                await exchange.send(b"zz\r\n")

        async def check(stream: Observable[str]) -> None:
            heard, gate = Heard(), Gate()
            heard.subscribe_to(stream, gate)
            await soon(lambda: heard.items == ["a"])
            gate.close("test")
            pause.set()

            await soon(heard.over.is_set)

            assert heard.items == ["a", "b", "c"]
            assert isinstance(heard.error, TransportError)
            assert heard.error.partial is not None
            assert heard.error.partial.text == "abc"
            assert not gate.is_open

        await toy_stream(handle, check)

    run_movable(run)


def test_a_whole_answer_is_not_hurried_by_the_end_of_its_connection() -> None:
    async def run(loop: MovableLoop) -> None:
        lines = asyncio.Queue[bytes]()

        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(CHUNKED)
            while chunk := await lines.get():
                await exchange.send_chunk(chunk)
            await exchange.send_chunk(b"")

        async def check(stream: Observable[str]) -> None:
            heard, gate = Heard(), Gate()
            heard.subscribe_to(stream, gate)
            lines.put_nowait(b"start\ntext a\n")
            await soon(lambda: heard.items == ["a"])
            await turns(5)  # now the source waits for more
            gate.close("test")
            for chunk in (b"text b\n", b"text c\n", b"end\n", b""):
                lines.put_nowait(chunk)
            await turns(200)
            assert heard.items == ["a"]

            gate.open("test")
            await soon(heard.over.is_set)

            assert (heard.items, heard.error) == (["a", "b", "c"], None)

        await toy_stream(handle, check)

    run_movable(run)


def test_a_reset_behind_what_is_not_read_is_heard_once_that_is_wanted() -> None:
    async def run(loop: MovableLoop) -> None:
        async with flooding(MANY) as flood, asking(flood) as provider:
            heard, gate = Heard(), closed_gate()
            heard.subscribe_to(asked(provider), gate)
            answer = await flood.answer()
            await answer.stopped()

            answer.reset()
            await answer.closed.wait()
            gate.open("test")
            await soon(heard.over.is_set)

            assert isinstance(heard.error, TransportError)
            assert heard.items == numbered(len(heard.items))
            assert 0 < len(heard.items) < MANY

    run_movable(run)


@pytest.mark.parametrize("way", ["by itself", "buffered", "rate_limit"])
def test_the_total_deadline_holds_while_the_stream_is_paused(way: str) -> None:
    async def run(loop: MovableLoop) -> None:
        async with flooding(MANY) as flood, asking(flood, deadlines=Deadlines(idle=10, total=100)) as provider:
            heard = Heard()
            heard.subscribe_to(*PAUSED[way](asked(provider)))
            answer = await flood.answer()
            await answer.stopped()
            loop.move(99)
            await turns(20)
            assert not heard.over.is_set()

            loop.move(2)
            await soon(heard.over.is_set)
            await answer.closed.wait()

            assert isinstance(heard.error, TotalTimeoutError)
            assert heard.items == numbered(len(heard.items))

    run_movable(run)


@pytest.mark.parametrize("way", ["map_async", "deliver_on", "all of them"])
def test_it_closes_the_connection_also_where_what_holds_the_stream_up_never_comes_to_it(way: str) -> None:
    async def run(loop: MovableLoop) -> None:
        async with flooding(MANY) as flood, asking(flood, deadlines=Deadlines(total=100)) as provider:
            heard = Heard()
            subscription = heard.subscribe_to(*PAUSED[way](asked(provider)))
            answer = await flood.answer()
            await answer.stopped()

            loop.move(101)
            await answer.closed.wait()

            assert not heard.over.is_set()
            subscription.dispose()

    run_movable(run)


def test_a_pause_longer_than_the_idle_deadline_is_no_silence_and_silence_after_it_is() -> None:
    async def run(loop: MovableLoop) -> None:
        async with flooding(MANY) as flood, asking(flood, deadlines=Deadlines(idle=10)) as provider:
            heard, gate = Heard(), closed_gate()
            heard.subscribe_to(asked(provider), gate)
            answer = await flood.answer()
            await answer.stopped()
            for _ in range(10):
                loop.move(1_000)
                await turns(20)
            assert not heard.over.is_set()

            gate.open("test")
            await turns(5)
            answer.silence.set()
            await turns(200)
            loop.move(9)
            await turns(20)
            assert not heard.over.is_set()
            loop.move(2)
            await soon(heard.over.is_set)

            assert isinstance(heard.error, IdleTimeoutError)
            assert heard.items == numbered(len(heard.items))

    run_movable(run)
