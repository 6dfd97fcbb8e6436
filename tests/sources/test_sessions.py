"""Sessions: one for each loop, none of which outlives its loop or its owner."""

import asyncio
import gc
import socket
import struct
import threading

import aiohttp
import pytest

from rxstream.providers import AiProvider
from rxstream.sinks import collect
from rxstream.sources.connections import ConnectionNote
from rxstream.sources.sessions import Sessions
from tests.loopback import CHUNKED, Exchange, MovableLoop, run_movable, serving, turns
from tests.sources.test_background import ServerThread
from tests.sources.test_http import BODY, answering
from tests.toy import TOY


async def here(sessions: Sessions) -> aiohttp.ClientSession:
    return sessions.here()


async def test_a_loop_has_one_session_until_that_is_closed() -> None:
    sessions = Sessions()

    first, second = sessions.here(), sessions.here()
    await sessions.close()
    third = sessions.here()

    assert first is second
    assert first.closed
    assert third is not first
    await sessions.close()
    assert third.closed


def test_a_session_is_closed_when_its_loop_shuts_down() -> None:
    sessions = Sessions()

    first = asyncio.run(here(sessions))
    second = asyncio.run(here(sessions))

    assert first.closed
    assert second.closed
    assert first is not second


def test_the_connections_of_a_loop_that_shuts_down_are_closed_although_the_provider_lives() -> None:
    opened = lost = 0

    async def handle(exchange: Exchange) -> None:
        nonlocal opened, lost
        opened += 1
        try:
            await answering(BODY)(exchange)
        finally:
            lost += 1

    with ServerThread(handle) as server:
        provider = AiProvider(TOY, base_url=server.url, api_key=None)
        for _ in range(5):
            assert asyncio.run(collect(provider.stream("hello", model="toy"))).text == "ab"

    assert opened == lost == 5


def test_sessions_of_other_loops_are_closed_there() -> None:
    sessions = Sessions()
    others: list[aiohttp.ClientSession] = []
    is_made, may_go = threading.Event(), threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def wait() -> None:
        loops.append(asyncio.get_running_loop())
        others.append(sessions.here())
        is_made.set()
        await asyncio.to_thread(may_go.wait)

    async def main() -> None:
        sessions.here()
        await sessions.close()

    thread = threading.Thread(target=lambda: asyncio.run(wait()))
    thread.start()
    is_made.wait()
    asyncio.run(main())
    is_closed = others[0].closed
    may_go.set()
    thread.join()

    assert is_closed


@pytest.mark.parametrize("drops", [True, False])
def test_a_loop_that_was_closed_or_stopped_is_let_go_of(drops: bool) -> None:
    sessions = Sessions()
    stopped, closed = asyncio.new_event_loop(), asyncio.new_event_loop()
    held = [loop.run_until_complete(here(sessions)) for loop in (stopped, closed)]
    closed.close()

    if drops:
        del sessions
        gc.collect()
    else:
        asyncio.run(sessions.close())
    stopped.run_until_complete(turns())
    stopped.close()

    assert all(session.closed for session in held)


def resets() -> list[ConnectionResetError]:
    return [each for each in gc.get_objects() if isinstance(each, ConnectionResetError)]


@pytest.mark.parametrize("is_reset", [True, False])
def test_a_connection_that_is_lost_while_it_waits_in_the_pool_is_not_talked_about(is_reset: bool) -> None:
    async def run(loop: MovableLoop) -> None:
        said: list[object] = []
        loop.set_exception_handler(lambda _, context: said.append(context))
        may_lose = asyncio.Event()

        async def handle(exchange: Exchange) -> None:
            for _ in range(2):
                await exchange.read_request()
                await exchange.send(CHUNKED)
                for part in (BODY[:6], BODY[6:], b""):
                    await turns(20)  # it is read while it goes on, and so its connection is watched
                    await exchange.send_chunk(part)
            await may_lose.wait()
            if is_reset:
                linger = struct.pack("ii", 1, 0)  # on, for no time: closing sends a reset
                exchange.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

        async with serving(handle) as url, AiProvider(TOY, base_url=url, api_key=None) as provider:
            others = set(map(id, resets()))
            for _ in range(2):
                await collect(provider.stream("hello", model="toy"))
            may_lose.set()
            await turns(50)
            gc.collect()
            await turns()

            assert not said
            errors = [error for error in resets() if id(error) not in others]
            assert len(errors) == is_reset  # aiohttp keeps it in its pool, with the connection, for a while
            assert not any(error.__traceback__ for error in errors), "on it hang the loop and all its timers"

    run_movable(run)


def test_a_note_of_a_connection_holds_it_no_longer_than_the_request() -> None:
    """The note lives as long as what knows the context of the stream: timers that were cancelled, too."""

    async def run(loop: MovableLoop) -> None:
        has_begun = asyncio.Event()

        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(CHUNKED)
            await exchange.send_chunk(BODY[:6])
            has_begun.set()
            await exchange.wait_closed_by_client()

        async with serving(handle) as url, AiProvider(TOY, base_url=url, api_key=None) as provider:
            answer = asyncio.ensure_future(collect(provider.stream("hello", model="toy")))
            await has_begun.wait()
            await turns(30)
            notes = [vars(each) for each in gc.get_objects() if isinstance(each, ConnectionNote)]
            answer.cancel()
            await asyncio.wait([answer])

        assert notes
        assert all(note["_connection"] is None for note in notes)

    run_movable(run)
