"""Streams for browsers: Server-Sent Events and NDJSON, for aiohttp and any ASGI framework.

    StreamingResponse(to_sse(tokens), headers=SSE_HEADERS)      # Starlette, FastAPI
    await respond(request, to_sse(tokens))                      # aiohttp

What is made here is an async iterator of bytes, so the pace of whoever reads it is the
stream's: a browser that does not read stops the server's `send`, that stops the iterator,
the gate closes, and the model's socket is not read. A client that leaves ends the iterator,
which disposes of the subscription and so closes the connection to the model.

                     SSE                                  NDJSON
    ───────────────  ───────────────────────────────────  ─────────────────────────
    an item          data: {"type":"TextDelta",…}         {"type":"TextDelta",…}
    still alive      a comment, `:`                       an empty line, if asked for
    a healthy end    data: [DONE]                         the end of the body
    an error         event: error, data: {"error":{…}}    {"error":{…}}

An `EventSource` asks again by itself whenever a response ends, so a page closes it at
`[DONE]` and at `error`.
"""

import asyncio
import re
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any, Final

import msgspec
from aiohttp import web
from msgspec import Struct
from reactivex import Observable, abc

from rxstream.errors import (
    AuthenticationError,
    ConfigurationError,
    PermissionDeniedError,
    QuotaExceededError,
    StreamError,
)
from rxstream.sinks import iterate
from rxstream.tokens import Json, to_json

__all__ = ["NDJSON_HEADERS", "SSE_HEADERS", "public_facts", "respond", "to_ndjson", "to_sse"]

SSE_HEADERS: Mapping[str, str] = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",  # nginx, and who follows it, would hold events back
}
"""What a response with the body `to_sse` is sent with."""
NDJSON_HEADERS: Mapping[str, str] = {**SSE_HEADERS, "content-type": "application/x-ndjson; charset=utf-8"}
"""What a response with the body `to_ndjson` is sent with."""
HEARTBEAT = timedelta(seconds=15)
CAPACITY = 128
"""Items that may wait for a slow client before the model is told to wait."""
LOOK = 1.0
"""Seconds between two looks at whether a client is still there to whom nothing has to be sent."""

_PUBLIC = ("provider", "status", "kind", "code", "request_id", "retry_after", "is_retryable")
_OWNERS = (AuthenticationError, ConfigurationError, PermissionDeniedError, QuotaExceededError)
_LINE_END = re.compile(rb"\r\n|\r|\n")
_BEAT: Final = object()


class _Wire(Struct, frozen=True):
    """How a body is written."""

    item: Callable[[bytes], bytes]
    error: Callable[[bytes], bytes]
    beat: bytes
    end: bytes


def to_sse(
    stream: Observable[Any],
    *,
    heartbeat: timedelta | None = HEARTBEAT,
    encode: Callable[[Any], bytes | str] = to_json,
    capacity: int = CAPACITY,
) -> AsyncGenerator[bytes]:
    r"""Return `stream` as the body of a `text/event-stream`, one event for each item, read no faster than it is taken.

        >>> import asyncio
        >>> import reactivex
        >>> from rxstream import TextDelta
        >>> async def body():
        ...     return [event async for event in to_sse(reactivex.of(TextDelta("Hello")))]
        >>> asyncio.run(body())[0]
        b'data: {"type":"TextDelta","text":"Hello","index":0,"choice":0}\n\n'

    It subscribes at the first step. A comment is given whenever the client has waited for
    `heartbeat`, so that nothing between the two takes the connection for dead; `None` gives
    none. `encode` makes the data of an item: for pieces of text it is `str.encode`.

    A `StreamError` is the last event and ends the body like any other; `public_facts` says
    what the client gets to know. Any other error is an event without facts and is then
    raised, for the server's log. Closing the iterator disposes of the subscription. At most
    about `capacity` items wait; a stream that cannot wait ends in a `ConfigurationError`.
    Raises `ValueError` for a heartbeat that is not positive.
    """
    return _read(stream, _SSE, encode, _period(heartbeat), capacity)


def to_ndjson(
    stream: Observable[Any],
    *,
    heartbeat: timedelta | None = None,
    encode: Callable[[Any], bytes | str] = to_json,
    capacity: int = CAPACITY,
) -> AsyncGenerator[bytes]:
    """Return `stream` as the body of an `application/x-ndjson`, one line for each item; otherwise as `to_sse`.

    `encode` must give one line. A heartbeat is an empty line, which not every reader of
    NDJSON expects: there is none unless asked for.
    """
    return _read(stream, _NDJSON, encode, _period(heartbeat), capacity)


async def respond(
    request: web.BaseRequest, body: AsyncGenerator[bytes], headers: Mapping[str, str] = SSE_HEADERS
) -> web.StreamResponse:
    """Answer an aiohttp `request` with `body`, such as `to_sse(tokens)`, at the client's pace.

    A client that leaves ends it: at once while something is being written to it, and within
    a second while the model is silent. `body` is closed in every case.
    """
    response = web.StreamResponse(headers=headers)
    async with aclosing(body), _while_connected(request):
        await response.prepare(request)
        async for chunk in body:
            await response.write(chunk)
        await response.write_eof()
    return response


def public_facts(error: StreamError) -> dict[str, Json]:
    """Return what a client may know of `error`: its class, its message and its known facts.

    Never what had arrived, a key, a header or what the user wrote. Of errors that concern
    the owner of the key the message is ours: services quote parts of it, and name accounts.
    """
    message = "the server's account or configuration is at fault" if isinstance(error, _OWNERS) else error.message
    facts = {name: value for name in _PUBLIC if (value := getattr(error, name)) is not None}
    return {"type": type(error).__name__, "message": message, **facts}


def _read(
    stream: Observable[Any], wire: _Wire, encode: Callable[[Any], bytes | str], period: float | None, capacity: int
) -> AsyncGenerator[bytes]:
    reader = _Reader(period)
    body = _body(stream, wire, encode, reader, capacity)
    reader.body = weakref.ref(body)
    return body


async def _body(
    stream: Observable[Any], wire: _Wire, encode: Callable[[Any], bytes | str], reader: "_Reader", capacity: int
) -> AsyncGenerator[bytes]:
    try:
        async with iterate(reader.beside(stream), capacity=capacity) as items:
            with reader.waiting():
                async for item in items:
                    reader.goes()
                    if item is _BEAT:
                        yield wire.beat
                    else:
                        data = encode(item)
                        yield wire.item(data.encode() if isinstance(data, str) else data)
                    reader.comes()
        if wire.end:
            yield wire.end
    except StreamError as error:
        yield wire.error(_as_error(public_facts(error)))
    except Exception:
        yield wire.error(_as_error({"type": "InternalError", "message": "the server failed"}))
        raise


class _Reader:
    """Whoever takes a body: brought a beat whenever it has waited for a whole period, and missed when it is gone.

    One that is busy, with a client that does not read, gets no beat. A framework that gives
    up a response cancels the task that reads the body, and does not close the body itself.
    """

    def __init__(self, period: float | None) -> None:
        self.body: weakref.ref[AsyncGenerator[bytes]] | None = None
        """What is read."""
        self._period = period
        self._since: float | None = None  # when it began to wait
        self._emit: Callable[[object], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Any] | None = None
        self._closing: asyncio.Task[None] | None = None

    def beside(self, source: Observable[Any]) -> Observable[Any]:
        """Return `source` with the beats among its items."""
        if self._period is None:
            return source

        def subscribe(
            observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            self._emit = observer.on_next
            return source.subscribe(observer, scheduler=scheduler)

        return Observable(subscribe)

    def comes(self) -> None:
        """Whoever runs this waits from now on."""
        task = asyncio.current_task()
        if task is not self._task:
            self._follow(task)
        if self._period is not None:
            self._since = self._loop.time()

    def goes(self) -> None:
        """It has got something, and is busy."""
        self._since = None

    @contextmanager
    def waiting(self) -> Generator[None]:
        """Take whoever runs this for the reader."""
        self._loop = asyncio.get_running_loop()
        self.comes()
        try:
            self._look()
            yield
        finally:
            self._follow(None)
            self._emit = None
            if self._timer is not None:
                self._timer.cancel()

    def _look(self) -> None:
        """Beat if it is time, and look again when it may be."""
        if self._period is None or self._emit is None:
            return
        now = self._loop.time()
        since = now if self._since is None else self._since
        if now >= since + self._period:
            since = now
            self._emit(_BEAT)
        self._timer = self._loop.call_at(since + self._period, self._look)

    def _follow(self, task: asyncio.Task[Any] | None) -> None:
        if self._task is not None:
            self._task.remove_done_callback(self._miss)
        self._task = task
        if task is not None:
            task.add_done_callback(self._miss)

    def _miss(self, task: asyncio.Task[Any]) -> None:
        """Close the body if its reader was cancelled, or failed; one that is done may leave the rest to another."""
        body = self.body and self.body()
        if body is not None and task is self._task and (task.cancelled() or task.exception() is not None):
            self._closing = self._loop.create_task(body.aclose())


@asynccontextmanager
async def _while_connected(request: web.BaseRequest) -> AsyncGenerator[None]:
    """End the block, without an error, when the client has left."""
    loop = asyncio.get_running_loop()
    presence = asyncio.timeout(None)

    def look() -> None:
        nonlocal timer
        if _has_left(request):
            presence.reschedule(loop.time())
        else:
            timer = loop.call_later(LOOK, look)

    timer = loop.call_later(LOOK, look)  # aiohttp tells nobody, unless it is to cancel the handlers of all requests
    try:
        async with presence:
            yield
    except (ConnectionError, TimeoutError):
        if not _has_left(request):
            raise
    finally:
        timer.cancel()


def _has_left(request: web.BaseRequest) -> bool:
    return request.transport is None or request.transport.is_closing()


def _as_error(facts: dict[str, Json]) -> bytes:
    return msgspec.json.encode({"error": facts})


def _as_event(data: bytes) -> bytes:
    """`data` as the data of an event: each line of it is a field of its own."""
    if b"\n" in data or b"\r" in data:
        data = _LINE_END.sub(b"\ndata: ", data)
    return b"data: %b\n\n" % data


def _as_line(data: bytes) -> bytes:
    return data + b"\n"


def _period(heartbeat: timedelta | None) -> float | None:
    seconds = None if heartbeat is None else heartbeat.total_seconds()
    if seconds is not None and seconds <= 0:
        raise ValueError(f"the heartbeat must be positive, not {heartbeat}")
    return seconds


_SSE = _Wire(_as_event, lambda data: b"event: error\n" + _as_event(data), b":\n\n", _as_event(b"[DONE]"))
_NDJSON = _Wire(_as_line, _as_line, b"\n", b"")
