"""The HTTP source over real sockets, through a provider of the toy dialect."""

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol
from reactivex import Observable
from reactivex import operators as ops

from rxstream.errors import (
    AuthenticationError,
    ConfigurationError,
    FirstContentTimeoutError,
    IdleTimeoutError,
    ProtocolError,
    StreamError,
    SubscriberError,
    TotalTimeoutError,
    TransportError,
    TruncatedStreamError,
)
from rxstream.flow import RetryPolicy
from rxstream.providers import AiProvider
from rxstream.schedulers import FlowScheduler
from rxstream.sources import Deadlines, http, push
from rxstream.sources.http import PATIENCE
from rxstream.tokens import FinishReason, StreamEnd, StreamStart, StreamToken, TextDelta
from tests.loopback import CHUNKED, HEAD, Exchange, MovableLoop, run_movable, serving, turns
from tests.toy import TOY

WHOLE: list[StreamToken] = [
    StreamStart("1", "toy", "toy"),
    TextDelta("a"),
    TextDelta("b"),
    StreamEnd(FinishReason.STOP, "end"),
]
BODY = b"start\ntext a\ntext b\nend\n"
ONCE = RetryPolicy(retries=0)


def never(_: object) -> bool:
    return False


@pytest.fixture(autouse=True, params=["pushed", "read"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything holds for both ways from the socket: straight into the operators, and by the task that reads."""
    if request.param == "read":
        monkeypatch.setattr(push, "is_open_to_pushing", never)


class Heard:
    """What a subscriber heard, and an event for its end."""

    def __init__(self, source: Observable[Any], **options: Any) -> None:
        self.items: list[Any] = []
        self.error: Exception | None = None
        self.is_completed = False
        self.over = asyncio.Event()
        self.changed = asyncio.Event()
        self.subscription = source.subscribe(self._next, self._end, lambda: self._end(None), **options)

    def _next(self, item: Any) -> None:
        self.items.append(item)
        self.changed.set()

    def _end(self, error: Exception | None) -> None:
        assert not self.over.is_set(), "a second terminal"
        self.error, self.is_completed = error, error is None
        self.over.set()

    async def until(self, count: int) -> None:
        while len(self.items) < count:
            self.changed.clear()
            await self.changed.wait()


def answering(*parts: bytes, chunked: bool = True) -> Callable[[Exchange], Awaitable[None]]:
    """A server that answers each request of a connection with `parts`."""

    async def handle(exchange: Exchange) -> None:
        while await exchange.read_request():
            await exchange.send(CHUNKED if chunked else HEAD + b"\r\n")
            for part in parts:
                await (exchange.send_chunk(part) if chunked else exchange.send(part))
            if not chunked:
                return
            await exchange.send_chunk(b"")

    return handle


@asynccontextmanager
async def asking(handle: Callable[[Exchange], Awaitable[None]], **options: Any) -> AsyncGenerator[AiProvider]:
    """A provider of the toy dialect, in front of a server."""
    options = {"api_key": "secret-key", "retry": ONCE} | options
    async with serving(handle) as url, AiProvider(TOY, base_url=url, **options) as provider:
        yield provider


async def outcome(handle: Callable[[Exchange], Awaitable[None]], **options: Any) -> Heard:
    """What a stream from such a server comes to."""
    async with asking(handle, **options) as provider:
        heard = Heard(provider.stream("hello", model="toy"))
        await heard.over.wait()
    return heard


def test_an_answer_becomes_tokens() -> None:
    async def run(loop: MovableLoop) -> None:
        heard = await outcome(answering(BODY[:7], BODY[7:]))

        assert heard.items == WHOLE
        assert heard.is_completed

    run_movable(run)


def test_each_subscription_is_one_request_on_the_same_connection() -> None:
    async def run(loop: MovableLoop) -> None:
        connections = 0
        prompts: list[bytes] = []

        async def handle(exchange: Exchange) -> None:
            nonlocal connections
            connections += 1
            while await exchange.read_request():
                prompts.append(exchange.body)
                await exchange.send(CHUNKED)
                await exchange.send_chunk(BODY)
                await exchange.send_chunk(b"")

        async with asking(handle) as provider:
            stream = provider.stream("hello", model="toy")
            for _ in range(3):
                heard = Heard(stream)
                await heard.over.wait()
                assert heard.items == WHOLE

        assert prompts == [b"hello"] * 3
        assert connections == 1

    run_movable(run)


def test_dispose_in_mid_stream_closes_the_connection_and_leaves_nothing() -> None:
    async def run(loop: MovableLoop) -> None:
        closed = asyncio.Event()

        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(CHUNKED)
            await exchange.send_chunk(b"start\ntext a\n")
            await exchange.wait_closed_by_client()
            closed.set()

        async with asking(handle) as provider:
            heard = Heard(provider.stream("hello", model="toy"))
            await heard.until(2)
            reference = weakref.ref(heard)
            heard.subscription.dispose()
            heard.subscription.dispose()
            await closed.wait()

            assert not heard.over.is_set()
            del heard
            await turns()
            gc.collect()
            assert reference() is None

    run_movable(run)


def test_taking_enough_from_within_on_next_closes_the_connection() -> None:
    async def run(loop: MovableLoop) -> None:
        closed = asyncio.Event()

        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(CHUNKED)
            await exchange.send_chunk(b"start\ntext a\ntext b\n")
            await exchange.wait_closed_by_client()
            closed.set()

        async with asking(handle) as provider:
            heard = Heard(provider.stream("hello", model="toy").pipe(ops.take(2)))
            await heard.over.wait()
            await closed.wait()

            assert heard.items == WHOLE[:2]
            assert heard.is_completed

    run_movable(run)


def test_dispose_before_the_answer_cancels_the_request() -> None:
    async def run(loop: MovableLoop) -> None:
        asked, closed = asyncio.Event(), asyncio.Event()

        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            asked.set()
            await exchange.wait_closed_by_client()
            closed.set()

        async with asking(handle) as provider:
            heard = Heard(provider.stream("hello", model="toy"))
            await asked.wait()
            heard.subscription.dispose()
            await closed.wait()

            assert not heard.over.is_set()

    run_movable(run)


def test_a_closed_gate_stops_the_reading_and_an_open_one_lets_it_go_on() -> None:
    async def run(loop: MovableLoop) -> None:
        go_on, to_the_end = asyncio.Event(), asyncio.Event()

        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(CHUNKED)
            await exchange.send_chunk(b"start\ntext a\n")
            await go_on.wait()
            await exchange.send_chunk(b"text b\n")
            await to_the_end.wait()
            await exchange.send_chunk(b"end\n")
            await exchange.send_chunk(b"")

        async with asking(handle) as provider:
            flow = FlowScheduler(loop)
            heard = Heard(provider.stream("hello", model="toy"), scheduler=flow)
            await heard.until(2)
            flow.gate.close("test")
            go_on.set()
            await turns(50)
            assert len(heard.items) <= 2 + 1  # at most the chunk that was already being read
            to_the_end.set()

            loop.move(10_000)  # waiting for one's own consumer is not the server's silence
            await turns(50)
            assert not heard.over.is_set()

            flow.gate.open("test")
            await heard.over.wait()
            assert heard.items == WHOLE
            assert flow.gate.is_honoured

    run_movable(run)


@pytest.mark.parametrize(
    ("said", "deadlines", "expected"),
    [
        (b"", Deadlines(first_content=5), FirstContentTimeoutError),
        (b"start\nping\n", Deadlines(first_content=5, idle=1), FirstContentTimeoutError),
        (b"start\ntext a\nping\n", Deadlines(idle=5), IdleTimeoutError),
        (b"start\ntext a\n", Deadlines(total=5), TotalTimeoutError),
    ],
)
def test_each_silence_has_its_deadline(said: bytes, deadlines: Deadlines, expected: type[StreamError]) -> None:
    async def run(loop: MovableLoop) -> None:
        asked = asyncio.Event()

        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            if said:
                await exchange.send(CHUNKED)
                await exchange.send_chunk(said)
            asked.set()
            await exchange.wait_closed_by_client()

        async with asking(handle, deadlines=deadlines) as provider:
            heard = Heard(provider.stream("hello", model="toy"))
            await asked.wait()
            await heard.until(said.count(b"text") * 2)
            loop.move(4)
            await turns(20)
            assert not heard.over.is_set()
            loop.move(2)
            await heard.over.wait()

        assert isinstance(heard.error, expected)
        assert heard.error.provider == "toy"
        assert heard.error.partial is not None
        assert heard.error.partial.text == ("a" if b"text a" in said else "")

    run_movable(run)


def test_pings_do_not_put_off_the_idle_deadline_and_content_does() -> None:
    async def run(loop: MovableLoop) -> None:
        ready = asyncio.Queue[bytes]()

        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(CHUNKED)
            while True:
                await exchange.send_chunk(await ready.get())

        async with asking(handle, deadlines=Deadlines(idle=5)) as provider:
            heard = Heard(provider.stream("hello", model="toy"))
            ready.put_nowait(b"start\ntext a\n")
            await heard.until(2)
            loop.move(4)
            ready.put_nowait(b"text b\n")
            await heard.until(3)
            loop.move(4)
            ready.put_nowait(b"ping\n")
            await turns(50)
            assert not heard.over.is_set()
            loop.move(2)
            await heard.over.wait()

        assert isinstance(heard.error, IdleTimeoutError)

    run_movable(run)


def test_a_stale_pooled_connection_is_replaced_without_a_failure() -> None:
    async def run(loop: MovableLoop) -> None:
        requests = 0

        async def handle(exchange: Exchange) -> None:  # says nothing about closing, and closes
            nonlocal requests
            requests += await exchange.read_request()
            await exchange.send(HEAD + b"connection: keep-alive\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY))

        async with asking(handle) as provider:
            for _ in range(20):
                heard = Heard(provider.stream("hello", model="toy"))
                await heard.over.wait()
                assert heard.error is None
                assert heard.items == WHOLE

        assert requests == 20

    run_movable(run)


def test_a_whole_answer_does_not_wait_for_a_server_that_never_ends_the_body() -> None:
    async def run(loop: MovableLoop) -> None:
        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(CHUNKED)
            await exchange.send_chunk(BODY)
            await exchange.wait_closed_by_client()

        async with asking(handle) as provider:
            heard = Heard(provider.stream("hello", model="toy"))
            await heard.until(len(WHOLE))
            await turns()
            loop.move(1)
            await heard.over.wait()

        assert heard.is_completed

    run_movable(run)


@pytest.mark.parametrize("how", ["reset", "close", "short", "bad chunk"])
def test_a_body_that_breaks_off_is_an_error_that_keeps_what_came(how: str) -> None:
    async def run(loop: MovableLoop) -> None:
        came = asyncio.Event()

        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            if how == "short":
                await exchange.send(HEAD + b"content-length: 1000\r\n\r\nstart\ntext a\n")
            else:
                await exchange.send(CHUNKED)
                await exchange.send_chunk(b"start\ntext a\n")
            await came.wait()
            if how == "reset":
                exchange.reset()
            elif how == "bad chunk":
                await exchange.send(b"zz\r\n")

        async with asking(handle) as provider:
            heard = Heard(provider.stream("hello", model="toy"))
            await heard.until(2)
            came.set()
            await heard.over.wait()

        assert heard.items == WHOLE[:2]
        assert isinstance(heard.error, TransportError)
        assert heard.error.partial is not None
        assert heard.error.partial.text == "a"
        assert not heard.error.partial.complete

    run_movable(run)


@pytest.mark.parametrize("end", ["reset", "bad chunk"])
def test_what_came_right_before_the_break_is_not_lost(end: str) -> None:
    async def run(loop: MovableLoop) -> None:
        broken = asyncio.Event()

        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(CHUNKED)
            await exchange.send_chunk(b"start\n")
            await ready.wait()
            await exchange.send_chunk(b"text a\n")
            await turns(50)  # until the client's side has it, unread, since its gate is closed
            if end == "reset":
                exchange.reset()
            else:
                await exchange.send(b"zz\r\n")
            await turns(50)
            broken.set()

        ready = asyncio.Event()
        async with asking(handle) as provider:
            flow = FlowScheduler(loop)
            heard = Heard(provider.stream("hello", model="toy"), scheduler=flow)
            flow.gate.close("test")
            await turns(50)
            ready.set()
            await broken.wait()
            flow.gate.open("test")
            await heard.over.wait()

        assert heard.items == WHOLE[:2]
        assert isinstance(heard.error, TransportError)

    run_movable(run)


def test_a_body_that_ends_early_but_cleanly_was_truncated() -> None:
    async def run(loop: MovableLoop) -> None:
        heard = await outcome(answering(b"start\ntext a\n"))

        assert heard.items == WHOLE[:2]
        assert isinstance(heard.error, TruncatedStreamError)

    run_movable(run)


def test_a_refusal_becomes_the_services_error() -> None:
    async def run(loop: MovableLoop) -> None:
        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(
                b"HTTP/1.1 401 No\r\nx-request-id: r1\r\ncontent-length: 23\r\n\r\nbad key: secret-key !!!"
            )

        heard = await outcome(handle)

        assert type(heard.error) is AuthenticationError
        assert heard.error.status == 401
        assert heard.error.request_id == "r1"
        assert "secret-key" not in str(heard.error)

    run_movable(run)


@pytest.mark.parametrize(
    ("media_type", "body", "part"),
    [
        ("text/html", b"<!doctype html><h1>Hi</h1>", "web page"),
        ("text/plain", b"<html>", "web page"),
        ("application/json", b'{"choices": []}', "one JSON value"),
    ],
)
def test_an_answer_that_is_no_stream_is_called_that(media_type: str, body: bytes, part: str) -> None:
    async def run(loop: MovableLoop) -> None:
        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            head = f"HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\ncontent-length: {len(body)}\r\n\r\n"
            await exchange.send(head.encode() + body)

        heard = await outcome(handle)

        assert type(heard.error) is ProtocolError
        assert part in str(heard.error)

    run_movable(run)


def test_a_redirect_is_followed_and_only_the_same_origin_gets_the_key() -> None:
    async def run(loop: MovableLoop) -> None:
        heads: list[bytes] = []
        target = ""

        async def handle(exchange: Exchange) -> None:
            while await exchange.read_request():
                heads.append(exchange.head)
                if b"post /toy " in exchange.head:
                    await exchange.send(
                        f"HTTP/1.1 307 Go\r\nlocation: {target}/here\r\ncontent-length: 0\r\n\r\n".encode()
                    )
                else:
                    assert exchange.body == b"hello"
                    await exchange.send(CHUNKED)
                    await exchange.send_chunk(BODY)
                    await exchange.send_chunk(b"")

        async with serving(handle) as other:
            for target in ("", other):
                heads.clear()
                heard = await outcome(handle)

                assert heard.items == WHOLE
                assert [b"secret-key" in head for head in heads] == [True, not target]

    run_movable(run)


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_would_lose_the_request_is_an_error(status: int) -> None:
    async def run(loop: MovableLoop) -> None:
        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            head = f"HTTP/1.1 {status} Go\r\nlocation: http://elsewhere.invalid/x?key=1\r\ncontent-length: 0\r\n\r\n"
            await exchange.send(head.encode())

        heard = await outcome(handle)

        assert type(heard.error) is ProtocolError
        assert "elsewhere.invalid" in str(heard.error)
        assert "key=1" not in str(heard.error)

    run_movable(run)


def test_redirects_in_a_circle_come_to_an_end() -> None:
    async def run(loop: MovableLoop) -> None:
        async def handle(exchange: Exchange) -> None:
            while await exchange.read_request():
                await exchange.send(b"HTTP/1.1 308 Go\r\nlocation: /toy\r\ncontent-length: 0\r\n\r\n")

        heard = await outcome(handle)

        assert type(heard.error) is ProtocolError

    run_movable(run)


@pytest.mark.parametrize("location", ["http://[1:2/x", "http://h:99999999/x", "file:///etc/passwd", "http://"])
@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_to_what_is_no_address_is_not_asked_again(status: int, location: str) -> None:
    async def run(loop: MovableLoop) -> None:
        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(f"HTTP/1.1 {status} Go\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode())

        heard = await outcome(handle)

        assert type(heard.error) is ProtocolError
        assert not heard.error.is_retryable

    run_movable(run)


def test_a_server_that_changes_the_protocol_is_called_that() -> None:
    async def run(loop: MovableLoop) -> None:
        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(b"HTTP/1.1 101 Go on\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n")
            await exchange.wait_closed_by_client()

        heard = await outcome(handle)

        assert type(heard.error) is ProtocolError
        assert heard.error.status == 101

    run_movable(run)


def test_a_refusal_does_not_wait_for_the_rest_of_its_body() -> None:
    async def run(loop: MovableLoop) -> None:
        said = asyncio.Event()

        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(b"HTTP/1.1 401 No\r\ncontent-length: 1000\r\n\r\nno such key")
            said.set()
            await exchange.wait_closed_by_client()

        async with asking(handle) as provider:
            heard = Heard(provider.stream("hello", model="toy"))
            await said.wait()
            await turns(50)
            assert not heard.over.is_set()
            loop.move(PATIENCE)
            await heard.over.wait()

        assert type(heard.error) is AuthenticationError
        assert "no such key" in str(heard.error)

    run_movable(run)


def test_a_whole_answer_stays_whole_if_what_comes_with_its_end_is_broken() -> None:
    async def run(loop: MovableLoop) -> None:
        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(CHUNKED + b"%x\r\n%b\r\nno size\r\n" % (len(BODY), BODY))
            await exchange.wait_closed_by_client()

        heard = await outcome(handle)

        assert heard.items == WHOLE
        assert heard.is_completed

    run_movable(run)


async def test_a_connection_that_is_gone_when_its_answer_is_whole_is_no_failure() -> None:
    loop = asyncio.get_running_loop()
    content = aiohttp.StreamReader(BaseProtocol(loop), 1024, loop=loop)
    with pytest.raises(RuntimeError):
        await content.read(1)

    await http._read_to_end(content)  # pyright: ignore[reportPrivateUsage]  # over a socket it happens now and then


def test_a_connection_that_has_begun_to_answer_is_not_taken_for_a_stale_one() -> None:
    async def run(loop: MovableLoop) -> None:
        requests = 0

        async def handle(exchange: Exchange) -> None:
            nonlocal requests
            while await exchange.read_request():
                requests += 1
                if requests == 2:
                    await exchange.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
                    await turns()
                    return
                await exchange.send(CHUNKED)
                await exchange.send_chunk(BODY)
                await exchange.send_chunk(b"")

        async with asking(handle) as provider:
            stream = provider.stream("hello", model="toy")
            first = Heard(stream)
            await first.over.wait()
            second = Heard(stream)
            await second.over.wait()

        assert type(second.error) is TransportError
        assert requests == 2

    run_movable(run)


def test_an_answer_that_nobody_asked_for_is_given_to_nobody() -> None:
    async def run(loop: MovableLoop) -> None:
        async def handle(exchange: Exchange) -> None:
            while await exchange.read_request():
                await exchange.send(CHUNKED)
                await exchange.send_chunk(BODY)
                await exchange.send_chunk(b"")
                await turns()
                await exchange.send(HEAD + b"content-length: 20\r\n\r\nstart\ntext lie\nend\n")

        async with asking(handle) as provider:
            for _ in range(3):
                heard = Heard(provider.stream("hello", model="toy"))
                await heard.over.wait()
                await turns(50)
                assert heard.items == WHOLE

    run_movable(run)


def test_an_address_where_nobody_listens_is_named() -> None:
    async def run(loop: MovableLoop) -> None:
        async with serving(answering()) as url:
            pass
        async with AiProvider(TOY, base_url=url, api_key="secret-key", retry=ONCE) as provider:
            heard = Heard(provider.stream("hello", model="toy"))
            await heard.over.wait()

        assert type(heard.error) is TransportError
        assert url.removeprefix("http://") in str(heard.error)

    run_movable(run)


def test_what_the_server_says_that_is_not_http_is_an_error() -> None:
    async def run(loop: MovableLoop) -> None:
        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(b"SSH-2.0-OpenSSH\r\n\r\n")

        heard = await outcome(handle)

        assert isinstance(heard.error, StreamError)

    run_movable(run)


def test_a_subscriber_that_raises_hears_of_it_and_the_connection_is_closed() -> None:
    async def run(loop: MovableLoop) -> None:
        closed = asyncio.Event()
        errors: list[Exception] = []

        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(CHUNKED)
            await exchange.send_chunk(b"start\ntext a\n")
            await exchange.wait_closed_by_client()
            closed.set()

        def burst(token: StreamToken) -> None:
            raise ZeroDivisionError

        async with asking(handle) as provider:
            provider.stream("hello", model="toy").subscribe(burst, errors.append)
            await closed.wait()

        (error,) = errors
        assert type(error) is SubscriberError
        assert isinstance(error.__cause__, ZeroDivisionError)

    run_movable(run)


def test_what_fails_before_the_first_content_is_asked_again() -> None:
    async def run(loop: MovableLoop) -> None:
        asked = asyncio.Queue[int]()

        async def handle(exchange: Exchange) -> None:
            while await exchange.read_request():
                asked.put_nowait(1)
                if asked.qsize() < 3:
                    await exchange.send(b"HTTP/1.1 503 No\r\ncontent-length: 4\r\n\r\nbusy")
                else:
                    await exchange.send(CHUNKED)
                    await exchange.send_chunk(BODY)
                    await exchange.send_chunk(b"")

        async with asking(handle, retry=RetryPolicy(retries=2)) as provider:
            heard = Heard(provider.stream("hello", model="toy"))
            while not heard.over.is_set():
                await turns()
                loop.move(1)

        assert heard.items == WHOLE
        assert asked.qsize() == 3

    run_movable(run)


def test_what_fails_after_the_first_content_is_not_asked_again() -> None:
    async def run(loop: MovableLoop) -> None:
        requests = 0

        async def handle(exchange: Exchange) -> None:
            nonlocal requests
            requests += await exchange.read_request()
            await exchange.send(CHUNKED)
            await exchange.send_chunk(b"start\ntext a\n")
            exchange.reset()

        heard = await outcome(handle, retry=RetryPolicy(retries=5))

        assert isinstance(heard.error, TransportError)
        assert requests == 1

    run_movable(run)


def test_a_missing_key_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOY_API_KEY", raising=False)

    async def run(loop: MovableLoop) -> None:
        async with AiProvider(TOY) as provider:
            heard = Heard(provider.stream("hello", model="toy"))
            await heard.over.wait()

        assert type(heard.error) is AuthenticationError
        assert "TOY_API_KEY" in str(heard.error)

    run_movable(run)


@pytest.mark.parametrize("key", ["bad\r\nx-evil: 1", "ключ", " \n"])
def test_a_key_that_no_header_can_carry_is_refused_unquoted(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AiProvider(TOY, api_key=key)

    assert key.strip() == "" or key not in str(caught.value)


def test_no_repr_shows_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_API_KEY", "secret-from-environment")

    assert "secret" not in repr(AiProvider(TOY)) + repr(AiProvider(TOY, api_key="secret"))
    assert "TOY_API_KEY (set)" in repr(AiProvider(TOY))


def test_rate_limits_are_learnt_from_every_answer() -> None:
    async def run(loop: MovableLoop) -> None:
        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            await exchange.send(HEAD + b"x-limit: 7\r\n\r\n" + BODY)

        async with asking(handle) as provider:
            heard = Heard(provider.stream("hello", model="toy"))
            await heard.over.wait()

            assert provider.rate_limits.details == {"x-limit": "7"}

    run_movable(run)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", None),
        (b"HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n", "key"),
        (b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", "address"),
        (b"HTTP/1.1 429 No\r\ncontent-length: 0\r\n\r\n", "quota"),
        (b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n", "service"),
    ],
)
def test_health_says_what_needs_a_look(answer: bytes, problem: str | None) -> None:
    async def run(loop: MovableLoop) -> None:
        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            assert b"get /models " in exchange.head
            await exchange.send(answer)

        async with asking(handle) as provider:
            health = await provider.check_health()

        assert health.problem == problem
        assert health.is_healthy == (problem is None)

    run_movable(run)


def test_a_given_session_is_used_and_stays_open() -> None:
    async def run(loop: MovableLoop) -> None:
        async with serving(answering(BODY)) as url, aiohttp.ClientSession() as session:
            async with AiProvider(TOY, base_url=url, api_key=None, session=session) as provider:
                heard = Heard(provider.stream("hello", model="toy"))
                await heard.over.wait()

            assert heard.items == WHOLE
            assert not session.closed

    run_movable(run)


def test_raw_chunks_join_to_the_body() -> None:
    async def run(loop: MovableLoop) -> None:
        async with asking(answering(BODY[:7], BODY[7:])) as provider:
            heard = Heard(provider.chunks("hello", model="toy"))
            await heard.over.wait()

        assert b"".join(heard.items) == BODY
        assert heard.is_completed

    run_movable(run)
