"""The server of the benchmarks, in a process of its own: `POST /MODE/COUNT/chat/completions`."""

import asyncio
import re
import socket
import time

from tests.benchmarks.bodies import chat_events

FLOOD_WRITE = 65_536
EVENT_PAUSE = 0.001
"""Seconds between events that come one by one: time enough for any contender to have read the last one."""
BURST, BURSTS = 200, 50
"""How many events come at once, and how often, where each tells when it was written."""
BURST_PAUSE = 0.02
"""Seconds between two bursts."""
NO_STAMP = b"T" * 20
CONTENT = re.compile(rb'"content":"[^"]*"')
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = next(line[15:] for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length))
            _, mode, count, _ = head.split(b" ", 2)[1].split(b"/", 3)
            writer.write(HEAD)
            if mode == b"stamped":
                await _write_stamped(writer, int(count))
                continue
            events = chat_events(int(count))
            if mode == b"flood":
                body = b"".join(events)
                events = [body[start : start + FLOOD_WRITE] for start in range(0, len(body), FLOOD_WRITE)]
            for event in events:
                _write_chunk(writer, event)
                await writer.drain()
                if mode == b"events":
                    await asyncio.sleep(EVENT_PAUSE)
            _write_chunk(writer, b"")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _write_stamped(writer: asyncio.StreamWriter, count: int) -> None:
    """Write an answer in bursts, in which each delta tells the nanoseconds of this system's monotonic clock."""
    first, *deltas, stop, usage, done = chat_events(count)
    ending = b"".join([stop, usage, done])
    burst = CONTENT.sub(b'"content":"%s "' % NO_STAMP, b"".join(deltas[:BURST]))
    _write_chunk(writer, first)
    for _ in range(count // BURST):
        await asyncio.sleep(BURST_PAUSE)
        _write_chunk(writer, burst.replace(NO_STAMP, b"%020d" % time.perf_counter_ns()))
        await writer.drain()
    _write_chunk(writer, ending)
    _write_chunk(writer, b"")
    await writer.drain()


def _write_chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))


async def _serve() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
