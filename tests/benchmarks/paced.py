"""Many streams at the pace of models: what they cost, and how late their tokens are, over loopback.

`python -m tests.benchmarks.paced NAME URL ANSWERS STREAMS COUNT [--uvloop]` opens STREAMS answers of 100 deltas a
second, each of which tells when it was written; when all are open, the server is told to begin by a byte on the
socket ANSWERS. It prints as JSON:

- `cpu`: CPU milliseconds for a second of one stream, once all of them are open;
- `median` and `p99`: microseconds from when the server wrote a delta to when its text was there, the median and the
  99th percentile;
- `length`: how long the answers took, over how long they should have: more than 1 where somebody could not keep up.
"""

import argparse
import asyncio
import gc
import json
import re
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from tests.benchmarks.bodies import PACE
from tests.benchmarks.contenders import HAND_WRITTEN, MODEL, OPENAI, PROMPT, QUESTION, READ_ONLY, RXSTREAM, run

if TYPE_CHECKING:
    import aiohttp

COUNTS = {1: 300, 10: 300, 100: 200, 1_000: 50}
"""How many deltas each of so many streams has."""
FEW = 10
"""More streams than these are too many for an SDK and one processor."""
UNITS = {
    "cpu": "CPU milliseconds a second of one stream",
    "median": "microseconds from the server",
    "p99": "microseconds from the server",
    "length": "seconds for a second",
}
"""What each figure is in."""
STAMP = re.compile(r"\d{20}")


class Watch:
    """Notes when each text came; what it tells is read off when all is over."""

    def __init__(self, streams: int, begin: Callable[[], object]) -> None:
        self.seen: list[tuple[int, str | bytes]] = []
        self.began = 0.0
        self._closed = streams
        self._begin = begin

    def saw(self, text: str | bytes) -> None:
        """Note a text; the first of each stream only says that it is open."""
        if self._closed:
            self._closed -= 1
            if not self._closed:
                self.began = time.process_time()
                self._begin()
        else:
            self.seen.append((time.perf_counter_ns(), text))

    def ages(self) -> list[float]:
        """Return the microseconds that each delta was on its way."""
        return [(now - stamp) / 1e3 for now, stamp in self._stamped()]

    def seconds(self) -> float:
        """Return how long it was from when the first was written to when the last was there."""
        stamped = self._stamped()
        return (max(now for now, _ in stamped) - min(stamp for _, stamp in stamped)) / 1e9

    def _stamped(self) -> list[tuple[int, int]]:
        texts = ((now, text if isinstance(text, str) else text.decode()) for now, text in self.seen)
        return [(now, int(stamp)) for now, text in texts for stamp in STAMP.findall(text)]


def _session() -> "aiohttp.ClientSession":
    import aiohttp

    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None))


async def read_only(url: str, streams: int, watch: Watch) -> None:
    """Looks at no byte before all is over."""

    async def read() -> None:
        async with session.post(url + "/chat/completions", json=QUESTION) as response:
            async for chunk in response.content.iter_any():
                watch.saw(chunk)

    async with _session() as session, asyncio.TaskGroup() as group:
        for _ in range(streams):
            group.create_task(read())


async def hand_written(url: str, streams: int, watch: Watch) -> None:
    """A careful programmer's loop, one a stream."""
    from tests.benchmarks.by_hand import decode_chat

    async def read() -> None:
        rest = b""
        async with session.post(url + "/chat/completions", json=QUESTION) as response:
            async for chunk in response.content.iter_any():
                *events, rest = (rest + chunk).split(b"\n\n")
                for event in events:
                    data = event[6:]
                    if data == b"[DONE]":
                        return
                    for choice in decode_chat(data).choices:
                        if choice.delta.content:
                            watch.saw(choice.delta.content)

    async with _session() as session, asyncio.TaskGroup() as group:
        for _ in range(streams):
            group.create_task(read())


async def rxstream_tokens(url: str, streams: int, watch: Watch) -> None:
    """One provider, and a subscription for each stream."""
    from rxstream import AiProvider, TextDelta

    def on_next(token: object) -> None:
        if type(token) is TextDelta:
            watch.saw(token.text)

    async with AiProvider("openai.chat", base_url=url, api_key=None) as provider:
        answers = provider.stream(PROMPT, model=MODEL)
        ends: list[asyncio.Future[None]] = []
        for _ in range(streams):
            over = asyncio.get_running_loop().create_future()
            ends.append(over)
            answers.subscribe(on_next, over.set_exception, lambda over=over: over.set_result(None))
        await asyncio.gather(*ends)


async def openai_sdk(url: str, streams: int, watch: Watch) -> None:
    """One client, and a task for each stream."""
    import openai

    async with openai.AsyncOpenAI(api_key="none", base_url=url) as client, asyncio.TaskGroup() as group:
        ask: Any = client.chat.completions.create

        async def read() -> None:
            stream: Any = await ask(**QUESTION)
            async for chunk in stream:
                for choice in chunk.choices:
                    if choice.delta.content:
                        watch.saw(choice.delta.content)

        for _ in range(streams):
            group.create_task(read())


READERS: dict[str, Callable[[str, int, Watch], Awaitable[None]]] = {
    READ_ONLY: read_only,
    HAND_WRITTEN: hand_written,
    RXSTREAM: rxstream_tokens,
    OPENAI: openai_sdk,
}


async def _figures(name: str, url: str, answers: str, streams: int, count: int) -> dict[str, float]:
    aside = socket.socket(socket.AF_UNIX)
    aside.connect(answers)
    begin = partial(aside.send, b".")
    await READERS[name](f"{url}/20x1", 1, Watch(1, begin))
    gc.collect()
    watch = Watch(streams, begin)
    await READERS[name](f"{url}/{count}x{streams}", streams, watch)
    spent = time.process_time() - watch.began
    ages = watch.ages()
    if len(ages) != streams * count:
        raise SystemExit(f"{name} read {len(ages)} deltas, not {streams * count}")
    percentiles = quantiles(ages, n=100)
    return {
        "cpu": spent * 1e3 / (streams * count * PACE),
        "median": percentiles[49],
        "p99": percentiles[98],
        "length": watch.seconds() / (count * PACE),
    }


def main() -> None:
    """Measure one contender."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("url")
    parser.add_argument("answers")
    parser.add_argument("streams", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    figures = _figures(options.name, options.url, options.answers, options.streams, options.count)
    print(json.dumps(run(figures, on_uvloop=options.uvloop)))


if __name__ == "__main__":
    main()
