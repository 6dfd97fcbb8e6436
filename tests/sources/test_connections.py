"""What our connections know that aiohttp's do not: fed with bytes, and, where that matters, over a socket."""

import asyncio
from asyncio import selector_events
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from hypothesis import given
from hypothesis import strategies as st

from rxstream.sources.connections import RECEIVED_AT_ONCE, Connector, Listening
from tests.loopback import CHUNKED, Exchange, serving

HINT = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
BODY = b"\r\n\r\n123456"


class Wire(asyncio.Transport):
    """A transport that only knows whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.is_closed = False

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def asked(connection: ResponseHandler) -> Wire:
    """A connection's wire, when a request has just gone out."""
    wire = Wire()
    connection.connection_made(wire)
    connection.set_response_params(read_until_eof=True)
    return wire


async def answers(connection: ResponseHandler, count: int) -> list[tuple[int, bytes]]:
    """The statuses and bodies of so many heads, as far as they have come."""
    read: list[tuple[int, bytes]] = []
    for _ in range(count):
        message, content = await connection.read()
        read.append((message.code, content.read_nowait()))
    return read


@given(hints=st.integers(0, 2), data=st.data())
def test_where_an_answer_is_cut_does_not_matter(hints: int, data: st.DataObject) -> None:
    wire = HINT * hints + HEAD + BODY
    cuts = data.draw(st.lists(st.integers(0, len(wire))).map(sorted))

    async def run() -> None:
        connection = Listening(asyncio.get_running_loop())
        asked(connection)
        assert not connection.has_heard
        for start, end in pairwise([0, *cuts, len(wire)]):
            connection.data_received(wire[start:end])

        assert await answers(connection, hints + 1) == [(103, b"")] * hints + [(200, BODY)]
        assert connection.has_heard
        assert not connection.should_close

    asyncio.run(run())


@pytest.mark.parametrize("make", [Listening, ResponseHandler])
async def test_a_head_is_not_lost_with_what_follows_it(make: type[ResponseHandler]) -> None:
    connection = make(asyncio.get_running_loop())
    asked(connection)
    connection.data_received(CHUNKED + b"2\r\nok\r\n" + b"no size\r\n")

    if make is ResponseHandler:  # when this changes, the splitting can go
        with pytest.raises(HttpProcessingError):
            await connection.read()
    else:
        assert await answers(connection, 1) == [(200, b"ok")]


async def test_a_head_without_end_is_not_held_for_ever() -> None:
    connection = Listening(asyncio.get_running_loop())
    wire = asked(connection)
    for _ in range(64):
        connection.data_received(b"a" * 65_536)

    assert wire.is_closed


async def test_what_nobody_asked_for_closes_the_connection() -> None:
    connection = Listening(asyncio.get_running_loop())
    wire = asked(connection)
    connection.data_received(HEAD + BODY)
    assert await answers(connection, 1) == [(200, BODY)]
    assert not wire.is_closed

    connection.data_received(HEAD + BODY)

    assert wire.is_closed
    assert not connection.is_connected()


@pytest.mark.parametrize(("error", "is_whole"), [(ConnectionResetError(), False), (None, True)])
async def test_a_reset_is_no_end_of_a_body(error: Exception | None, is_whole: bool) -> None:
    connection = Listening(asyncio.get_running_loop())
    asked(connection)
    connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nsome")
    _, content = await connection.read()

    connection.connection_lost(error)

    assert isinstance(content.exception(), aiohttp.ClientPayloadError) is not is_whole
    assert content.is_eof()


async def test_the_connections_of_a_session_listen() -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.read_request()
        await exchange.send(HEAD)
        await exchange.wait_closed_by_client()

    async with (
        serving(handle) as url,
        aiohttp.ClientSession(connector=Connector(handle, limit=0)) as session,
        session.get(url) as response,
    ):
        assert response.connection is not None
        assert isinstance(response.connection.protocol, Listening), "aiohttp makes its connections in another way"
        transport: Any = response.connection.transport
        assert transport.max_size == RECEIVED_AT_ONCE
        theirs: Any = getattr(selector_events, "_SelectorTransport")  # noqa: B009  # no type has it
        assert theirs.max_size > RECEIVED_AT_ONCE, "asyncio says in another way how much it receives at once"


async def test_a_session_that_is_collected_before_its_owner_closes_it_says_nothing() -> None:
    """A warning is an error here, also one from within the collector."""

    class Owner:
        """Somebody who is collected along with it."""

    async def handle(exchange: Exchange) -> None:
        await exchange.read_request()
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await exchange.wait_closed_by_client()

    async with serving(handle) as url:
        owner = Owner()
        connector = Connector(owner, limit=0)
        session = aiohttp.ClientSession(connector=connector)
        async with session.get(url) as response:
            assert await response.read() == b"hi"

        del owner

        assert session.closed
        session.__del__()
        connector.__del__()
        await connector.close()  # as an owner does
