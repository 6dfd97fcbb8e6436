"""A server that pours out numbered tokens as fast as the system takes them, and knows how much that was.

It speaks OpenAI Chat Completions; the text of token `n` is `n` and a space. It writes
to its sockets without a buffer of its own, so `accepted` is what the system has taken
and nothing else, and it stands still when the client has stopped reading and the
buffers of both kernels are full.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from reactivex import Observable

from rxstream import AiProvider
from rxstream.flow import LARGEST_READ, RetryPolicy
from rxstream.operators import text
from tests.loopback import turns

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1750000000,"model":"flood",'
    b'"choices":[{"index":0,"delta":{"content":"%d "},"logprobs":null,"finish_reason":null}],"usage":null,'
    b'"obfuscation":"%b"}\n\n'
)
LAST = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1750000000,"model":"flood",'
    b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}\n\n'
    b"data: [DONE]\n\n"
)
WRITE = 65_536
"""Bytes of a write and of an HTTP chunk, about."""
NARROW = 262_144
"""Bytes that the kernel is told to hold on either side; by itself the client's would take megabytes."""


class Answer:
    """One answer, as the server sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self.accepted = 0
        """Bytes of it that the system has taken."""
        self.is_blocked = False
        """Whether the system takes no more for now."""
        self.is_whole = False
        self.closed = asyncio.Event()
        """Set when the client has closed the connection, or all is said."""
        self.silence = asyncio.Event()
        """To be set by a test: from then on nothing is written any more."""
        self._connection = connection
        self._task = asyncio.current_task()

    async def stopped(self, count: int = 200) -> int:
        """Wait until the system has taken nothing for so many turns of the loop; return `accepted`."""
        still, before = 0, -1
        while still < count:
            assert not self.closed.is_set(), "the answer is over: nothing stands still"
            await turns(1)
            still = still + 1 if self.is_blocked and self.accepted == before else 0
            before = self.accepted
        return self.accepted

    async def flowed(self, beyond: int) -> None:
        """Wait until the system has taken more than `beyond` bytes."""
        while self.accepted <= beyond:
            await turns(1)

    def reset(self) -> None:
        """Cut the connection, without the courtesy of a FIN."""
        assert self._task is not None
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._task.cancel()

    async def pour(self, writes: Iterator[bytes]) -> None:
        """Write until all is said or the client is gone."""
        try:
            for data in writes:
                left = memoryview(data)
                while left:
                    left = left[await self._send(left) :]
                await asyncio.sleep(0)
                if self.silence.is_set():
                    await self._gone()
            self.is_whole = True
        except ConnectionError:
            self.is_blocked = False  # the client is gone: who wants to know waits for `closed`
        finally:
            self._connection.close()
            self.closed.set()

    async def _gone(self) -> None:
        """Wait until the client closes its side."""
        while await asyncio.get_running_loop().sock_recv(self._connection, WRITE):
            continue
        raise ConnectionError

    async def _send(self, data: memoryview) -> int:
        while True:
            try:
                sent = self._connection.send(data)
            except BlockingIOError:
                self.is_blocked = True
                await writable(self._connection)
            else:
                self.is_blocked = False
                self.accepted += sent
                return sent


class Flood:
    """The server: `tokens` in each answer, in events of `event_size` bytes, over connections of so much `room`."""

    def __init__(self, tokens: int, event_size: int, room: int) -> None:
        self.tokens = tokens
        self.event_size = event_size
        self.room = room
        self.answers: list[Answer] = []
        self.url = ""
        self._came = asyncio.Condition()

    @property
    def unread(self) -> int:
        """Bytes that may be on their way to the client's parser.

        Each kernel holds up to twice what it is told. aiohttp tells it to wait when it
        has two reads, and has got one of asyncio's by then.
        """
        return 4 * self.room + 2 * LARGEST_READ + 262_144

    async def answer(self, number: int = 0) -> Answer:
        """Wait for the answer to the request with this number, counted from 0."""
        async with self._came:
            await self._came.wait_for(lambda: len(self.answers) > number)
        return self.answers[number]

    async def serve(self, connection: socket.socket) -> None:
        """Read one request, answer it, and close the connection."""
        loop = asyncio.get_running_loop()
        received = b""
        while b"\r\n\r\n" not in received:
            received += await loop.sock_recv(connection, WRITE)
        answer = Answer(connection)
        async with self._came:
            self.answers.append(answer)
            self._came.notify_all()
        await answer.pour(self._writes())

    def _writes(self) -> Iterator[bytes]:
        padding = b"x" * (self.event_size - len(EVENT % (0, b"")))
        at_once = WRITE // self.event_size
        yield HEAD
        for first in range(0, self.tokens, at_once):
            numbers = range(first, min(first + at_once, self.tokens))
            yield chunk(b"".join(EVENT % (number, padding) for number in numbers))
        yield chunk(LAST) + chunk(b"")


@asynccontextmanager
async def flooding(tokens: int, event_size: int = 1_000, *, room: int = NARROW) -> AsyncGenerator[Flood]:
    """Serve floods on a free port of loopback."""
    loop = asyncio.get_running_loop()
    flood = Flood(tokens, event_size, room)
    answering: set[asyncio.Task[None]] = set()

    async def accept(listening: socket.socket) -> None:
        while True:
            connection, _ = await loop.sock_accept(listening)
            connection.setblocking(False)
            task = loop.create_task(flood.serve(connection))
            answering.add(task)
            task.add_done_callback(answering.discard)

    with socket.create_server(("127.0.0.1", 0), backlog=1_000) as listening:
        listening.setblocking(False)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)  # those that it accepts inherit it
        flood.url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        accepting = loop.create_task(accept(listening))
        try:
            yield flood
        finally:
            tasks = [accepting, *answering]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def asking(flood: Flood, **options: Any) -> AsyncGenerator[AiProvider]:
    """A provider in front of the flood, over connections whose buffers in the kernel do not grow."""

    def make_socket(address: Any) -> socket.socket:
        made = socket.socket(*address[:3])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, flood.room)
        return made

    connector = aiohttp.TCPConnector(limit=0, socket_factory=make_socket)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        AiProvider(
            "openai.chat",
            base_url=flood.url,
            api_key=None,
            session=session,
            retry=RetryPolicy(retries=0),
            **options,
        ) as provider,
    ):
        yield provider


def asked(provider: AiProvider) -> Observable[str]:
    """The texts of one answer."""
    return provider.stream("How many?", model="flood").pipe(text())


def numbered(count: int, first: int = 0) -> list[str]:
    """What they are to be, in order."""
    return [f"{number} " for number in range(first, first + count)]


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; an empty one ends it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


async def writable(connection: socket.socket) -> None:
    """Wait until the system takes more, or has something to complain of."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(connection)
