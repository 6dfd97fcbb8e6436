"""One contender in one process: reads one answer, checks it, and prints what it cost as JSON.

`python -m tests.benchmarks.contenders NAME URL COUNT`; `URL` is the server's base for one mode. The cost is
the process's CPU time from before the request to after its last token; a first, short answer warms it up.
"""

import asyncio
import json
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from tests.benchmarks.bodies import expected_text

QUESTION = {"model": "gpt-5", "stream": True, "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
Read = Callable[[str], Awaitable[int]]
"""Reads the answer at a base URL; returns how many characters of text it had."""


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta


class _Chunk(msgspec.Struct):
    choices: list[_Choice]


async def _responses(url: str) -> AsyncIterator[bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + "/chat/completions", json=QUESTION) as response,
    ):
        async for chunk in response.content.iter_any():
            yield chunk


async def read_only(url: str) -> int:
    """Reads the bytes and looks at none of them: what the transport alone costs."""
    size = 0
    async for chunk in _responses(url):
        size += len(chunk)
    return size


async def hand_written(url: str) -> int:
    """What a careful programmer writes with aiohttp and msgspec for this one service."""
    decode = msgspec.json.Decoder(_Chunk).decode
    size, rest = 0, b""
    async for chunk in _responses(url):
        *events, rest = (rest + chunk).split(b"\n\n")
        for event in events:
            data = event[6:]
            if data == b"[DONE]":
                return size
            for choice in decode(data).choices:
                if choice.delta.content:
                    size += len(choice.delta.content)
    return size


async def rxstream_tokens(url: str) -> int:
    """A provider's stream, subscribed to."""
    from rxstream import AiProvider, TextDelta

    size = 0
    over = asyncio.get_running_loop().create_future()

    def on_next(token: object) -> None:
        nonlocal size
        if type(token) is TextDelta:
            size += len(token.text)

    async with AiProvider("openai.chat", base_url=url, api_key=None) as provider:
        stream = provider.stream("Why is the sky blue?", model="gpt-5")
        stream.subscribe(on_next, over.set_exception, lambda: over.set_result(None))
        await over
    return size


async def rxstream_operators(url: str) -> int:
    """The same through five stock Rx operators."""
    from reactivex import operators as ops

    from rxstream import AiProvider, TextDelta

    size = 0
    over = asyncio.get_running_loop().create_future()

    def on_next(length: int) -> None:
        nonlocal size
        size += length

    async with AiProvider("openai.chat", base_url=url, api_key=None) as provider:
        stream = provider.stream("Why is the sky blue?", model="gpt-5").pipe(
            ops.filter(lambda token: type(token) is TextDelta),
            ops.map(_text),
            ops.do_action(_look),
            ops.filter(bool),
            ops.map(_length),
        )
        stream.subscribe(on_next, over.set_exception, lambda: over.set_result(None))
        await over
    return size


def _text(token: Any) -> str:
    return token.text


def _look(_text: str) -> None:
    """A tap that sees nothing."""


def _length(text: str) -> int:
    return len(text)


async def rxstream_iterate(url: str) -> int:
    """A provider's stream in an `async for`."""
    from rxstream import AiProvider, TextDelta, iterate

    size = 0
    async with (
        AiProvider("openai.chat", base_url=url, api_key=None) as provider,
        iterate(provider.stream("Why is the sky blue?", model="gpt-5")) as tokens,
    ):
        async for token in tokens:
            if type(token) is TextDelta:
                size += len(token.text)
    return size


async def httpx_sse_json(url: str) -> int:
    """httpx, httpx-sse and the json module."""
    import httpx
    from httpx_sse import aconnect_sse

    size = 0
    async with (
        httpx.AsyncClient() as client,
        aconnect_sse(client, "POST", url + "/chat/completions", json=QUESTION) as source,
    ):
        async for event in source.aiter_sse():
            if event.data == "[DONE]":
                return size
            for choice in json.loads(event.data)["choices"]:
                size += len(choice["delta"].get("content") or "")
    return size


async def openai_sdk(url: str) -> int:
    """The official SDK."""
    import openai

    size = 0
    async with openai.AsyncOpenAI(api_key="none", base_url=url) as client:
        ask: Any = client.chat.completions.create
        stream: Any = await ask(**QUESTION)
        async for chunk in stream:
            for choice in chunk.choices:
                size += len(choice.delta.content or "")
    return size


CONTENDERS: dict[str, Read] = {
    "aiohttp, read only": read_only,
    "aiohttp + msgspec, hand-written": hand_written,
    "rxstream": rxstream_tokens,
    "rxstream, five operators": rxstream_operators,
    "rxstream, async for": rxstream_iterate,
    "httpx-sse + json": httpx_sse_json,
    "openai SDK": openai_sdk,
}
WARM_UP = 50


async def _measure(name: str, url: str, count: int) -> dict[str, float]:
    read = CONTENDERS[name]
    await read(f"{url}/{WARM_UP}")
    cpu, wall = time.process_time(), time.perf_counter()
    size = await read(f"{url}/{count}")
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if read is not read_only and size != expected_text(count):
        raise SystemExit(f"{name} read {size} characters, not {expected_text(count)}")
    return {"cpu": cpu, "wall": wall, "peak_kib": _peak_kib()}


def _peak_kib() -> float:
    """The most memory that this process held; what `getrusage` tells may still be its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return float(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measure(sys.argv[1], sys.argv[2], int(sys.argv[3])))))
