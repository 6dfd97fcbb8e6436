"""A response body that somebody already has, as a stream of tokens."""

from collections.abc import AsyncIterable, Iterable
from contextlib import aclosing
from typing import Any

import aiohttp
import reactivex
from reactivex import Observable, abc

from rxstream.dialect import BodyReader, Dialect
from rxstream.dialects import dialect as named
from rxstream.flow import StreamBackpressureController
from rxstream.rx import lift
from rxstream.sources.async_iterable import each
from rxstream.sources.deadlines import Deadlines, Watchdog
from rxstream.sources.http import as_transport_errors, check_status, push_chunk, read_response
from rxstream.sources.pump import Pump, pumped
from rxstream.tokens import StreamToken

_BYTES = bytes | bytearray | memoryview

Body = aiohttp.ClientResponse | bytes | AsyncIterable[bytes] | Iterable[bytes] | Observable[bytes]


class HttpStreamHandler:
    """What makes a stream of tokens of an HTTP response, or of any bytes, in one dialect.

    `deadlines` hold for what is read here: the first content, silence and the
    whole; the connection is the caller's. `controller` bounds what several streams
    hold together. Raises `ConfigurationError` for an
    unknown dialect.
    """

    def __init__(
        self,
        dialect: Dialect[Any] | str,
        *,
        deadlines: Deadlines | None = None,
        controller: StreamBackpressureController | None = None,
        raw_events: bool = False,
    ) -> None:
        self.dialect = named(dialect)
        self.deadlines = deadlines or Deadlines()
        self.controller = controller
        self._raw_events = raw_events

    def __repr__(self) -> str:
        return f"HttpStreamHandler({self.dialect.name!r})"

    def into_stream(self, body: Body) -> Observable[StreamToken]:
        """Return the tokens of `body`.

        `body` is an open `aiohttp.ClientResponse` (its status is looked at; it is
        closed in the end), an async iterable or an iterable of bytes, the bytes
        themselves, or an `Observable[bytes]`. The stream can be subscribed to as
        often as the body can be read, which for a response is once, and on its own loop.
        """

        def tokens(_scheduler: abc.SchedulerBase) -> Observable[StreamToken]:
            reader = self.dialect.read_body(raw_events=self._raw_events)
            return self._chunks(body, reader).pipe(lift(lambda: reader))

        return reactivex.defer(tokens)

    def _chunks(self, body: Body, reader: BodyReader[Any]) -> Observable[bytes]:
        if isinstance(body, Observable):
            return body

        async def read(pump: Pump[bytes]) -> None:
            watchdog = Watchdog(pump.loop, self.deadlines, pump.fail)
            pump.on_pause, pump.on_resume = watchdog.pause, watchdog.resume
            try:
                if isinstance(body, aiohttp.ClientResponse):
                    await self._read_response(pump, body, watchdog, reader)
                else:
                    async with aclosing(each([body] if isinstance(body, _BYTES) else body)) as chunks:
                        async for chunk in chunks:
                            if not await push_chunk(pump, bytes(chunk), watchdog, reader):
                                return
            finally:
                watchdog.stop()

        return pumped(read, self.controller, on_stop=body.close if isinstance(body, aiohttp.ClientResponse) else None)

    async def _read_response(
        self, pump: Pump[bytes], response: aiohttp.ClientResponse, watchdog: Watchdog, reader: BodyReader[Any]
    ) -> None:
        with as_transport_errors(str(response.url), self.deadlines):
            await check_status(response, self.dialect.read_error)
            await read_response(pump, response, self.dialect.read_error, watchdog, reader)
