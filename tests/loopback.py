"""Servers on loopback that do exactly what a test tells them, and a loop whose clock a test can move."""

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


class Exchange:
    """One connection to a loopback server, as the server sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.head = b""
        self.body = b""

    async def read_request(self) -> bool:
        """Read one request into `head` and `body`; return whether there was one."""
        try:
            self.head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        except asyncio.IncompleteReadError:
            return False
        length = next((line[15:] for line in self.head.split(b"\r\n") if line.startswith(b"content-length:")), b"0")
        self.body = await self.reader.readexactly(int(length))
        return True

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked body; an empty one ends it."""
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def wait_closed_by_client(self) -> None:
        """Return when the client closes its side."""
        while await self.reader.read(65_536):
            pass

    def reset(self) -> None:
        """Cut the connection, without the courtesy of a FIN."""
        linger = struct.pack("ii", 1, 0)  # on, for no time: closing sends a TCP reset
        self.writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


@asynccontextmanager
async def serving(handle: Callable[[Exchange], Awaitable[None]]) -> AsyncGenerator[str]:
    """Serve each connection with `handle`; give the address, and pass on what `handle` raised."""
    failures: list[Exception] = []
    connections: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await handle(Exchange(reader, writer))
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client went away, or the test is over: what a test wants to see of it, it waits for itself
        except Exception as error:
            failures.append(error)
        finally:
            writer.close()
            connections.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()
    if failures:
        raise failures[0]


class MovableLoop(asyncio.SelectorEventLoop):
    """A loop with real sockets whose clock a test moves forward by hand."""

    def __init__(self) -> None:
        super().__init__()
        self._moved = 0.0

    def time(self) -> float:
        return super().time() + self._moved

    def move(self, seconds: float) -> None:
        """Let `seconds` have passed; timers that are due run in the next turn."""
        self._moved += seconds
        self.call_soon(lambda: None)


def run_movable(test: Callable[[MovableLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a test on a `MovableLoop`; every task it leaves behind is a failure."""

    async def run() -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, MovableLoop)
        result = await test(loop)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"
        return result

    with asyncio.Runner(loop_factory=MovableLoop) as runner:
        return runner.run(run())


async def turns(count: int = 10) -> None:
    """Let the loop go round `count` times."""
    for _ in range(count):
        await asyncio.sleep(0)
