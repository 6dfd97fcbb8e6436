"""Connections that know what aiohttp's own do not tell.

- How far an answer has come: a pooled connection that the server had closed in silence may
  be replaced only as long as no byte of an answer came.
- Where its head ends: aiohttp loses the head of an answer if the same piece goes on with what
  HTTP can't read. Then a body that broke would look like no answer at all, and what had come of
  it would be lost. So the head goes to aiohttp by itself, and what follows it after.
- That it is over: what comes then was asked for by nobody, and the next request on the connection
  would be given it for an answer.
- How it ended: where the end of the connection is that of the body, aiohttp takes a reset for one.
- What waiting costs: asyncio receives into a new buffer of 256 KiB each time, which the C library takes from the
  system and gives back again. For one event that costs more than to read it, several times over.

Where a release of aiohttp makes its connections in another way than we know, they are its own:
then none is ever replaced.
"""

import asyncio
import weakref
from contextvars import ContextVar
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

END_OF_HEAD = b"\r\n\r\n"
RECEIVED_AT_ONCE = 65_536
"""Bytes of the buffer to receive into: below 128 KiB the C library keeps it at hand."""
LONGEST_HEAD = 1024 * 1024
"""Bytes after which no end of a head is looked for; aiohttp refuses it by then."""


class Listening(ResponseHandler):
    """The client's side of a connection."""

    requests = 0
    """How many were sent on it."""
    has_heard = False
    """Whether anything of the answer to the last one has come."""
    _head: bytes | None = None
    """What has come of a head; `None` in a body."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # With TLS there is a second one, for what was deciphered, which asyncio keeps to itself.
        for receiver in (transport, getattr(transport, "_ssl_protocol", None)):
            if isinstance(getattr(receiver, "max_size", None), int):
                setattr(receiver, "max_size", RECEIVED_AT_ONCE)  # noqa: B010  # no type has it
        super().connection_made(transport)

    def set_response_params(self, *params: Any, **named: Any) -> None:
        """Prepare for an answer: aiohttp calls it for each request."""
        self.requests += 1
        self.has_heard = False
        self._head = b""
        super().set_response_params(*params, **named)

    def data_received(self, data: bytes) -> None:
        while self._head is not None and data:
            self.has_heard = True
            before = len(self._head)
            self._head += data
            end = self._head.find(END_OF_HEAD, max(before - len(END_OF_HEAD) + 1, 0))
            if end < 0:
                if len(self._head) > LONGEST_HEAD:
                    self._head = None
                break
            is_interim = self._head[9:10] == b"1"  # "HTTP/1.1 103": another head comes after it
            self._head = b"" if is_interim else None
            rest = end + len(END_OF_HEAD) - before
            super().data_received(data[:rest])
            data = data[rest:]
            if not data or not self.is_connected():
                return
        body = self._payload
        if self._head is None and data and body is not None and body.is_eof():
            self.close()
        else:
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        body = self._payload
        if exc is not None and body is not None and not body.is_eof():
            body.set_exception(aiohttp.ClientPayloadError("the connection was reset"), exc)
        super().connection_lost(exc)


class ConnectionNote:
    """What is known of the connection of one request."""

    def __init__(self) -> None:
        self._connection: Listening | None = None
        self._was_pooled = False

    def take(self, connection: Listening) -> None:
        """Take note of which connection the request is to go out on."""
        self._connection, self._was_pooled = connection, connection.requests > 0

    def forget(self) -> None:
        """Hold the connection no more: timers that it led to hold its context, and so this note."""
        self._connection = None

    @property
    def had_gone_stale(self) -> bool:
        """Whether a connection that broke served before, and gave no byte of an answer now."""
        return self._connection is not None and self._was_pooled and not self._connection.has_heard


asking: ContextVar[ConnectionNote] = ContextVar("asking")
"""The note of the request that a task is about to send."""


class Connector(aiohttp.TCPConnector):
    """Makes and pools connections that listen, and notes which one a request got.

    `owner` closes it when it is collected itself. aiohttp's session and connector complain of not having been
    closed, and the collector may ask them before it asks their owner: then they say nothing.
    """

    def __init__(self, owner: object, **options: Any) -> None:
        super().__init__(**options)  # pyright: ignore[reportUnknownMemberType]  # aiohttp leaves a type of sockets open
        self._owner = weakref.ref(owner)
        self._factory = partial(Listening, loop=self._loop)

    def __del__(self, *others: Any) -> None:
        if self._owner() is not None:
            super().__del__(*others)

    @property
    def closed(self) -> bool:
        """Whether it is closed, or about to be: its owner is being collected."""
        return super().closed or self._owner() is None

    async def connect(self, *request: Any, **options: Any) -> Connection:
        connection = await super().connect(*request, **options)
        note = asking.get(None)
        if note is not None and isinstance(connection.protocol, Listening):
            note.take(connection.protocol)
        return connection
