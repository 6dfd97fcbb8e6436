"""The short way from the socket to the operators: it is taken, and changes nothing.

That all the laws of the HTTP source hold for it too is shown in test_http.py.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxstream.errors import SubscriberError
from rxstream.flow import Gate
from rxstream.providers import AiProvider
from rxstream.schedulers import FlowScheduler
from rxstream.sources import push
from rxstream.sources.deadlines import Watchdog
from tests.loopback import CHUNKED, Exchange, MovableLoop, run_movable, serving, turns
from tests.toy import TOY

SMALL, LARGE = 40, 5_000
"""Bytes: what goes the short way at once, and what is more than a read at first."""


class Taken:
    """Notes what each lane took, and whether that was in the call of the event loop that brought it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.refused: list[int] = []
        take = push.Lane.take

        def noting(lane: Any, chunk: bytes) -> bool:
            was_taken = take(lane, chunk)
            (self.sizes if was_taken else self.refused).append(len(chunk))
            return was_taken

        monkeypatch.setattr(push.Lane, "take", noting)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Taken:
    return Taken(monkeypatch)


class Listening:
    """A subscriber to the raw bytes of an answer that the test sends piece by piece."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.gate = Gate()
        self.asked: asyncio.Future[Exchange] = self.loop.create_future()
        self.may_go = asyncio.Event()
        self.gone = asyncio.Event()
        self.heard = bytearray()
        self.changed = asyncio.Event()
        self.react: Callable[[bytes], object] = len
        self.over = asyncio.Event()
        self.error: Exception | None = None

    async def serve(self, exchange: Exchange) -> None:
        """Begin an answer, leave the rest to the test, and see the client go."""
        await exchange.read_request()
        await exchange.send(CHUNKED)
        self.asked.set_result(exchange)
        await exchange.wait_closed_by_client()
        self.gone.set()

    def listen(self, provider: AiProvider) -> None:
        """Subscribe, at the pace of the gate."""
        self.subscription = provider.chunks("?", model="toy").subscribe(
            self.on_next, self.on_error, self.over.set, scheduler=FlowScheduler(self.loop, self.gate)
        )

    def on_next(self, chunk: bytes) -> None:
        self.heard += chunk
        self.changed.set()
        self.react(chunk)

    def on_error(self, error: Exception) -> None:
        self.error = error
        self.over.set()

    async def say(self, *pieces: bytes) -> None:
        """Send each piece as a chunk of its own, with some turns of the loop after it."""
        exchange = await self.asked
        for piece in pieces:
            await exchange.send_chunk(piece)
            await turns(6)

    async def until(self, size: int) -> None:
        while len(self.heard) < size:
            self.changed.clear()
            await self.changed.wait()


def method(do: Callable[[], None]) -> Callable[[object], None]:
    """A method that does that."""
    return lambda _: do()


def listening(test: Callable[[Listening], Awaitable[None]]) -> None:
    """Run `test` in the middle of an answer of which one byte has come."""

    async def run(_: MovableLoop) -> None:
        listener = Listening()
        async with serving(listener.serve) as url, AiProvider(TOY, api_key=None, base_url=url) as provider:
            listener.listen(provider)
            await listener.say(b"!")
            await listener.until(1)
            await test(listener)
            listener.subscription.dispose()
            await listener.gone.wait()
        assert not push.lanes
        await turns()

    run_movable(run)


def test_a_small_piece_goes_the_short_way(taken: Taken) -> None:
    async def test(listener: Listening) -> None:
        await listener.say(*[b"x" * SMALL] * 10)
        await listener.until(1 + 10 * SMALL)

    listening(test)

    assert taken.sizes == [SMALL] * 10, (
        "aiohttp feeds its reader in another way than we know: see rxstream.sources.push"
    )
    assert taken.refused == []


def test_a_large_piece_is_left_to_the_task(taken: Taken) -> None:
    async def test(listener: Listening) -> None:
        await listener.say(b"x" * LARGE, b"y" * SMALL)
        await listener.until(1 + LARGE + SMALL)
        assert listener.heard == b"!" + b"x" * LARGE + b"y" * SMALL

    listening(test)

    assert taken.sizes == [SMALL]
    assert sum(taken.refused) == LARGE


def test_nothing_goes_through_a_closed_gate_and_everything_through_an_open_one(taken: Taken) -> None:
    async def test(listener: Listening) -> None:
        listener.react = lambda _: listener.gate.close("test")
        await listener.say(b"a")
        await listener.until(2)
        await listener.say(b"b", b"c")
        assert listener.heard == b"!a"
        listener.react = len

        listener.gate.open("test")
        await listener.until(4)
        await listener.say(b"d")
        await listener.until(5)
        assert listener.heard == b"!abcd"

    listening(test)

    assert taken.sizes == [1, 1]
    assert taken.refused == [1, 1]


def test_a_closed_gate_stops_the_clock_of_silence_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(Watchdog, "pause", method(lambda: said.append("pause")))
    monkeypatch.setattr(Watchdog, "resume", method(lambda: said.append("resume")))

    async def test(listener: Listening) -> None:
        listener.react = lambda _: listener.gate.close("test")
        await listener.say(b"a")
        await listener.until(2)
        await turns()
        assert said == ["pause"]
        listener.gate.open("test")
        await turns()
        assert said == ["pause", "resume"]

    listening(test)


def test_a_subscriber_that_raises_on_the_short_way_hears_of_it(taken: Taken) -> None:
    async def test(listener: Listening) -> None:
        def fail(_: bytes) -> None:
            raise OSError("boom")

        listener.react = fail
        await listener.say(b"a")
        await listener.over.wait()
        await listener.gone.wait()
        assert isinstance(listener.error, SubscriberError)
        assert isinstance(listener.error.__cause__, OSError)

    listening(test)

    assert taken.sizes[0] == 1


def test_a_dispose_on_the_short_way_closes_the_connection_and_nothing_comes_after_it(taken: Taken) -> None:
    async def test(listener: Listening) -> None:
        listener.react = lambda _: listener.subscription.dispose()
        exchange = await listener.asked
        await exchange.send(b"1\r\na\r\n1\r\nb\r\n")
        await listener.gone.wait()
        await turns()
        assert listener.heard == b"!a"
        assert not listener.over.is_set()

    listening(test)

    assert taken.sizes == [1]


def test_the_others_of_the_loop_get_their_turn_in_a_flood_of_small_pieces() -> None:
    async def test(listener: Listening) -> None:
        turns_of_others = 0
        at_each_piece: list[int] = []

        def note() -> None:
            nonlocal turns_of_others
            turns_of_others += 1
            listener.loop.call_soon(note)

        def work(_: bytes) -> None:
            assert isinstance(listener.loop, MovableLoop)
            listener.loop.move(0.002)
            at_each_piece.append(turns_of_others)

        listener.react = work
        note()
        exchange = await listener.asked
        await exchange.send(b"1\r\na\r\n" * 2_000)
        await listener.until(2_001)
        assert len(at_each_piece) > 1
        assert sorted(set(at_each_piece)) == at_each_piece

    listening(test)


@given(
    pieces=st.lists(st.tuples(st.sampled_from([1, SMALL, LARGE]), st.sampled_from(["", "close", "open"])), max_size=12)
)
@settings(max_examples=settings().max_examples // 4, deadline=None)
def test_whatever_the_sizes_and_the_gate_every_byte_comes_once_and_in_order(pieces: list[tuple[int, str]]) -> None:
    async def test(listener: Listening) -> None:
        said = b"!"
        for number, (size, gate) in enumerate(pieces):
            if gate:
                getattr(listener.gate, gate)("test")
            piece = bytes([65 + number]) * size
            said += piece
            await listener.say(piece)
        listener.gate.open("test")
        await listener.until(len(said))
        assert listener.heard == said

    listening(test)


def test_where_the_reader_cannot_be_given_our_class_the_task_does_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    class OfAnotherLayout(aiohttp.StreamReader):
        __slots__ = ("more",)

    monkeypatch.setattr(push, "Pushed", OfAnotherLayout)

    async def test(listener: Listening) -> None:
        await listener.say(b"a", b"b")
        await listener.until(3)
        assert listener.heard == b"!ab"

    listening(test)
