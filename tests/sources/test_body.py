"""`HttpStreamHandler`: bytes that somebody already has, in whichever way."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
import reactivex
from reactivex.testing import ReactiveTest, TestScheduler

from rxstream.errors import AuthenticationError, ConfigurationError, FirstContentTimeoutError, TransportError
from rxstream.sources import Deadlines, HttpStreamHandler
from tests.loopback import HEAD, Exchange, MovableLoop, run_movable, serving, turns
from tests.sources.test_http import BODY, WHOLE, Heard
from tests.toy import TOY

on_next = ReactiveTest.on_next

PIECES = [BODY[:7], BODY[7:]]


async def pieces_later() -> AsyncIterator[bytes]:
    for piece in PIECES:
        await asyncio.sleep(0)
        yield piece


class Repeatable:
    def __aiter__(self) -> AsyncIterator[bytes]:
        return pieces_later()


@pytest.mark.parametrize(
    "body",
    [PIECES, BODY, bytearray(BODY), Repeatable(), reactivex.from_iterable(PIECES)],
    ids=["list", "bytes", "bytearray", "async iterable", "observable"],
)
def test_every_kind_of_body_gives_the_same_tokens_each_time(body: Any) -> None:
    async def run(loop: MovableLoop) -> None:
        stream = HttpStreamHandler(TOY).into_stream(body)
        for _ in range(2):
            heard = Heard(stream)
            await heard.over.wait()

            assert heard.items == WHOLE
            assert heard.is_completed

    run_movable(run)


def test_an_open_response_is_read_and_closed() -> None:
    async def run(loop: MovableLoop) -> None:
        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(HEAD + b"\r\n" + BODY)

        async with serving(handle) as url, aiohttp.ClientSession() as session:
            response = await session.get(url)
            heard = Heard(HttpStreamHandler(TOY).into_stream(response))
            await heard.over.wait()

            assert heard.items == WHOLE
            assert response.closed

    run_movable(run)


def test_a_response_that_refuses_is_an_error() -> None:
    async def run(loop: MovableLoop) -> None:
        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(b"HTTP/1.1 401 No\r\ncontent-length: 2\r\n\r\nno")

        async with serving(handle) as url, aiohttp.ClientSession() as session:
            heard = Heard(HttpStreamHandler(TOY).into_stream(await session.get(url)))
            await heard.over.wait()

            assert type(heard.error) is AuthenticationError

    run_movable(run)


def test_nothing_is_asked_of_an_iterable_after_the_end_mark() -> None:
    async def run(loop: MovableLoop) -> None:
        asked = 0

        def endless() -> Iterator[bytes]:
            nonlocal asked
            while True:
                asked += 1
                yield BODY

        heard = Heard(HttpStreamHandler(TOY).into_stream(endless()))
        await heard.over.wait()

        assert heard.items == WHOLE
        assert asked == 1

    run_movable(run)


def test_what_an_iterable_raises_becomes_a_transport_error_with_what_came() -> None:
    async def run(loop: MovableLoop) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield b"start\ntext a\n"
            raise KeyError("the caller's own")

        heard = Heard(HttpStreamHandler(TOY).into_stream(broken()))
        await heard.over.wait()

        assert heard.items == WHOLE[:2]
        assert type(heard.error) is TransportError
        assert isinstance(heard.error.__cause__, KeyError)
        assert heard.error.partial is not None
        assert heard.error.partial.text == "a"

    run_movable(run)


def test_dispose_closes_the_generator_that_it_waits_for() -> None:
    async def run(loop: MovableLoop) -> None:
        closed = asyncio.Event()

        async def waiting() -> AsyncIterator[bytes]:
            try:
                yield b"start\n"
                await asyncio.Event().wait()
            finally:
                closed.set()

        heard = Heard(HttpStreamHandler(TOY).into_stream(waiting()))
        await heard.until(1)
        heard.subscription.dispose()
        await closed.wait()
        await turns()

        assert not heard.over.is_set()

    run_movable(run)


def test_a_body_that_says_nothing_meets_its_deadline() -> None:
    async def run(loop: MovableLoop) -> None:
        async def silent() -> AsyncIterator[bytes]:
            yield b"ping\n"
            await asyncio.Event().wait()

        heard = Heard(HttpStreamHandler(TOY, deadlines=Deadlines(first_content=5)).into_stream(silent()))
        await turns()
        loop.move(6)
        await heard.over.wait()

        assert isinstance(heard.error, FirstContentTimeoutError)

    run_movable(run)


def test_a_hot_observable_of_bytes_is_decoded_as_it_comes() -> None:
    clock = TestScheduler()
    source = clock.create_hot_observable(on_next(210, b"start\nte"), on_next(220, b"xt a\n"))

    messages = clock.start(lambda: HttpStreamHandler(TOY).into_stream(source)).messages

    assert messages == [on_next(210, WHOLE[0]), on_next(220, WHOLE[1])]


def test_an_unknown_dialect_is_named_with_those_that_are_known() -> None:
    with pytest.raises(ConfigurationError, match=r"opnai\.chat.*openai\.chat"):
        HttpStreamHandler("opnai.chat")


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_deadline_that_is_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="idle"):
        Deadlines(idle=seconds)
