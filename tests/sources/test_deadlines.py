"""Deadlines measure the silence of the server: no sign of life hides it, and no slowness of ours counts as it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rxstream.dialects import dialects
from rxstream.errors import FirstContentTimeoutError, IdleTimeoutError, StreamError, TotalTimeoutError
from rxstream.flow import RetryPolicy
from rxstream.providers import AiProvider
from rxstream.simulator import FAST, At, KeepAlives, Script, Settings, Simulator, apis
from rxstream.sinks import collect, iterate
from rxstream.sources import Deadlines, push
from tests.loopback import CHUNKED, Exchange, MovableLoop, run_movable, serving, turns
from tests.toy import TOY

ONCE = RetryPolicy(retries=0)
A_WHILE = 30
"""Turns of the loop in which what was sent is read."""


def never(_: object) -> bool:
    return False


@pytest.fixture(params=["pushed", "read"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Straight into the operators, and by the task that reads."""
    if request.param == "read":
        monkeypatch.setattr(push, "is_open_to_pushing", never)


@asynccontextmanager
async def asking(handle: Callable[[Exchange], Awaitable[None]], deadlines: Deadlines) -> AsyncGenerator[AiProvider]:
    async with (
        serving(handle) as url,
        AiProvider(TOY, base_url=url, api_key=None, retry=ONCE, deadlines=deadlines) as provider,
    ):
        yield provider


class Ears:
    """A subscriber that notes everything."""

    def __init__(self, stream: Any, react: Callable[[], None] | None = None, **options: Any) -> None:
        self.items: list[Any] = []
        self.terminals: list[Exception | None] = []
        self._react = react
        stream.subscribe(self._next, self.terminals.append, lambda: self.terminals.append(None), **options)

    def _next(self, item: Any) -> None:
        self.items.append(item)
        if self._react is not None:
            self._react()

    async def until(self, count: int) -> None:
        while len(self.items) < count:
            assert not self.terminals, f"it ended first: {self.terminals}"
            await turns(1)


@pytest.mark.parametrize(
    ("at", "deadlines", "error"),
    [
        (At(), Deadlines(first_content=35, idle=1_000), FirstContentTimeoutError),
        (At(tokens=2), Deadlines(first_content=1_000, idle=35), IdleTimeoutError),
        (At(tokens=2), Deadlines(total=35), TotalTimeoutError),
    ],
    ids=["before content", "after it", "in all"],
)
@pytest.mark.parametrize("api", sorted(set(dialects()) & set(apis())))
def test_keep_alives_put_off_no_deadline(api: str, at: At, deadlines: Deadlines, error: type[StreamError]) -> None:
    async def run(loop: MovableLoop) -> None:
        script = Script(deltas=("one ", "two ", "three "), faults=(KeepAlives(at=at, every=10),))
        async with (
            Simulator(Settings(speed=FAST, script=script)) as simulator,
            AiProvider(
                api, base_url=simulator.base_url(api), api_key="key", retry=ONCE, deadlines=deadlines
            ) as provider,
        ):
            model = "anthropic.m" if api == "bedrock.invoke" else "m"
            answer = asyncio.ensure_future(collect(provider.stream("Why?", model=model)))
            request = await simulator.received()
            await turns(A_WHILE)
            written = [request.bytes_written]
            for _ in range(3):
                loop.move(10.5)
                await turns(A_WHILE)
                written.append(request.bytes_written)
            assert not answer.done()
            loop.move(10)
            with pytest.raises(error):
                await answer

        assert written == sorted(set(written)), "a sign of life each time"

    run_movable(run)


@pytest.mark.parametrize("size", [1, 10_000], ids=["small", "large"])
@pytest.mark.usefixtures("way")
def test_what_came_while_the_loop_was_blocked_came_in_time(size: int) -> None:
    async def run(loop: MovableLoop) -> None:
        say = asyncio.Queue[bytes]()

        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(CHUNKED)
            while True:
                await exchange.send_chunk(await say.get())
                loop.move(1_000)  # nobody has read it yet, and time is over

        async with asking(handle, Deadlines(first_content=5, idle=5)) as provider:
            ears = Ears(provider.stream("hello", model="toy"))
            for number in range(1, 4):
                say.put_nowait(b"text a\n" * size)
                await ears.until(number * size)
                assert not ears.terminals
            loop.move(6)
            await turns(A_WHILE)
            assert [type(error) for error in ears.terminals] == [IdleTimeoutError]

    run_movable(run)


@pytest.mark.usefixtures("way")
def test_time_that_the_subscriber_takes_is_not_the_servers() -> None:
    async def run(loop: MovableLoop) -> None:
        say = asyncio.Queue[bytes]()

        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(CHUNKED)
            while True:
                await exchange.send_chunk(await say.get())

        async with asking(handle, Deadlines(first_content=5, idle=5)) as provider:
            ears = Ears(provider.stream("hello", model="toy"), react=lambda: loop.move(1_000))
            for number in range(1, 6):
                say.put_nowait(b"text a\n")
                await ears.until(number)
                await turns(A_WHILE)
                loop.move(4)
                await turns(A_WHILE)
                assert not ears.terminals

    run_movable(run)


@pytest.mark.usefixtures("way")
def test_a_pause_of_the_consumer_stops_the_clock_and_nothing_else_does() -> None:
    async def run(loop: MovableLoop) -> None:
        say = asyncio.Queue[bytes]()

        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(CHUNKED)
            while True:
                await exchange.send_chunk(await say.get())

        async with (
            asking(handle, Deadlines(first_content=5, idle=5)) as provider,
            iterate(provider.stream("hello", model="toy"), capacity=2) as tokens,
        ):
            say.put_nowait(b"text a\n" * 3)
            await anext(tokens)
            await turns(A_WHILE)
            loop.move(3)  # silence, but nobody wants anything
            await turns(A_WHILE)
            for _ in range(10):
                loop.move(1_000)
                await turns(A_WHILE)
            await anext(tokens)
            await anext(tokens)
            await turns(A_WHILE)
            rest = asyncio.ensure_future(anext(tokens))
            loop.move(4)
            await turns(A_WHILE)
            assert not rest.done()
            loop.move(2)
            with pytest.raises(IdleTimeoutError):
                await rest

    run_movable(run)


async def _drained(tokens: AsyncIterator[Any]) -> None:
    async for _ in tokens:
        continue


@pytest.mark.usefixtures("way")
def test_the_total_deadline_holds_in_a_pause_too() -> None:
    async def run(loop: MovableLoop) -> None:
        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(CHUNKED)
            await exchange.send_chunk(b"text a\n" * 100)
            await exchange.wait_closed_by_client()

        async with (
            asking(handle, Deadlines(idle=5, total=50)) as provider,
            iterate(provider.stream("hello", model="toy"), capacity=2) as tokens,
        ):
            await anext(tokens)
            await turns(A_WHILE)
            loop.move(49)
            await turns(A_WHILE)
            loop.move(2)
            await turns(A_WHILE)
            with pytest.raises(TotalTimeoutError):
                await _drained(tokens)

    run_movable(run)
