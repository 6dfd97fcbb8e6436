"""Answers for browsers: what is written is read back the same, and the client's pace and leaving reach the model."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
import reactivex
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex import operators as ops

from rxstream import AiProvider, collect, from_async_iterable, iterate, parse_ndjson, parse_sse, text
from rxstream.errors import (
    AuthenticationError,
    ConfigurationError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    StreamError,
)
from rxstream.framing import NdjsonParser, SseEvent, SseParser
from rxstream.integrations.serving import NDJSON_HEADERS, SSE_HEADERS, public_facts, respond, to_ndjson, to_sse
from rxstream.messages import AssembledMessage
from rxstream.simulator import FAST, FLOOD, At, ErrorEvent, HttpError, Script, Settings, Simulator, Stall
from rxstream.sources import Deadlines
from rxstream.tokens import StreamToken, TextDelta, from_json
from tests.demand import Faucet
from tests.loopback import MovableLoop, run_movable, turns
from tests.strategies import token_lists
from tests.virtual_loop import VirtualTimeLoop, run_virtual, virtual_time

DONE = SseEvent("message", b"[DONE]")
SECOND = timedelta(seconds=1)


async def given_out(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def whole(body: AsyncGenerator[bytes]) -> bytes:
    async with aclosing(body):
        return b"".join([chunk async for chunk in body])


def cut(data: bytes, size: int) -> Observable[bytes]:
    return reactivex.from_iterable([data[at : at + size] for at in range(0, len(data), size)])


def is_token(event: SseEvent) -> bool:
    return not event.is_done


def token_of(event: SseEvent) -> StreamToken:
    return from_json(event.data)


# What is written


@given(token_lists, st.integers(1, 40))
def test_what_to_sse_writes_parse_sse_reads_back(tokens: list[StreamToken], size: int) -> None:
    body = run_virtual(whole(to_sse(from_async_iterable(given_out(tokens)))))
    read: list[StreamToken] = []

    cut(body, size).pipe(parse_sse(), ops.filter(is_token), ops.map(token_of)).subscribe(read.append)

    assert read == tokens
    assert SseParser().feed(body)[-1] == DONE


@given(token_lists, st.integers(1, 40))
def test_what_to_ndjson_writes_parse_ndjson_reads_back(tokens: list[StreamToken], size: int) -> None:
    body = run_virtual(whole(to_ndjson(from_async_iterable(given_out(tokens)))))
    read: list[StreamToken] = []

    cut(body, size).pipe(parse_ndjson(), ops.map(from_json)).subscribe(read.append)

    assert read == tokens
    assert body.count(b"\n") == len(tokens)


@given(st.lists(st.text(alphabet=st.sampled_from("a: \r\né"))))
def test_any_text_is_the_data_of_one_event_but_for_the_kind_of_its_line_ends(pieces: list[str]) -> None:
    body = run_virtual(whole(to_sse(from_async_iterable(given_out(pieces)), encode=str.encode)))

    *events, end = SseParser().feed(body)

    assert [event.text for event in events] == [re.sub("\r\n|\r", "\n", piece) for piece in pieces]
    assert end == DONE


def test_an_encoder_may_give_text() -> None:
    body = run_virtual(whole(to_sse(reactivex.of(1, 2), encode=str)))

    assert body == b"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n"


# How it fails


FAILURE = RateLimitedError(
    "too fast",
    provider="openai.chat",
    status=429,
    code="slow_down",
    retry_after=1.5,
    request_id="req-1",
    partial=AssembledMessage(text="what the model had said"),
)
FACTS = {
    "type": "RateLimitedError",
    "message": "too fast",
    "provider": "openai.chat",
    "status": 429,
    "code": "slow_down",
    "request_id": "req-1",
    "retry_after": 1.5,
    "is_retryable": True,
}


def failing(error: Exception) -> Observable[Any]:
    return reactivex.concat(reactivex.of(TextDelta("Hello")), reactivex.throw(error))


async def test_an_error_of_the_stream_is_the_last_event_and_tells_its_public_facts() -> None:
    events = SseParser().feed(await whole(to_sse(failing(FAILURE))))

    assert [event.event for event in events] == ["message", "error"]
    assert json.loads(events[-1].data) == {"error": FACTS}
    assert public_facts(FAILURE) == FACTS


@pytest.mark.parametrize("kind", [AuthenticationError, ConfigurationError, PermissionDeniedError, QuotaExceededError])
async def test_a_client_is_not_told_what_a_service_says_about_the_owners_key(kind: type[StreamError]) -> None:
    body = await whole(to_sse(failing(kind("Incorrect API key provided: sk-ab***yz", status=401))))

    assert b"sk-ab" not in body
    assert json.loads(SseParser().feed(body)[-1].data)["error"]["type"] == kind.__name__


async def test_an_error_of_the_stream_is_the_last_line() -> None:
    lines = NdjsonParser().feed(await whole(to_ndjson(failing(FAILURE))))

    assert from_json(lines[0]) == TextDelta("Hello")
    assert json.loads(lines[1]) == {"error": FACTS}
    assert len(lines) == 2


@pytest.mark.parametrize("write", [to_sse, to_ndjson])
async def test_any_other_error_is_told_without_facts_and_raised_for_the_servers_log(write: Callable[..., Any]) -> None:
    body = write(failing(ZeroDivisionError("a secret of the host")))

    assert b"Hello" in await anext(body)
    told = await anext(body)
    with pytest.raises(ZeroDivisionError, match="of the host"):
        await anext(body)
    assert b'{"type":"InternalError","message":"the server failed"}' in told
    assert b"secret" not in told


async def test_an_encoder_that_raises_lets_go_of_the_source() -> None:
    faucet = Faucet[int]()

    def broken(_: int) -> bytes:
        raise ZeroDivisionError

    reading = asyncio.ensure_future(whole(to_sse(faucet.stream, encode=broken)))
    await turns()
    faucet.push(1)

    with pytest.raises(ZeroDivisionError):
        await reading
    assert faucet.disposed == 1


@pytest.mark.parametrize("write", [to_sse, to_ndjson])
def test_a_heartbeat_takes_time(write: Callable[..., Any]) -> None:
    for heartbeat in (timedelta(0), -SECOND):
        with pytest.raises(ValueError, match="must be positive"):
            write(reactivex.empty(), heartbeat=heartbeat)


# Heartbeats


async def timed(body: AsyncGenerator[bytes], heard: list[tuple[float, bytes]]) -> None:
    loop = asyncio.get_running_loop()
    heard.extend([(loop.time(), chunk) async for chunk in body])


@virtual_time
async def test_a_client_that_waits_is_sent_a_comment_in_each_period() -> None:
    faucet, heard = Faucet[str](), list[tuple[float, bytes]]()
    reading = asyncio.ensure_future(timed(to_sse(faucet.stream, heartbeat=15 * SECOND, encode=str.encode), heard))

    await asyncio.sleep(10)
    faucet.push("a")
    await asyncio.sleep(40)  # until 50
    faucet.push("b")
    await asyncio.sleep(14)  # until 64
    faucet.push("c")
    await asyncio.sleep(16)  # until 80
    faucet.complete()
    await reading

    event = b"data: %b\n\n"
    assert heard == [
        (10, event % b"a"),
        (25, b":\n\n"),
        (40, b":\n\n"),
        (50, event % b"b"),
        (64, event % b"c"),
        (79, b":\n\n"),
        (80, event % b"[DONE]"),
    ]


@virtual_time
async def test_a_client_that_does_not_read_gets_no_heartbeats_afterwards() -> None:
    faucet = Faucet[str]()
    async with aclosing(to_sse(faucet.stream, heartbeat=15 * SECOND, encode=str.encode)) as body:
        asyncio.get_running_loop().call_later(1, faucet.push, "a", "b", "c")
        assert await anext(body) == b"data: a\n\n"
        await asyncio.sleep(100)  # it is written, and the client does not take it

        assert [await anext(body), await anext(body)] == [b"data: b\n\n", b"data: c\n\n"]
        began = asyncio.get_running_loop().time()
        assert await anext(body) == b":\n\n"
        assert asyncio.get_running_loop().time() - began == 15


@pytest.mark.parametrize(("write", "beat"), [(to_sse, b":\n\n"), (to_ndjson, b"\n")])
def test_a_heartbeat_is_no_event_and_no_line(write: Callable[..., AsyncGenerator[bytes]], beat: bytes) -> None:
    async def read() -> None:
        async with aclosing(write(Faucet[str]().stream, heartbeat=SECOND)) as body:
            assert await anext(body) == beat

    run_virtual(read())

    assert not SseParser().feed(b":\n\n")
    assert not NdjsonParser().feed(b"\n")


@virtual_time
async def test_lines_have_no_heartbeat_unless_asked_for() -> None:
    faucet, heard = Faucet[str](), list[tuple[float, bytes]]()
    reading = asyncio.ensure_future(timed(to_ndjson(faucet.stream, encode=str.encode), heard))

    await asyncio.sleep(3_600)
    faucet.push("a")
    faucet.complete()
    await reading

    assert heard == [(3_600, b"a\n")]


@virtual_time
async def test_closing_the_body_disposes_of_the_stream_and_leaves_no_timer() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    faucet = Faucet[str]()
    body = to_sse(faucet.stream, encode=str.encode)
    loop.call_later(1, faucet.push, "a")
    await anext(body)
    assert faucet.disposed == 0

    await body.aclose()

    assert faucet.disposed == 1
    assert loop.pending_timers == 0


# Over sockets: a model, a server before it, and a client


Serve = Callable[[web.BaseRequest, Observable[StreamToken]], Awaitable[web.StreamResponse]]


async def as_events(request: web.BaseRequest, stream: Observable[StreamToken]) -> web.StreamResponse:
    return await respond(request, to_sse(stream))


async def as_events_without_heartbeat(request: web.BaseRequest, stream: Observable[StreamToken]) -> web.StreamResponse:
    return await respond(request, to_sse(stream, heartbeat=None))


async def as_lines(request: web.BaseRequest, stream: Observable[StreamToken]) -> web.StreamResponse:
    return await respond(request, to_ndjson(stream), NDJSON_HEADERS)


class Chain:
    """A model, the server that serves its streams, and what became of each request to the server."""

    def __init__(self, simulator: Simulator, provider: AiProvider) -> None:
        self.simulator, self.provider = simulator, provider
        self.port = 0
        self.ends: list[BaseException | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


@asynccontextmanager
async def chained(script: Script, serve: Serve = as_events, **settings: Any) -> AsyncGenerator[Chain]:
    """Serve the model's answer on loopback; little fits between the server and its client."""
    told = Settings(speed=FAST, script=script, send_buffer=64 * 1024, **settings)
    deadlines = Deadlines(first_content=3_600, idle=3_600)
    async with (
        Simulator(told) as simulator,
        AiProvider("openai.chat", base_url=simulator.base_url("openai.chat"), api_key="k", deadlines=deadlines) as ai,
    ):
        chain = Chain(simulator, ai)

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            try:
                response = await serve(request, ai.stream("Why?", model="some-model"))
            except BaseException as error:
                chain.ends.append(error)
                raise
            chain.ends.append(None)
            return response

        runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0)
        await runner.setup()
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        await web.SockSite(runner, listening).start()
        chain.port = listening.getsockname()[1]
        try:
            yield chain
        finally:
            await runner.cleanup()


@asynccontextmanager
async def reading_nothing(chain: Chain) -> AsyncGenerator[None]:
    """A client that asks, and then does not read."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        await loop.sock_connect(client, ("127.0.0.1", chain.port))
        await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        yield


async def test_a_page_reads_what_the_model_says() -> None:
    async with chained(Script(deltas=("Be", "cause", "."))) as chain, aiohttp.ClientSession() as session:
        async with session.get(chain.url) as response:
            body = await response.read()
        expected = [token async for token in items(chain.provider.stream("Why?", model="some-model"))]

        assert {name: response.headers[name] for name in SSE_HEADERS} == SSE_HEADERS
        *events, end = SseParser().feed(body)
        assert [type(from_json(event.data)) for event in events] == [type(token) for token in expected]
        assert (
            "".join(e.text for e in map(from_json, (e.data for e in events)) if isinstance(e, TextDelta)) == "Because."
        )
        assert end == DONE


def said(tokens: list[bytes]) -> str:
    """The text of tokens that were written as JSON."""
    return "".join(token.text for token in map(from_json, tokens) if isinstance(token, TextDelta))


async def items(stream: Observable[StreamToken]) -> AsyncIterator[StreamToken]:
    async with iterate(stream) as tokens:
        async for token in tokens:
            yield token


async def test_a_program_reads_lines() -> None:
    async with chained(Script(text="Because."), as_lines) as chain, aiohttp.ClientSession() as session:
        async with session.get(chain.url) as response:
            lines = NdjsonParser().feed(await response.read())

        assert response.headers["content-type"] == "application/x-ndjson; charset=utf-8"
        assert said(lines) == "Because."


@pytest.mark.parametrize(
    "fault", [HttpError(status=401), ErrorEvent(at=At(tokens=2), message="broken", kind="server_error")]
)
async def test_what_the_model_fails_in_ends_the_page_in_good_order(fault: Any) -> None:
    async with chained(Script(text="one two three", faults=(fault,))) as chain, aiohttp.ClientSession() as session:
        async with session.get(chain.url) as response:
            events = SseParser().feed(await response.read())
        with pytest.raises(StreamError) as raised:
            await collect(chain.provider.stream("Why?", model="some-model"))

        assert events[-1].event == "error"
        told = json.loads(events[-1].data)["error"]
        assert told["type"] == type(raised.value).__name__
        assert told["provider"] == "openai.chat"
        assert chain.ends == [None]


def test_a_client_that_leaves_while_the_model_is_silent_closes_the_models_connection() -> None:
    async def run(loop: MovableLoop) -> None:
        script = Script(text="one two three", faults=(Stall(at=At(tokens=2)),))
        async with chained(script, as_events_without_heartbeat) as chain:
            async with aiohttp.ClientSession() as session, session.get(chain.url) as response:
                asked = await chain.simulator.received()
                await asked.stalled.wait()
                await response.content.readuntil(b"\n\n")
                loop.move(10)
                await turns(20)
                assert not asked.closed.is_set()

            await turns(20)  # the server's transport hears of it
            loop.move(1)
            await asked.closed.wait()

            await asked.ended.wait()
            assert asked.outcome == "client left"
            while not chain.ends:
                await turns(1)
            assert chain.ends == [None]

    run_movable(run)


async def test_a_client_that_does_not_read_stops_the_model() -> None:
    async with chained(Script(length=50_000, writes=FLOOD)) as chain:
        async with reading_nothing(chain):
            asked = await chain.simulator.received()
            await asked.blocked()
            sent = asked.bytes_sent
            await asked.blocked()

            assert asked.bytes_sent == sent
            assert not chain.ends
        await asked.closed.wait()
        await asked.ended.wait()

        assert asked.outcome == "client left"


async def test_a_client_that_reads_again_gets_all_of_it_in_order() -> None:
    deltas = tuple(f"{number} " for number in range(20_000))
    async with (
        chained(Script(deltas=deltas, writes=FLOOD)) as chain,
        aiohttp.ClientSession(read_bufsize=1_024) as client,
    ):
        async with client.get(chain.url) as response:
            asked = await chain.simulator.received()
            await asked.blocked()

            events = SseParser().feed(await response.read())

        assert said([event.data for event in events[:-1]]) == "".join(deltas)


async def test_an_error_of_the_application_is_not_taken_for_a_client_that_left() -> None:
    async def serve(request: web.BaseRequest, _: Observable[StreamToken]) -> web.StreamResponse:
        return await respond(request, to_sse(failing(ConnectionError("to the database"))))

    async with chained(Script(), serve) as chain, aiohttp.ClientSession() as session:
        async with session.get(chain.url) as response:
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()

        assert [str(error) for error in chain.ends] == ["to the database"]


# Under an ASGI framework


class Visit:
    """One request to an ASGI application, driven by hand as a server would."""

    def __init__(self, spec_version: str = "2.3") -> None:
        self.spec_version = spec_version
        self.body = b""
        self.headers: dict[bytes, bytes] = {}
        self.reads = asyncio.Event()
        """Whether the client reads: without it, `send` waits as under a server whose buffers are full."""
        self.reads.set()
        self.is_gone = asyncio.Event()
        self.has_body = asyncio.Event()

    async def run(self, application: Any) -> None:
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": self.spec_version},
            "http_version": "1.1",
            "method": "GET",
            "path": "/",
            "raw_path": b"/",
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [],
        }
        await application(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        await self.is_gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if self.is_gone.is_set():
            raise OSError("the client has left")
        if message["type"] == "http.response.start":
            self.headers = dict(message["headers"])
        elif message["body"]:
            self.body += message["body"]
            self.has_body.set()
            await self.reads.wait()


def application(make_stream: Callable[[], Observable[StreamToken]], **options: Any) -> Any:
    starlette = pytest.importorskip("starlette.applications")
    from starlette.requests import Request  # where it is installed
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    async def page(_: Request) -> StreamingResponse:
        body: AsyncIterable[bytes] = to_sse(make_stream(), **options)
        return StreamingResponse(body, headers=dict(SSE_HEADERS))

    return starlette.Starlette(routes=[Route("/", page)])


async def test_starlette_serves_a_stream() -> None:
    visit = Visit()

    await visit.run(application(lambda: reactivex.of(TextDelta("Hello"))))

    assert visit.body == await whole(to_sse(reactivex.of(TextDelta("Hello"))))
    assert visit.headers[b"content-type"] == b"text/event-stream; charset=utf-8"


@pytest.mark.parametrize("reads", [True, False])
async def test_a_client_of_starlette_that_leaves_closes_the_models_connection(reads: bool) -> None:
    async with chained(Script(length=50_000, writes=FLOOD) if not reads else Script(faults=(Stall(),))) as chain:
        visit = Visit()
        if not reads:
            visit.reads.clear()
        visiting = asyncio.ensure_future(visit.run(application(lambda: chain.provider.stream("Why?", model="any"))))
        asked = await chain.simulator.received()
        await (asked.stalled.wait() if reads else asked.blocked())
        assert not asked.closed.is_set()

        visit.is_gone.set()
        await asked.closed.wait()

        await visiting


async def test_a_server_that_only_tells_by_send_is_told_by_the_next_heartbeat() -> None:
    faucet, visit = Faucet[Any](), Visit("2.4")
    served = application(lambda: faucet.stream, heartbeat=timedelta(milliseconds=1), encode=str)

    async def visiting() -> str:
        try:
            await visit.run(served)
        except Exception as error:  # what holds an error holds the frames that it went through
            return type(error).__name__
        return ""

    visited = asyncio.ensure_future(visiting())
    await visit.has_body.wait()
    assert faucet.disposed == 0

    visit.is_gone.set()

    assert await visited == "ClientDisconnect"
    await turns()
    assert faucet.disposed == 1


async def test_the_text_alone_may_be_served() -> None:
    async with chained(Script(deltas=("Be", "cause"))) as chain:
        stream = chain.provider.stream("Why?", model="any").pipe(text())

        assert await whole(to_sse(stream, encode=str.encode)) == b"data: Be\n\ndata: cause\n\ndata: [DONE]\n\n"
