"""One contender in one process: reads answers, checks them, and prints what they cost as JSON.

    python -m tests.benchmarks.contenders API NAME URL COUNT [--answers PATH] [--uvloop]

`URL` is the server's base for one mode. The cost is the process's CPU time from before a request to after
its last token: the median of several answers of COUNT deltas, after a short one that warms up. With
`--answers`, each delta is answered with a byte on that socket, for which the server waits.

A contender imports what it needs itself, so that none carries the weight of another.
"""

import argparse
import asyncio
import gc
import json
import resource
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.benchmarks.bodies import expected_text

if TYPE_CHECKING:
    import aiohttp
    from reactivex import Observable

    from rxstream import StreamToken

PROMPT = "Why is the sky blue?"
MODEL = "gpt-5"
QUESTION = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
LITELLM_QUESTION = {**QUESTION, "model": "openai/gpt-5"}
MESSAGE = {**QUESTION, "model": "claude-sonnet-4-5", "max_tokens": 1024}
WARM_UP = 50
ANSWERS = 3
READ_ONLY = "aiohttp, read only"
HAND_WRITTEN = "aiohttp + msgspec, hand-written"
RXSTREAM = "rxstream"
DECODE = "rxstream, bare decode"
OPERATORS = "rxstream, five operators"
PIPELINE = "rxstream, full pipeline"
OPENAI = "openai SDK"
ANTHROPIC = "anthropic SDK"
LITELLM = "litellm"

Saw = Callable[[], object]
"""To be called for each delta of text."""
Read = Callable[[str, Saw | None], Awaitable[int]]
"""Reads the answer at a base URL; returns how many characters of text it had."""


@asynccontextmanager
async def _asked(url: str, body: dict[str, Any]) -> "AsyncGenerator[aiohttp.ClientResponse]":
    import aiohttp

    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        yield response


async def read_only(url: str, saw: Saw | None) -> int:
    """Reads the bytes and looks at none of them: what the transport alone costs."""
    return await _read_only(url + "/chat/completions", QUESTION, saw)


async def read_only_messages(url: str, saw: Saw | None) -> int:
    """The same of the other API."""
    return await _read_only(url + "/v1/messages", MESSAGE, saw)


async def _read_only(url: str, body: dict[str, Any], saw: Saw | None) -> int:
    size = 0
    async with _asked(url, body) as response:
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if saw:
                saw()
    return size


async def hand_written(url: str, saw: Saw | None) -> int:
    """What a careful programmer writes with aiohttp and msgspec for this one service."""
    from tests.benchmarks.by_hand import decode_chat

    size, rest = 0, b""
    async with _asked(url + "/chat/completions", QUESTION) as response:
        async for chunk in response.content.iter_any():
            *events, rest = (rest + chunk).split(b"\n\n")
            for event in events:
                data = event[6:]
                if data == b"[DONE]":
                    return size
                for choice in decode_chat(data).choices:
                    if choice.delta.content:
                        size += len(choice.delta.content)
                        if saw:
                            saw()
    return size


async def hand_written_messages(url: str, saw: Saw | None) -> int:
    """The same for Anthropic's."""
    from tests.benchmarks.by_hand import decode_message

    size, rest = 0, b""
    async with _asked(url + "/v1/messages", MESSAGE) as response:
        async for chunk in response.content.iter_any():
            *events, rest = (rest + chunk).split(b"\n\n")
            for event in events:
                found = decode_message(event.partition(b"\ndata: ")[2])
                if found.delta is not None and found.delta.text:
                    size += len(found.delta.text)
                    if saw:
                        saw()
                elif found.type == "message_stop":
                    return size
    return size


async def _length(stream: "Observable[StreamToken]", saw: Saw | None) -> int:
    """Subscribe to the tokens and add up their text."""
    from rxstream import TextDelta

    size = 0
    over = asyncio.get_running_loop().create_future()

    def on_next(token: object) -> None:
        nonlocal size
        if type(token) is TextDelta:
            size += len(token.text)
            if saw:
                saw()

    stream.subscribe(on_next, over.set_exception, lambda: over.set_result(None))
    await over
    return size


async def rxstream_decode(url: str, saw: Saw | None) -> int:
    """The operator alone, behind a response that aiohttp reads."""
    from rxstream import decode, from_async_iterable

    async with _asked(url + "/chat/completions", QUESTION) as response:
        return await _length(from_async_iterable(response.content.iter_any()).pipe(decode("openai.chat")), saw)


async def rxstream_tokens(url: str, saw: Saw | None) -> int:
    """A provider's stream, subscribed to."""
    from rxstream import AiProvider

    async with AiProvider("openai.chat", base_url=url, api_key=None) as provider:
        return await _length(provider.stream(PROMPT, model=MODEL), saw)


async def rxstream_messages(url: str, saw: Saw | None) -> int:
    """The same of the other API."""
    from rxstream import AiProvider

    async with AiProvider("anthropic.messages", base_url=url, api_key="none") as provider:
        return await _length(provider.stream(PROMPT, model="claude-sonnet-4-5", max_tokens=1024), saw)


async def rxstream_operators(url: str, saw: Saw | None) -> int:
    """The same through five stock Rx operators."""
    from reactivex import operators as ops

    from rxstream import AiProvider, TextDelta

    size = 0
    over = asyncio.get_running_loop().create_future()

    def on_next(length: int) -> None:
        nonlocal size
        size += length
        if saw:
            saw()

    async with AiProvider("openai.chat", base_url=url, api_key=None) as provider:
        stream = provider.stream(PROMPT, model=MODEL).pipe(
            ops.filter(lambda token: type(token) is TextDelta),
            ops.map(_text),
            ops.do_action(_look),
            ops.filter(bool),
            ops.map(len),
        )
        stream.subscribe(on_next, over.set_exception, lambda: over.set_result(None))
        await over
    return size


def _text(token: Any) -> str:
    return token.text


def _look(_text: str) -> None:
    """A tap that sees nothing."""


async def rxstream_pipeline(url: str, saw: Saw | None) -> int:
    """The same with everything: counted, filtered, gathered into sentences, behind a queue."""
    from rxstream import AiProvider, StreamMetrics, accumulate, buffered, content_filter, tap_metrics

    async with AiProvider("openai.chat", base_url=url, api_key=None) as provider:
        stream = provider.stream(PROMPT, model=MODEL)
        if saw:  # a sentence is longer than the delta for whose answer the server waits
            stream = stream.pipe(_seen(saw))
        full = stream.pipe(tap_metrics(StreamMetrics()), content_filter(["gauze"]), accumulate("sentence"), buffered())
        return await _length(full, None)


def _seen(saw: Saw) -> "Callable[[Observable[StreamToken]], Observable[StreamToken]]":
    from reactivex import operators as ops

    from rxstream import TextDelta

    def look(token: "StreamToken") -> None:
        if type(token) is TextDelta:
            saw()

    return ops.do_action(look)


async def rxstream_iterate(url: str, saw: Saw | None) -> int:
    """A provider's stream in an `async for`."""
    from rxstream import AiProvider, TextDelta, iterate

    size = 0
    async with (
        AiProvider("openai.chat", base_url=url, api_key=None) as provider,
        iterate(provider.stream(PROMPT, model=MODEL)) as tokens,
    ):
        async for token in tokens:
            if type(token) is TextDelta:
                size += len(token.text)
                if saw:
                    saw()
    return size


async def httpx_sse_json(url: str, saw: Saw | None) -> int:
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
                break
            for choice in json.loads(event.data)["choices"]:
                if text := choice["delta"].get("content"):
                    size += len(text)
                    if saw:
                        saw()
    return size


async def openai_sdk(url: str, saw: Saw | None) -> int:
    """The official SDK."""
    import openai

    async with openai.AsyncOpenAI(api_key="none", base_url=url) as client:
        ask: Any = client.chat.completions.create
        return await _length_of_chunks(await ask(**QUESTION), saw)


async def litellm_sdk(url: str, saw: Saw | None) -> int:
    """The library that many use for all services."""
    ask: Any = import_module("litellm").acompletion  # it wants an older openai than ours, so it lives elsewhere
    return await _length_of_chunks(await ask(**LITELLM_QUESTION, api_key="none", api_base=url), saw)


async def _length_of_chunks(stream: Any, saw: Saw | None) -> int:
    size = 0
    async for chunk in stream:
        for choice in chunk.choices:
            if text := choice.delta.content:
                size += len(text)
                if saw:
                    saw()
    return size


async def anthropic_sdk(url: str, saw: Saw | None) -> int:
    """The official SDK of the other API."""
    import anthropic

    size = 0
    async with anthropic.AsyncAnthropic(api_key="none", base_url=url) as client:
        ask: Any = client.messages.create
        stream: Any = await ask(**MESSAGE)
        async for event in stream:
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                size += len(event.delta.text)
                if saw:
                    saw()
    return size


class Contender(NamedTuple):
    """One way to read an answer."""

    read: Read
    is_slow: bool = False
    """Whether a tenth of the tokens is enough of a measure."""


APIS: dict[str, dict[str, Contender]] = {
    "chat": {
        READ_ONLY: Contender(read_only),
        HAND_WRITTEN: Contender(hand_written),
        RXSTREAM: Contender(rxstream_tokens),
        DECODE: Contender(rxstream_decode),
        OPERATORS: Contender(rxstream_operators),
        PIPELINE: Contender(rxstream_pipeline),
        "rxstream, async for": Contender(rxstream_iterate),
        "httpx-sse + json": Contender(httpx_sse_json),
        OPENAI: Contender(openai_sdk, is_slow=True),
        LITELLM: Contender(litellm_sdk, is_slow=True),
    },
    "messages": {
        READ_ONLY: Contender(read_only_messages),
        HAND_WRITTEN: Contender(hand_written_messages),
        RXSTREAM: Contender(rxstream_messages),
        ANTHROPIC: Contender(anthropic_sdk, is_slow=True),
    },
}


async def _measure(name: str, read: Read, url: str, count: int, saw: Saw | None) -> dict[str, float]:
    costs: list[float] = []
    for asked in [WARM_UP, *[count] * ANSWERS]:
        gc.collect()
        before = time.process_time()
        size = await read(f"{url}/{asked}", saw)
        costs.append((time.process_time() - before) / asked * 1e6)
        if name != READ_ONLY and size != expected_text(asked):
            raise SystemExit(f"{name} read {size} characters, not {expected_text(asked)}")
    return {"cpu": median(costs[1:]), "peak": peak_kib()}


def peak_kib() -> float:
    """The most memory that this process held; what `getrusage` tells may still be its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return float(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def run(main: "Awaitable[Any]", *, on_uvloop: bool = False) -> Any:
    """Run `main` on asyncio's own event loop, or on uvloop's."""

    async def awaited() -> Any:
        return await main

    if on_uvloop:
        import uvloop

        return uvloop.run(awaited())
    return asyncio.run(awaited())


def main() -> None:
    """Measure one contender."""
    parser = argparse.ArgumentParser()
    parser.add_argument("api", choices=APIS)
    parser.add_argument("name")
    parser.add_argument("url")
    parser.add_argument("count", type=int)
    parser.add_argument("--answers")
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    contender = APIS[options.api][options.name]
    count = options.count // 10 if contender.is_slow else options.count
    saw: Saw | None = None
    if options.answers:
        aside = socket.socket(socket.AF_UNIX)
        aside.connect(options.answers)
        saw = partial(aside.send, b".")

    print(json.dumps(run(_measure(options.name, contender.read, options.url, count, saw), on_uvloop=options.uvloop)))


if __name__ == "__main__":
    main()
