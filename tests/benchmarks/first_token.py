"""How soon the first token is there, over loopback from a server that answers at once.

`python -m tests.benchmarks.first_token NAME URL` prints as JSON:

- `cold`: milliseconds from the first question of the process to the first text, when everything is imported;
- `warm`: the same of later questions, over a connection that is open, the median;
- `cpu`: CPU milliseconds for one of these, to the end of its short answer.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from statistics import median
from typing import Any

from tests.benchmarks.contenders import HAND_WRITTEN, MODEL, OPENAI, PROMPT, QUESTION, READ_ONLY, RXSTREAM, Saw

COUNT = 8
"""How many deltas an answer has: it is all in one write."""
WARM = 200
Ask = Callable[[Saw], Any]
"""Asks once, and calls that function for each text, at least for the first; returns when the answer is over."""


@asynccontextmanager
async def read_only(url: str) -> "AsyncGenerator[Ask]":
    """Takes the first bytes for the first text."""
    import aiohttp

    async def ask(saw: Saw) -> None:
        async with session.post(url + "/chat/completions", json=QUESTION) as response:
            async for _ in response.content.iter_any():
                saw()

    async with aiohttp.ClientSession() as session:
        yield ask


@asynccontextmanager
async def hand_written(url: str) -> "AsyncGenerator[Ask]":
    """A careful programmer's loop."""
    import aiohttp

    from tests.benchmarks.by_hand import decode_chat

    async def ask(saw: Saw) -> None:
        rest = b""
        async with session.post(url + "/chat/completions", json=QUESTION) as response:
            async for chunk in response.content.iter_any():
                *events, rest = (rest + chunk).split(b"\n\n")
                for event in events:
                    data = event[6:]
                    if data == b"[DONE]":
                        break  # and read to the end, so that the connection is free
                    for choice in decode_chat(data).choices:
                        if choice.delta.content:
                            saw()

    async with aiohttp.ClientSession() as session:
        yield ask


@asynccontextmanager
async def rxstream_tokens(url: str) -> "AsyncGenerator[Ask]":
    """A provider's stream, subscribed to."""
    from rxstream import AiProvider, TextDelta

    async def ask(saw: Saw) -> None:
        over = asyncio.get_running_loop().create_future()

        def on_next(token: object) -> None:
            if type(token) is TextDelta:
                saw()

        stream = provider.stream(PROMPT, model=MODEL)
        stream.subscribe(on_next, over.set_exception, lambda: over.set_result(None))
        await over

    async with AiProvider("openai.chat", base_url=url, api_key=None) as provider:
        yield ask


@asynccontextmanager
async def openai_sdk(url: str) -> "AsyncGenerator[Ask]":
    """The official SDK."""
    import openai

    async with openai.AsyncOpenAI(api_key="none", base_url=url) as client:
        create: Any = client.chat.completions.create

        async def ask(saw: Saw) -> None:
            stream: Any = await create(**QUESTION)
            async for chunk in stream:
                for choice in chunk.choices:
                    if choice.delta.content:
                        saw()

        yield ask


READERS: dict[str, Callable[[str], AbstractAsyncContextManager[Ask]]] = {
    READ_ONLY: read_only,
    HAND_WRITTEN: hand_written,
    RXSTREAM: rxstream_tokens,
    OPENAI: openai_sdk,
}


async def _figures(name: str, url: str) -> dict[str, float]:
    first = 0.0

    def saw() -> None:
        nonlocal first
        first = first or time.perf_counter()

    waits: list[float] = []
    before = 0.0
    async with READERS[name](f"{url}/{COUNT}") as ask:
        for number in range(1 + WARM):
            if number == 1:
                before = time.process_time()
            first = 0.0
            asked = time.perf_counter()
            await ask(saw)
            waits.append((first - asked) * 1e3)
        spent = time.process_time() - before
    return {"cold": waits[0], "warm": median(waits[1:]), "cpu": spent / WARM * 1e3}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_figures(sys.argv[1], sys.argv[2]))))
