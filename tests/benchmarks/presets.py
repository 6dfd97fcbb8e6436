"""What each preset of a pipeline is good for, over loopback, each in a process of its own.

`python -m tests.benchmarks.presets NAME URL` prints as JSON, for the preset NAME or for a
pipeline with none:

- `cpu`: CPU microseconds for a token of a flood, read in an `async for` that looks at each;
- `median` and `late`: microseconds from when the server wrote a token to when it was
  read, the median and the 99th percentile, of an answer that comes in bursts;
- `first`: the same of the first token of each burst;
- `behind`: milliseconds from when the server wrote a token to when a consumer was done
  with it that takes one for each token, the median;
- `held`: KiB by which the process has grown for each of many answers whose reader has
  stopped after the first token.
"""

import asyncio
import gc
import json
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from statistics import median, quantiles

from rxstream import AiProvider, StreamingPipeline, StreamPipelineBuilder, StreamToken, TextDelta, iterate, map_async
from tests.benchmarks.bodies import expected_text
from tests.benchmarks.server import BURST, BURSTS
from tests.end_to_end.reader import resident

NONE = "no preset"
BUILDERS = {
    NONE: StreamPipelineBuilder(),
    "low_latency": StreamPipelineBuilder().low_latency(),
    "balanced": StreamPipelineBuilder().balanced(),
    "high_throughput": StreamPipelineBuilder().high_throughput(),
    "low_memory": StreamPipelineBuilder().low_memory(),
}
UNITS = {
    "cpu": "CPU microseconds a token",
    "median": "microseconds from the server",
    "late": "microseconds from the server",
    "first": "microseconds from the server",
    "behind": "milliseconds from the server",
    "held": "KiB a stream",
}
"""What each figure is in."""
COUNT = 20_000
WARM_UP = 500
STALLED = 20
"""Streams whose reader has stopped."""
SETTLED = 0.5
"""Seconds after which a stopped stream has read all that it will."""


def measure(base: str, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return every figure of each preset in each round, the presets in turn."""
    figures: dict[str, dict[str, list[float]]] = {figure: {} for figure in UNITS}
    for _ in range(rounds):
        for name in BUILDERS:
            command = [sys.executable, "-m", "tests.benchmarks.presets", name, base]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            for figure, value in json.loads(done.stdout).items():
                figures[figure].setdefault(name, []).append(value)
    return figures


def pipeline_at(name: str, url: str) -> StreamingPipeline:
    """The pipeline of that name, in front of the server."""
    provider = AiProvider("openai.chat", base_url=url, api_key=None)
    return BUILDERS[name].with_provider(provider).with_model("gpt-5").build()


async def cpu(name: str, base: str, count: int) -> float:
    """CPU microseconds a token."""
    pipeline = pipeline_at(name, f"{base}/flood/{count}")
    size, before = 0, time.process_time()
    async with iterate(pipeline.run("Why is the sky blue?")) as tokens:
        async for token in tokens:
            if type(token) is TextDelta:
                size += len(token.text)
    assert size == expected_text(count)
    return (time.process_time() - before) / count * 1e6


async def ages(name: str, base: str) -> list[list[float]]:
    """Microseconds from the server to the reader, of the tokens of each burst; those that were joined came at once."""
    pipeline = pipeline_at(name, f"{base}/stamped/{BURST * BURSTS}")
    found: list[float] = []
    async with iterate(pipeline.run("What time is it?")) as tokens:
        async for token in tokens:
            if type(token) is TextDelta:
                now = time.perf_counter_ns()
                found += [(now - int(stamp)) / 1e3 for stamp in token.text.split()]
    assert len(found) == BURST * BURSTS
    return [found[first : first + BURST] for first in range(0, len(found), BURST)][1:]  # all are late at first


async def behind(name: str, base: str) -> float:
    """Milliseconds until a consumer that takes one for each token is done with a token."""
    pipeline = pipeline_at(name, f"{base}/stamped/{BURST * 5}")
    found: list[float] = []

    async def consume(token: StreamToken) -> None:
        await asyncio.sleep(0.001)
        if type(token) is TextDelta:
            found.extend((time.perf_counter_ns() - int(stamp)) / 1e6 for stamp in token.text.split())

    async with iterate(pipeline.run("What time is it?").pipe(map_async(consume))) as done:
        async for _ in done:
            continue
    assert len(found) == BURST * 5
    return median(found)


async def held(name: str, base: str) -> float:
    """KiB for each stream that nobody reads on."""
    pipeline = pipeline_at(name, f"{base}/flood/{COUNT}")
    gc.collect()
    before = resident()
    async with AsyncExitStack() as stack:
        for _ in range(STALLED):
            await anext(await stack.enter_async_context(iterate(pipeline.run("Why is the sky blue?"))))
        await asyncio.sleep(SETTLED)
        gc.collect()
        return (resident() - before) / STALLED


async def _figures(name: str, base: str) -> dict[str, float]:
    await cpu(name, base, WARM_UP)
    cost = await cpu(name, base, COUNT)
    bursts = await ages(name, base)
    every = [age for burst in bursts for age in burst]
    return {
        "cpu": cost,
        "median": median(every),
        "late": quantiles(every, n=100)[-1],
        "first": median(burst[0] for burst in bursts),
        "behind": await behind(name, base),
        "held": await held(name, base),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_figures(sys.argv[1], sys.argv[2]))))
