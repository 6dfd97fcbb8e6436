"""A client in a process of its own, whose memory can be looked at.

    python -m tests.end_to_end.reader SMALL LARGE STREAMS

It reads a small answer from the address SMALL, so that everything is loaded, and then
subscribes to STREAMS answers from LARGE under one controller. For each number in its
input it takes so many tokens of each, makes sure of their order, and prints as JSON
what it holds and by how much its memory has grown.
"""

import asyncio
import gc
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

from reactivex import Observable

from rxstream import AiProvider, iterate
from rxstream.flow import StreamBackpressureController
from rxstream.operators import text


def resident() -> int:
    """Return how many KiB of this process are in memory."""
    exact, usual = Path("/proc/self/smaps_rollup"), Path("/proc/self/status")  # the latter lags where cores are many
    source, name = (exact, "Rss:") if exact.exists() else (usual, "VmRSS:")
    return next(int(line.split()[1]) for line in source.read_text().splitlines() if line.startswith(name))


def asked(provider: AiProvider) -> Observable[str]:
    return provider.stream("How many?", model="flood").pipe(text())


async def take(tokens: AsyncIterator[str], first: int, count: int) -> None:
    for number in range(first, first + count):
        token = await anext(tokens)
        assert token == f"{number} ", f"token {number} is {token!r}"


async def main(small: str, large: str, count: int) -> None:
    """Read, and report."""
    loop = asyncio.get_running_loop()
    controller = StreamBackpressureController()
    async with (
        AiProvider("openai.chat", base_url=small, api_key=None) as warm_up,
        AiProvider("openai.chat", base_url=large, api_key=None, controller=controller) as provider,
        AsyncExitStack() as stack,
    ):
        async with iterate(asked(warm_up)) as tokens:
            async for _ in tokens:
                continue
        await loop.run_in_executor(None, gc.collect)  # there, so that the thread is started too
        before = resident()

        streams = [await stack.enter_async_context(iterate(asked(provider))) for _ in range(count)]
        taken = 0
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            more = int(line)
            await asyncio.gather(*(take(tokens, taken, more) for tokens in streams))
            taken += more
            figures = controller.snapshot()
            report = {
                "grown": (resident() - before) * 1024,
                "peak_items": figures.peak_items,
                "peak_bytes": figures.peak_bytes,
            }
            sys.stdout.write(json.dumps(report) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
