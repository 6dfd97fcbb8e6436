"""What streams hold in memory that are open: `python -m tests.benchmarks.held KIND NAME URL`.

It prints as JSON by how many KiB the process has grown for each stream, `held`. KIND is

- `idle`: after a first text the server is silent;
- `stalled`: the server would go on, but after a first text nobody reads.
"""

import asyncio
import gc
import json
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from tests.benchmarks.contenders import HAND_WRITTEN, MODEL, PROMPT, QUESTION, READ_ONLY, RXSTREAM
from tests.end_to_end.reader import resident

if TYPE_CHECKING:
    import aiohttp

ITERATED = "rxstream, async for"
KINDS = {"idle": ("silent/1", 500), "stalled": ("flood/20000", 20)}
"""Which answers, and how many."""
SETTLED = 0.5
"""Seconds after which a stream holds all that it will."""
Open = Callable[[AsyncExitStack, str], Awaitable[Callable[[], Awaitable[None]]]]
"""Makes a client; what it returns opens one stream and returns when its first text was there."""


def _session() -> "aiohttp.ClientSession":
    import aiohttp

    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def read_only(stack: AsyncExitStack, url: str) -> Callable[[], Awaitable[None]]:
    """Has a task for each stream that looks at no byte, and reads until it should not."""
    session = await stack.enter_async_context(_session())

    async def read(opened: asyncio.Event) -> None:
        async with session.post(url + "/chat/completions", json=QUESTION) as response:
            async for _ in response.content.iter_any():
                opened.set()
                if not reads_on(url):
                    await asyncio.Event().wait()

    return lambda: _in_task(stack, read)


async def hand_written(stack: AsyncExitStack, url: str) -> Callable[[], Awaitable[None]]:
    """Has a task for each stream with a careful programmer's loop."""
    from tests.benchmarks.by_hand import decode_chat

    session = await stack.enter_async_context(_session())

    async def read(opened: asyncio.Event) -> None:
        rest = b""
        async with session.post(url + "/chat/completions", json=QUESTION) as response:
            async for chunk in response.content.iter_any():
                *events, rest = (rest + chunk).split(b"\n\n")
                for event in events:
                    for choice in decode_chat(event[6:]).choices:
                        if choice.delta.content:
                            opened.set()
                            if not reads_on(url):
                                await asyncio.Event().wait()

    return lambda: _in_task(stack, read)


async def rxstream_tokens(stack: AsyncExitStack, url: str) -> Callable[[], Awaitable[None]]:
    """Subscribes with a gate, which it closes when it should not read on."""
    from rxstream import AiProvider, TextDelta
    from rxstream.schedulers import FlowScheduler

    provider = await stack.enter_async_context(AiProvider("openai.chat", base_url=url, api_key=None))

    async def open_one() -> None:
        opened = asyncio.Event()
        scheduler = FlowScheduler(asyncio.get_running_loop())

        def on_next(token: object) -> None:
            if type(token) is TextDelta and not opened.is_set():
                opened.set()
                if not reads_on(url):
                    scheduler.gate.close(opened)

        subscription = provider.stream(PROMPT, model=MODEL).subscribe(on_next, scheduler=scheduler)
        stack.callback(subscription.dispose)
        await opened.wait()

    return open_one


async def rxstream_iterate(stack: AsyncExitStack, url: str) -> Callable[[], Awaitable[None]]:
    """Has a task for each stream with an `async for`."""
    from rxstream import AiProvider, TextDelta, iterate

    provider = await stack.enter_async_context(AiProvider("openai.chat", base_url=url, api_key=None))

    async def read(opened: asyncio.Event) -> None:
        async with iterate(provider.stream(PROMPT, model=MODEL)) as tokens:
            async for token in tokens:
                if type(token) is TextDelta:
                    opened.set()
                    if not reads_on(url):
                        await asyncio.Event().wait()

    return lambda: _in_task(stack, read)


def reads_on(url: str) -> bool:
    """Whether the consumer wants more."""
    return "/silent/" in url


async def _in_task(stack: AsyncExitStack, read: Callable[[asyncio.Event], Coroutine[None, None, None]]) -> None:
    opened = asyncio.Event()
    task = asyncio.create_task(read(opened))
    stack.callback(task.cancel)
    await opened.wait()


HOLDERS: dict[str, Open] = {
    READ_ONLY: read_only,
    HAND_WRITTEN: hand_written,
    RXSTREAM: rxstream_tokens,
    ITERATED: rxstream_iterate,
}


async def _figures(kind: str, name: str, base: str) -> dict[str, float]:
    path, streams = KINDS[kind]
    async with AsyncExitStack() as stack:
        open_one = await HOLDERS[name](stack, f"{base}/{path}")
        await open_one()
        gc.collect()
        before = resident()
        for _ in range(streams):
            await open_one()
        await asyncio.sleep(SETTLED)
        gc.collect()
        return {"held": (resident() - before) / streams}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_figures(*sys.argv[1:4]))))
