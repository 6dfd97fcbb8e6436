"""The server of the benchmarks, in a process of its own: `POST /MODE/COUNT/…` is answered with COUNT deltas.

A path that ends in `messages` is answered as Anthropic does, any other as a chat completion. The modes:

- `flood`: in writes of 64 KiB, as fast as they are taken;
- `events`: one event a write, the next when the client has answered the last one, with a byte on a socket aside;
- `stamped`: in bursts, each delta of which tells when it was written;
- `paced`: 100 such deltas a second; COUNT is `COUNTxSTREAMS`, and all begin when so many streams are open and the
  client has answered;
- `silent`: COUNT deltas, and then nothing until the client goes away.

`python -m tests.benchmarks.server PATH` prints its port; PATH is where the socket for answers will be.
"""

import asyncio
import re
import socket
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from tests.benchmarks.bodies import PACE, Answer, chat, messages

FLOOD_WRITE = 65_536
BURST, BURSTS = 200, 50
"""How many events come at once, and how often, where each tells when it was written."""
BURST_PAUSE = 0.02
"""Seconds between two bursts."""
TICK = 0.000_5
"""Seconds between two looks at which paced streams are due."""
NO_STAMP = b"T" * 20
CONTENT = re.compile(rb'"content":"[^"]*"')
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Answers(asyncio.Protocol):
    """Counts the bytes with which a client answers."""

    def __init__(self) -> None:
        self.count = 0
        self._enough = 0
        self._waiting: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        self.count += len(data)
        if self._waiting is not None and self.count >= self._enough and not self._waiting.done():
            self._waiting.set_result(None)

    async def reach(self, count: int) -> None:
        """Wait until there are so many."""
        if self.count < count:
            self._enough = count
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting


class Waiting(NamedTuple):
    """A stream that waits for the others."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    over: asyncio.Future[None]


class Paced:
    """Streams that wait for each other, and then go on together, spread over the time between two deltas."""

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def write(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: int, streams: int) -> None:
        """Write `count` stamped deltas, once there are so many `streams`."""
        self._waiting = [waiting for waiting in self._waiting if not waiting.reader.at_eof()]  # others have been left
        if not self._waiting:
            ANSWERS.count = 0
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(reader, writer, over))
        if len(self._waiting) == streams:
            group, self._waiting = self._waiting, []
            self._task = asyncio.create_task(_tick(group, count))
        await over


@cache
def make_answer(make: Callable[[int], Answer], count: int) -> Answer:
    """Make an answer once, however many streams ask for it."""
    return make(count)


ANSWERS = Answers()
PACED = Paced()


async def _tick(group: list[Waiting], count: int) -> None:
    before, _, after = _chunk(CONTENT.sub(b'"content":"%s "' % NO_STAMP, chat(1).deltas[0])).partition(NO_STAMP)
    await ANSWERS.reach(1)
    started = time.perf_counter()
    every = len(group) * count
    written = 0
    while written < every:
        due = min(every, int((time.perf_counter() - started) / PACE * len(group)))
        while written < due:
            stream = group[written % len(group)].writer
            stream.write(before + b"%020d" % time.perf_counter_ns() + after)
            written += 1
            if not written % 100:
                await asyncio.sleep(0)  # so that clients that go away are noticed
        await asyncio.sleep(TICK)
    for waiting in group:
        waiting.over.set_result(None)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = next(line[15:] for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length))
            path = head.split(b" ", 2)[1].partition(b"?")[0].decode()
            _, mode, count, _ = path.split("/", 3)
            count, _, streams = count.partition("x")
            answer = make_answer(messages if path.endswith("messages") else chat, int(count))
            if mode == "silent":
                writer.write(HEAD + _chunk(answer.beginning) + b"".join(map(_chunk, answer.deltas)))
                await reader.read()  # until nobody listens any more
            elif mode == "paced":  # after a text, for some hold everything back until there is one
                writer.write(HEAD + _chunk(answer.beginning + answer.deltas[0]))
                await PACED.write(reader, writer, int(count), int(streams))
                writer.write(_chunk(answer.ending) + _chunk(b""))
            else:
                await _write(writer, mode, answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _write(writer: asyncio.StreamWriter, mode: str, answer: Answer) -> None:
    beginning, deltas, ending = answer
    if mode == "flood":
        body = answer.body
        writer.write(HEAD)
        for start in range(0, len(body), FLOOD_WRITE):
            writer.write(_chunk(body[start : start + FLOOD_WRITE]))
            await writer.drain()
        writer.write(_chunk(b""))
        return
    writer.write(HEAD + _chunk(beginning))
    if mode == "events":
        ANSWERS.count = 0
        for number, delta in enumerate(deltas, 1):
            writer.write(_chunk(delta))
            await ANSWERS.reach(number)
    else:
        await _write_stamped(writer, deltas)
    writer.write(_chunk(ending) + _chunk(b""))


async def _write_stamped(writer: asyncio.StreamWriter, deltas: list[bytes]) -> None:
    """Write bursts, in which each delta tells the nanoseconds of this system's monotonic clock."""
    burst = CONTENT.sub(b'"content":"%s "' % NO_STAMP, b"".join(deltas[:BURST]))
    for _ in range(len(deltas) // BURST):
        await asyncio.sleep(BURST_PAUSE)
        writer.write(_chunk(burst.replace(NO_STAMP, b"%020d" % time.perf_counter_ns())))
        await writer.drain()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _serve(answers: str) -> None:
    await asyncio.get_running_loop().create_unix_server(lambda: ANSWERS, answers)
    server = await asyncio.start_server(_answer, "127.0.0.1", 0, backlog=1_000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
