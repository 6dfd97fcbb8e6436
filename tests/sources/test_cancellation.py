"""Cancelling from every state that a stream can be in, in every way, twice: silence, and nothing left."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from reactivex import Observable

from rxstream.errors import StreamError
from rxstream.flow import RetryPolicy
from rxstream.operators import map_async
from rxstream.pipeline import StreamPipelineBuilder
from rxstream.providers import AiProvider
from rxstream.schedulers import background_loop
from rxstream.sinks import collect, iterate
from rxstream.sources import HttpStreamHandler, push
from rxstream.sources.body import Body
from rxstream.tokens import StreamToken
from tests.loopback import CHUNKED, Exchange, MovableLoop, run_movable, serving, turns
from tests.toy import TOY

Stream = Observable[Any]

FIRST = b"start\ntext a\n"
A_WHILE = 25
"""Turns of the loop in which a stream comes to where it waits, or lets go of what it had."""
PATIENCE = 10.0
"""Seconds after which something that was to happen has failed to."""


class Place:
    """A server and a provider, and what is known of a stream there."""

    def __init__(self) -> None:
        self.is_there = asyncio.Event()
        """Set when the stream has come to the state in question."""
        self._loop = asyncio.get_running_loop()
        self.connections = 0
        self.lost = 0
        """How many connections the client has closed."""
        self.pauses = False
        """Whether the stream is to be held by a consumer that never comes to an end."""
        self.body: Body | None = None
        """What is read, where nothing is asked of the provider."""
        self.provider: AiProvider
        self.url: str

    def arrive(self) -> None:
        """Say, on whatever thread, that the stream is there."""
        self._loop.call_soon_threadsafe(self.is_there.set)

    def stream(self) -> Stream:
        handler = HttpStreamHandler(TOY)
        stream = self.provider.stream("hello", model="toy") if self.body is None else handler.into_stream(self.body)
        return stream.pipe(map_async(_never, max_concurrency=1)) if self.pauses else stream


async def _never(_: Any) -> None:
    await asyncio.get_running_loop().create_future()


@asynccontextmanager
async def silence(*parts: bytes, pauses: bool = False) -> AsyncGenerator[Place]:
    """A server that says `parts` and then nothing."""
    place = Place()
    place.pauses = pauses

    async def handle(exchange: Exchange) -> None:
        place.connections += 1
        try:
            await exchange.read_request()
            for part in parts:
                await exchange.send(part)
            place.arrive()
            await exchange.wait_closed_by_client()
        finally:
            place.lost += 1

    async with serving(handle) as place.url, AiProvider(TOY, base_url=place.url, api_key=None) as place.provider:
        yield place


@asynccontextmanager
async def asking_for_the_key() -> AsyncGenerator[Place]:
    place = Place()

    async def key() -> str:
        place.arrive()
        await asyncio.get_running_loop().create_future()
        return ""

    async with AiProvider(TOY, base_url="http://127.0.0.1:9", api_key=key) as place.provider:
        yield place


@asynccontextmanager
async def connecting() -> AsyncGenerator[Place]:
    place = Place()

    async def sock_connect(*_: Any) -> None:
        place.arrive()
        await asyncio.get_running_loop().create_future()

    loops: list[Any] = [asyncio.get_running_loop(), background_loop()]
    for loop in loops:
        loop.sock_connect = sock_connect
    try:
        async with AiProvider(TOY, base_url="http://127.0.0.1:9", api_key=None) as place.provider:
            yield place
    finally:
        for loop in loops:
            del loop.sock_connect


@asynccontextmanager
async def waiting_to_ask_again() -> AsyncGenerator[Place]:
    place = Place()

    async def handle(exchange: Exchange) -> None:
        await exchange.read_request()
        place.arrive()
        await exchange.send(b"HTTP/1.1 503 Not now\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    patient = RetryPolicy(first_delay=1_000, max_delay=1_000)
    async with (
        serving(handle) as place.url,
        AiProvider(TOY, base_url=place.url, api_key=None, retry=patient) as place.provider,
    ):
        yield place


@asynccontextmanager
async def response(*parts: bytes, pauses: bool = False) -> AsyncGenerator[Place]:
    """The same server, asked by somebody else."""
    async with silence(*parts, pauses=pauses) as place, aiohttp.ClientSession() as session:
        place.body = await session.post(place.url)
        yield place


@asynccontextmanager
async def iterable() -> AsyncGenerator[Place]:
    place = Place()

    async def body() -> AsyncGenerator[bytes]:
        place.connections += 1
        try:
            place.arrive()
            yield FIRST
            await asyncio.get_running_loop().create_future()
        finally:
            place.lost += 1

    place.body = body()
    yield place


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


STATES: dict[str, Callable[[], AbstractAsyncContextManager[Place]]] = {
    "asking for the key": asking_for_the_key,
    "connecting": connecting,
    "waiting for the head": silence,
    "inside the head": lambda: silence(CHUNKED[:20]),
    "waiting for content": lambda: silence(CHUNKED),
    "between chunks": lambda: silence(CHUNKED, chunk(FIRST)),
    "inside a line": lambda: silence(CHUNKED, chunk(FIRST + b"te")),
    "paused": lambda: silence(CHUNKED, chunk(FIRST * 1_000), pauses=True),
    "waiting to ask again": waiting_to_ask_again,
    "a response, waiting for content": lambda: response(CHUNKED),
    "a response, between chunks": lambda: response(CHUNKED, chunk(FIRST)),
    "a response, paused": lambda: response(CHUNKED, chunk(FIRST * 1_000), pauses=True),
    "an iterable that waits": iterable,
}


class Ears:
    """A subscriber on whatever thread, and what cancels its subscription."""

    def __init__(self, stream: Stream) -> None:
        self.items: list[Any] = []
        self.terminals: list[Exception | None] = []
        self.subscription = stream.subscribe(
            self.items.append, self.terminals.append, lambda: self.terminals.append(None)
        )


Cancel = Callable[[], Awaitable[Ears | None]]
"""Cancels twice; returns the subscriber, if there was one."""


async def disposed(stream: Stream) -> Cancel:
    ears = Ears(stream)

    async def cancel() -> Ears:
        ears.subscription.dispose()
        ears.subscription.dispose()
        return ears

    return cancel


async def disposed_by_two_threads(stream: Stream) -> Cancel:
    ears = Ears(stream)

    async def cancel() -> Ears:
        await asyncio.gather(*(asyncio.to_thread(ears.subscription.dispose) for _ in range(2)))
        return ears

    return cancel


async def in_another_thread(stream: Stream) -> Cancel:
    """Subscribed where no loop runs, disposed of where one does and where none does."""
    ears = await asyncio.to_thread(Ears, stream)

    async def cancel() -> Ears:
        ears.subscription.dispose()
        await asyncio.to_thread(ears.subscription.dispose)
        return ears

    return cancel


async def through_a_pipeline(stream: Stream) -> Cancel:
    return await disposed(StreamPipelineBuilder().balanced().enable_metrics().build().process(stream))


async def collected(stream: Stream) -> Cancel:
    return _cancelled(collect(stream))


async def iterated(stream: Stream) -> Cancel:
    async def run() -> None:
        async with iterate(stream, capacity=1) as tokens:
            async for _ in tokens:
                continue

    return _cancelled(run())


async def left(stream: Stream) -> Cancel:
    block = iterate(stream, capacity=1)
    await block.__aenter__()

    async def cancel() -> None:
        await block.__aexit__(None, None, None)

    return cancel


def _cancelled(coroutine: Any) -> Cancel:
    task = asyncio.ensure_future(coroutine)

    async def cancel() -> None:
        task.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    return cancel


WAYS = (
    disposed,
    disposed_by_two_threads,
    in_another_thread,
    through_a_pipeline,
    collected,
    iterated,
    left,
)


def never(_: object) -> bool:
    return False


def timers(loop: asyncio.AbstractEventLoop) -> int:
    return sum(not timer.cancelled() for timer in getattr(loop, "_scheduled", ()))


async def nothing_runs(loop: asyncio.AbstractEventLoop, tasks: set[asyncio.Task[Any]]) -> None:
    """Wait until `loop` has no other tasks than `tasks`."""
    async with asyncio.timeout(PATIENCE):
        while asyncio.all_tasks(loop) - tasks:
            await turns()


async def all_lost(place: Place) -> None:
    """Wait until the client has closed what it had opened."""
    async with asyncio.timeout(PATIENCE):
        while place.lost < place.connections:
            await turns()


@pytest.mark.parametrize(
    ("state", "way"),
    [
        pytest.param(state, way, id=f"{state}-{way.__name__}")
        for state in STATES
        for way in WAYS
        # an open response belongs to the loop on which it was asked for
        if not (way is in_another_thread and state.startswith("a response"))
    ],
)
def test_cancelling_in_any_state_is_silent_and_leaves_nothing(
    state: str, way: Callable[[Stream], Awaitable[Cancel]]
) -> None:
    async def run(loop: MovableLoop) -> None:
        background = background_loop()
        async with STATES[state]() as place:
            tasks = asyncio.all_tasks() | asyncio.all_tasks(background)
            cancel = await way(place.stream())
            await asyncio.wait_for(place.is_there.wait(), PATIENCE)
            await turns(A_WHILE)
            held = timers(loop)

            ears = await cancel()
            heard = len(ears.items) if ears else 0
            await nothing_runs(loop, tasks)  # at the server neither
            await nothing_runs(background, tasks)
            await all_lost(place)

            assert timers(loop) <= held
            if ears is not None:
                assert not ears.terminals
                assert len(ears.items) == heard or way is in_another_thread  # it may come between the two
        assert timers(loop) == 0

    run_movable(run)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_cancelling_in_any_turn_of_the_loop_is_silent_and_leaves_nothing(
    way: Callable[[Stream], Awaitable[Cancel]],
) -> None:
    async def run(loop: MovableLoop) -> None:
        background = background_loop()
        async with silence(CHUNKED[:20], CHUNKED[20:], chunk(FIRST), chunk(b"text b\n")) as place:
            tasks = asyncio.all_tasks() | asyncio.all_tasks(background)
            for number in range(A_WHILE):
                cancel = await way(place.stream())
                await turns(number)
                ears = await cancel()
                await nothing_runs(loop, tasks)
                await nothing_runs(background, tasks)
                await all_lost(place)

                assert ears is None or not ears.terminals
        assert timers(loop) == 0

    run_movable(run)


def ending(end: bytes) -> Callable[[Exchange], Awaitable[None]]:
    """A server whose answers end so."""

    async def handle(exchange: Exchange) -> None:
        while await exchange.read_request():
            await exchange.send(CHUNKED + chunk(FIRST))
            await exchange.send(chunk(end) + b"0\r\n\r\n")

    return handle


@pytest.fixture(params=["pushed", "read"])
def way_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Straight into the operators, and by the task that reads."""
    if request.param == "read":
        monkeypatch.setattr(push, "is_open_to_pushing", never)


@pytest.mark.parametrize("makes", ["provider", "response", "iterable", "pipeline"])
@pytest.mark.parametrize(
    "end", [b"end\n", b"error overloaded\n", b"nonsense\n"], ids=["completed", "failed", "nonsense"]
)
@pytest.mark.parametrize("moment", ["first", "last", "terminal", "after"])
@pytest.mark.usefixtures("way_in")
def test_disposing_from_the_subscribers_own_code_is_heeded_at_once(moment: str, end: bytes, makes: str) -> None:
    async def run(loop: MovableLoop) -> None:
        heard: list[Any] = []
        terminals: list[Exception | None] = []
        subscriptions: list[Any] = []
        over = asyncio.Event()

        def go() -> None:
            for _ in range(2):
                subscriptions[0].dispose()
            over.set()

        def on_next(item: Any) -> None:
            heard.append(item)
            if moment == "first" or (moment == "last" and len(heard) == 3):
                go()

        def on_end(error: Exception | None = None) -> None:
            terminals.append(error)
            go() if moment == "terminal" else over.set()

        async with (
            serving(ending(end)) as url,
            AiProvider(TOY, base_url=url, api_key=None) as provider,
            aiohttp.ClientSession() as session,
        ):
            stream: Stream
            match makes:
                case "provider":
                    stream = provider.stream("hello", model="toy")
                case "response":
                    stream = HttpStreamHandler(TOY).into_stream(await session.post(url))
                case "iterable":
                    stream = HttpStreamHandler(TOY).into_stream(_trickle(end))
                case _:
                    stream = StreamPipelineBuilder().with_provider(provider).with_model("toy").build().run("hello")
            subscriptions.append(stream.subscribe(on_next, on_end, on_end))
            await asyncio.wait_for(over.wait(), PATIENCE)
            await turns(A_WHILE)
            if moment == "after":
                go()
                await turns()

        has_third = end == b"end\n"
        expected = {"first": 1, "last": 3}.get(moment, 2 + has_third)
        if moment == "last" and not has_third:
            assert (len(heard), len(terminals)) == (2, 1)
        else:
            assert (len(heard), len(terminals)) == (expected, 0 if moment in {"first", "last"} else 1)

    run_movable(run)


async def _trickle(end: bytes) -> AsyncGenerator[bytes]:
    for part in (FIRST, end):
        yield part
        await asyncio.sleep(0)


def test_a_cancelled_stream_keeps_nobody_alive() -> None:
    async def run(loop: MovableLoop) -> None:
        async with silence(CHUNKED, chunk(FIRST)) as place:
            stream = place.stream()
            ears = Ears(stream)
            await place.is_there.wait()
            await turns(A_WHILE)
            known = weakref.ref(ears)
            ears.subscription.dispose()
            await turns(A_WHILE)

            del ears
            gc.collect()

            assert known() is None
            assert stream is not None  # until here

    run_movable(run)


def test_a_task_that_is_cancelled_before_it_has_begun_asks_for_nothing() -> None:
    async def run(loop: MovableLoop) -> None:
        async with silence() as place:
            task = asyncio.ensure_future(collect(place.stream()))
            task.cancel()
            await asyncio.wait([task])
            await turns(A_WHILE)

            assert task.cancelled()
            assert place.connections == 0

    run_movable(run)


def test_many_threads_may_subscribe_and_dispose_at_once() -> None:
    """Each gets its own answer, in order and on one thread, or silence."""
    over: list[threading.Event] = [threading.Event() for _ in range(16)]
    heard: dict[int, list[StreamToken]] = {number: [] for number in range(16)}
    threads: set[str] = set()
    errors: list[Exception] = []

    async def run(loop: MovableLoop) -> None:
        async with serving(ending(b"end\n")) as url:
            provider = AiProvider(TOY, base_url=url, api_key=None)

            def use(number: int) -> None:
                def on_next(token: StreamToken) -> None:
                    heard[number].append(token)
                    threads.add(threading.current_thread().name)

                stream = provider.stream("hello", model="toy")
                subscription = stream.subscribe(on_next, errors.append, over[number].set)
                if number % 2:
                    subscription.dispose()
                else:
                    assert over[number].wait(PATIENCE)

            await asyncio.gather(*(asyncio.to_thread(use, number) for number in range(16)))
            await provider.aclose()
            await nothing_runs(background_loop(), set())

    run_movable(run)

    assert [len(heard[number]) for number in range(0, 16, 2)] == [3] * 8
    assert threads == {"rxstream"}
    assert not errors


def test_an_error_that_came_before_the_cancel_is_the_only_thing_heard() -> None:
    async def run(loop: MovableLoop) -> None:
        async with (
            serving(ending(b"error overloaded\n")) as url,
            AiProvider(TOY, base_url=url, api_key=None) as provider,
        ):
            ears = Ears(provider.stream("hello", model="toy"))
            async with asyncio.timeout(PATIENCE):
                while not ears.terminals:
                    await turns(1)

            ears.subscription.dispose()
            await turns(A_WHILE)

        assert [isinstance(error, StreamError) for error in ears.terminals] == [True]

    run_movable(run)
