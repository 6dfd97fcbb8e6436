"""What each operator, tap and preset adds to a token, in memory, with a consumer that looks at nothing.

The source pushes an answer in bursts of 16 tokens, as a socket does. What that costs by
itself is taken off. What carries demand has figures of its own, in `demand.py`; the
presets' other virtues are measured over loopback, in `presets.py`.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from reactivex import Observable, compose
from reactivex import operators as ops

from rxstream import StreamPipelineBuilder, StreamToken, TextDelta, lift
from rxstream import operators as ours
from rxstream.machine import Machine, chain
from rxstream.pipeline import PRESETS
from rxstream.taps import NO_METRICS, MetricsRegistry, StreamMetrics, tap_log, tap_metrics, tap_progress
from tests.benchmarks.bodies import WORDS
from tests.benchmarks.demand import COUNT, demanded, ignore, pushed, same

BURST = 16
ANSWER = [TextDelta(WORDS[number % len(WORDS)]) for number in range(COUNT)]
JSON = [TextDelta("["), *(TextDelta(f'{{"n": {number}}}, ') for number in range(COUNT - 2)), TextDelta("0]")]
"""An array of small objects, one a delta."""
FRAME = timedelta(milliseconds=20)
QUIET = structlog.wrap_logger(
    structlog.ReturnLogger(), processors=[], wrapper_class=structlog.make_filtering_bound_logger(30)
)
REFERENCE = "map (stock)"

Make = Callable[[], Callable[[Observable[Any]], Observable[Any]]]


class Nothing:
    """A machine that does nothing: what `lift` costs."""

    def feed(self, token: StreamToken, /) -> list[StreamToken]:
        return [token]

    def flush(self) -> list[StreamToken]:
        return []


def unchanged(token: StreamToken) -> StreamToken:
    """A function that does nothing."""
    return token


def chained() -> Machine[StreamToken, StreamToken]:
    """Two of them as one machine."""
    return chain(Nothing(), Nothing())


async def passes(_text: str) -> bool:
    """A check that costs nothing."""
    return True


NEW = StreamPipelineBuilder()
OPERATORS: dict[str, Make] = {
    REFERENCE: partial(ops.map, same),
    "lift": partial(lift, Nothing),
    "lift, lift": lambda: compose(lift(Nothing), lift(Nothing)),
    "lift of two machines chained": partial(lift, chained),
    "text": ours.text,
    "tool_calls": ours.tool_calls,
    "retry_before_content": ours.retry_before_content,
    "count_tokens, estimated": ours.count_tokens,
    "budget, estimated": partial(ours.budget, 10 * COUNT),
    "content_filter, 1 word": partial(ours.content_filter, ["gauze"]),
    "content_filter, 1,000 words": partial(ours.content_filter, [f"word{number:03d}x" for number in range(1_000)]),
    "content_filter, 1 pattern": partial(ours.content_filter, patterns=[r"\d{4}-\d{4}"]),
    "redact": ours.redact,
    "take_until_stop": partial(ours.take_until_stop, ["STOP", "\n\nUser:"]),
    "dedupe_repetition": partial(ours.dedupe_repetition, times=10 * COUNT),
    "split_thinking": ours.split_thinking,
    "snapshots": ours.snapshots,
    "accumulate, sentences": partial(ours.accumulate, "sentence"),
    "accumulate, 20 ms": partial(ours.accumulate, within=FRAME),
    "frames, 20 ms": partial(ours.frames, FRAME),
    "throttle_text": partial(ours.throttle_text, 1e9),
    "guard, sampled": partial(ours.guard, passes, mode="sampled"),
    "guard, hold": partial(ours.guard, passes),
}
JSON_OPERATORS: dict[str, Make] = {"partial_json": ours.partial_json, "json_elements": ours.json_elements}
"""These read JSON; the others prose."""
TAPS: dict[str, Make] = {
    "tap_metrics": lambda: tap_metrics(StreamMetrics()),
    "tap_metrics, registry": lambda: tap_metrics(MetricsRegistry()),
    "tap_metrics, NO_METRICS": partial(tap_metrics, NO_METRICS),
    "tap_log, filtered": partial(tap_log, QUIET),
    "tap_progress": partial(tap_progress, ignore),
}
PIPELINES: dict[str, Make] = {
    "pipeline, nothing": NEW.build,
    "pipeline, lift": NEW.add_transformer(Nothing).build,
    "pipeline, function": NEW.add_transformer(unchanged).build,
    "pipeline, metrics": NEW.enable_metrics().build,
    "pipeline, gather 20 ms": NEW.gather(FRAME).build,
    **{f"pipeline, {name}": getattr(NEW, name)().build for name in PRESETS},
}


def measure(rounds: int) -> dict[str, list[float]]:
    """Return the microseconds that each adds to a token in each round, all in turn."""
    figures: dict[str, list[float]] = {}
    for _ in range(rounds):
        alone = _cost(ANSWER)
        for name, make in (OPERATORS | TAPS | PIPELINES).items():
            figures.setdefault(name, []).append(_cost(ANSWER, make) - alone)
        alone = _cost(JSON)
        for name, make in JSON_OPERATORS.items():
            figures.setdefault(name, []).append(_cost(JSON, make) - alone)
    return figures


def _cost(tokens: list[TextDelta], make: Make | None = None) -> float:
    """CPU microseconds a token."""

    async def timed() -> float:
        source = pushed(BURST, tokens=tokens)
        started = time.process_time()
        await demanded(source if make is None else source.pipe(make()))
        return time.process_time() - started

    return asyncio.run(timed()) / COUNT * 1e6
