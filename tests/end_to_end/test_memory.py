"""What a slow consumer of a flood costs its process in memory, seen from outside of our own figures."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from rxstream.flow import LARGEST_READ
from tests.end_to_end.flood import Flood, flooding

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="there is no /proc here to read a process's memory from"
)

ROOT = Path(__file__).resolve().parents[2]
WHOLE, SIZE = 100_000, 1_000
"""Tokens and bytes of their events: an answer of 100 MB."""
EACH_CONNECTION = 2 * LARGEST_READ + 262_144 + 100_000
"""Bytes that aiohttp holds before it makes the kernel wait, one read of asyncio's, and the objects around them."""


class Reader:
    """The client of `reader.py`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def take(self, count: int) -> dict[str, int]:
        """Let it take so many tokens of each stream; return what it then holds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"%d\n" % count)
        answer = await self._process.stdout.readline()
        assert answer, "the reader is gone; what it had to say is in the captured stderr"
        return json.loads(answer)


@asynccontextmanager
async def reading(small: Flood, large: Flood, streams: int) -> AsyncGenerator[Reader]:
    """Run a reader."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.end_to_end.reader", small.url, large.url, str(streams)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Reader(process)
    finally:
        process.kill()
        await process.communicate()


async def test_a_hundred_megabytes_wait_at_the_server_and_not_in_the_client() -> None:
    async with flooding(50) as small, flooding(WHOLE, SIZE) as large, reading(small, large, 1) as reader:
        held: list[dict[str, int]] = []
        for _ in range(10):
            held.append(await reader.take(100))
            await large.answers[0].stopped()
            held.append(await reader.take(1))
        accepted = large.answers[0].accepted
        later = await reader.take(WHOLE // 2)

    assert max(each["grown"] for each in held) < 2_000_000
    assert max(each["peak_items"] for each in held) <= 1_024 + LARGEST_READ // SIZE + 1
    assert accepted < 20_000_000  # the kernels take what they like, but not for long
    assert later["grown"] < 10_000_000  # and that is the text of the answer, kept for its `partial`


async def test_a_hundred_streams_hold_what_their_controller_says_and_a_little_for_each_connection() -> None:
    async with flooding(50) as small, flooding(WHOLE, SIZE) as large, reading(small, large, 100) as reader:
        held = [await reader.take(10)]
        for answer in large.answers:
            await answer.stopped(20)
        held.append(await reader.take(10))

    assert len(large.answers) == 100
    assert max(each["peak_items"] for each in held) <= 4_096
    assert max(each["peak_bytes"] for each in held) < 2_000_000
    assert max(each["grown"] for each in held) < 2_000_000 + 100 * EACH_CONNECTION
