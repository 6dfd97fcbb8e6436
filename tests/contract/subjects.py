"""Everything that the contract is held against: every public operator, source and sink, and how each is made.

A new one needs one line here, in `STAGES`, `SOURCES` or `SINKS`; until it has one,
`test_completeness.py` fails. Something public that is none of the three goes to
`EXEMPT`, with the reason.

    (redact, ""): Stage(partial(redact, ["secret"]), TOKENS, gives=fed(lambda: Redactor(["secret"]))),

Times and capacities are small: the laws also run in real time.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import structlog
from reactivex import Observable

from rxstream.dialects import dialect
from rxstream.flow import Overflow
from rxstream.framing import AwsEventStreamParser, NdjsonParser, SseEvent, SseParser
from rxstream.framing.recording import Chunk
from rxstream.machine import Machine
from rxstream.messages import AssembledMessage, MessageAssembler
from rxstream.operators import (
    ContentFilter,
    JsonElementReader,
    MessageSnapshot,
    PartialJson,
    PartialJsonReader,
    RateLimiter,
    Redactor,
    Snapshotter,
    TextThrottle,
    ThinkingSplitter,
    TokenAccumulator,
    Verdict,
    accumulate,
    budget,
    buffered,
    content_filter,
    count_text,
    count_tokens,
    decode,
    decode_frames,
    decode_token_ids,
    dedupe_repetition,
    deliver_on,
    fan_out,
    frames,
    guard,
    json_elements,
    map_async,
    once,
    parse_aws_event_stream,
    parse_ndjson,
    parse_sse,
    partial_json,
    rate_limit,
    redact,
    retry_before_content,
    snapshots,
    split_thinking,
    take_until_stop,
    text,
    throttle_text,
    tool_calls,
)
from rxstream.pipeline import Preset, StreamingPipeline, StreamPipelineBuilder
from rxstream.providers import AiProvider
from rxstream.schedulers import FlowScheduler
from rxstream.simulator.event_stream import NOTHING, event
from rxstream.sinks import collect, iterate, to_async_iterator
from rxstream.sources import Deadlines, HttpStreamHandler, Recording, from_async_iterable, recordings, replay
from rxstream.sources.recording import played
from rxstream.taps import (
    NO_METRICS,
    MetricsRegistry,
    MetricsSummary,
    Outcome,
    Pressure,
    RegistrySummary,
    StreamMetrics,
    quietly,
    record,
    tap_log,
    tap_message,
    tap_metrics,
    tap_progress,
)
from rxstream.tokenizer import TokenDecoder
from rxstream.tokens import (
    FinishReason,
    FunctionCall,
    ReasoningDelta,
    StreamEnd,
    StreamStart,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    UsageReport,
    merge_deltas,
)
from tests.loopback import CHUNKED, Exchange, serving
from tests.tokenizer.encodings import BYTES
from tests.toy import TOY

if TYPE_CHECKING:
    from tests.contract.probes import Feed

MILLISECOND = timedelta(milliseconds=1)
OPENAI = dialect("openai.chat")


# What goes in and comes out


class Thing:
    """An item that can be looked for in memory."""

    __slots__ = ("__weakref__", "number")

    def __init__(self, number: int) -> None:
        self.number = number


@dataclass(frozen=True)
class Items:
    """A kind of items: how to make number so and so, and how to tell whether all came out in order."""

    make: Callable[[int], Any]
    note: Callable[[Any], Any] = lambda item: item
    """What to remember of an item, so that it can be let go."""
    read: Callable[[list[Any]], list[Any]] = list
    """What was remembered, the same however it was joined or framed on its way."""
    last: Sequence[Any] = ()
    """What comes before a healthy end."""
    are_counted: bool = False
    """Whether items can be looked for in memory."""


def number_of(item: "Thing | list[Thing]") -> Any:
    """The number of a thing, or those of a frame."""
    return [thing.number for thing in item] if isinstance(item, list) else item.number


def flat(items: list[Any]) -> list[Any]:
    """The items of `items` and of the frames in it."""
    return [one for item in items for one in (cast(list[Any], item) if isinstance(item, list) else [item])]


def token(number: int) -> Any:
    """Deltas above all, and whatever else a stream has between them."""
    match number % 6:
        case 2:
            return ReasoningDelta(f"why {number}")
        case 3:
            return ToolCallDelta("call", f"[{number}")
        case 4:
            return ToolCall("call", f"id {number}", FunctionCall("search", f"[{number}]"))
        case 5:
            return UsageReport(output_tokens=number)
        case _:
            return TextDelta(f"word {number} ")


THINGS = Items(Thing, number_of, flat, are_counted=True)
"""For stages that do not look at what they carry."""
TOKENS = Items(token, read=lambda items: merge_deltas(flat(items)), last=[StreamEnd(FinishReason.STOP, "stop")])
"""For stages that take tokens; joining deltas changes nothing."""
CALLS = Items(lambda number: ToolCall("call", f"id {number}", FunctionCall("search", "{}")), last=TOKENS.last)
STARTS = Items(lambda number: StreamStart(f"id {number}", "model", "toy"), last=TOKENS.last)
SSE_BYTES = Items(lambda number: b"data: %d\n\nevent: e\ndata: {%d" % (number, number), last=[b"\n\n"])
EVENT_STREAM_BYTES = Items(
    lambda number: (NOTHING[9:] if number else b"") + event("e", {"n": number}) + NOTHING[:9], last=[NOTHING[9:]]
)
"""Each chunk ends in the middle of a message."""
NDJSON_BYTES = Items(lambda number: b'{"n":%d}\n{"half":' % number, last=[b"1}"])
SSE_FRAMES = Items(
    lambda number: SseEvent("", b'{"choices":[{"index":0,"delta":{"content":"%d"}}]}' % number),
    last=[SseEvent("", b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'), SseEvent("", b"[DONE]")],
)
TOKEN_IDS = Items(lambda number: [*b"\xa9 %d\xc3" % number], last=[[*b"\xa9."]])
"""Each batch ends in the middle of a character."""
JSON_TEXT = Items(lambda number: TextDelta(f'{", " if number else "["}"{number}"'), last=[TextDelta("]")])
"""Each delta is one more element of an array."""
RECORDS = Items(lambda number: Chunk("id", number, 0.0, f"{number}"))
TOY_BYTES = Items(lambda number: b"%btext word %d\npi" % (b"ng\n" if number else b"", number), last=[b"ng\nend\n"])
"""Each chunk ends in the middle of a line."""


# Stages: what is between two ends of a `pipe`


def same(items: list[Any]) -> list[Any]:
    """What a stage gives that changes nothing."""
    return items


def fed(make: Callable[[], Machine[Any, Any]]) -> Callable[[list[Any]], list[Any]]:
    """What a machine makes, when it is simply fed."""

    def run(items: list[Any]) -> list[Any]:
        machine = make()
        return [made for item in items for made in machine.feed(item)] + machine.flush()

    return run


def counted(items: list[Any]) -> list[Any]:
    """What `count_tokens` gives of an answer: all of it, and a report before the end where there was none."""
    *before, end = items
    if any(isinstance(item, UsageReport) for item in before):
        return items
    size = sum(len(item.text) for item in before if isinstance(item, TextDelta | ReasoningDelta))
    size += sum(len(item.arguments) for item in before if isinstance(item, ToolCallDelta))
    whole = {item.key: item for item in before if isinstance(item, ToolCallDelta)}
    size += sum(
        len(item.function.name + item.function.arguments)
        for item in before
        if isinstance(item, ToolCall) and item.key not in whole
    )
    return [*before, *([UsageReport(output_tokens=size, source="estimated")] if size else []), end]


@dataclass(frozen=True)
class Stage:
    """One way to use one operator."""

    make: Callable[..., Callable[[Observable[Any]], Observable[Any]]]
    """Makes the operator, on the running loop; where it `drops` it is given `on_drop`."""
    items: Items = THINGS
    gives: Callable[[list[Any]], list[Any]] = same
    """What should come of the items."""
    ahead: int | None = 0
    """How far the source may get ahead of a consumer that wants nothing.

    0 if the consumer's own gate is what the source waits at, `None` if the source
    is never slowed.
    """
    under_way: int = 0
    """How many more it may have in hand, which still come when nothing is wanted any more."""
    most: int | None = None
    """The most that may wait inside where the source is not slowed."""
    drops: bool = False
    """Whether items may be dropped, which `on_drop` hears of."""
    is_shared: bool = False
    """Whether several subscriptions at one time are one, by intention."""
    is_for_one: bool = False
    """Whether a second subscription is refused, by intention."""
    is_quick: bool = True
    """Whether no item has to wait, for a timer or a turn of the loop, while the consumer wants it."""

    @property
    def room(self) -> int:
        """How many items may be brought while the consumer wants nothing, and nobody complains."""
        return 3 if self.ahead is None else self.ahead or 3

    def operator(self, on_drop: Callable[[Any], object]) -> Callable[[Observable[Any]], Observable[Any]]:
        """Make the operator."""
        return self.make(on_drop=on_drop) if self.drops else self.make()

    def expected(self, items: list[Any]) -> list[Any]:
        """What should come of `items` and a healthy end, as `Items.read` gives it."""
        return self.items.read([self.items.note(made) for made in self.gives([*items, *self.items.last])])


def unheard(_message: Any, _outcome: Any) -> None:
    """Nobody who is told."""


def two(_: Any) -> int:
    """What each item weighs."""
    return 2


async def awaited(item: Any) -> Any:
    """The same item, a turn of the loop later."""
    await asyncio.sleep(0)
    return item


async def uneven(item: Any) -> Any:
    """The same item, some turns of the loop later: the next one may be quicker."""
    for _ in range(item.number % 3):
        await asyncio.sleep(0)
    return item


async def passes(_: str) -> bool:
    """Find nothing wrong, a turn of the loop later."""
    await asyncio.sleep(0)
    return True


def elsewhere(**options: Any) -> Callable[[Observable[Any]], Observable[Any]]:
    """`deliver_on` a scheduler of the running loop."""
    return deliver_on(FlowScheduler(asyncio.get_running_loop()), 4, **options)


SILENT = structlog.wrap_logger(
    structlog.ReturnLogger(), processors=[], wrapper_class=structlog.make_filtering_bound_logger(30)
)
"""A logger that writes nothing."""

BUILDER = StreamPipelineBuilder()

STAGES: dict[tuple[Callable[..., Any], str], Stage] = {
    (accumulate, "sentence"): Stage(partial(accumulate, "sentence"), TOKENS),
    (accumulate, "tokens"): Stage(partial(accumulate, tokens=20, characters=200), TOKENS),
    (accumulate, "time"): Stage(partial(accumulate, "line", within=5 * MILLISECOND), TOKENS),
    (budget, ""): Stage(partial(budget, 1_000_000, BYTES), TOKENS),
    (buffered, "PAUSE"): Stage(partial(buffered, 4), ahead=4),
    (buffered, "PAUSE, one at a time"): Stage(partial(buffered, 1), ahead=1),
    (buffered, "PAUSE until empty"): Stage(partial(buffered, 4, low=0), ahead=4),
    (buffered, "PAUSE, by weight"): Stage(partial(buffered, 8, weigh=two), ahead=4),
    (buffered, "CONFLATE"): Stage(partial(buffered, 4, overflow=Overflow.CONFLATE), TOKENS, ahead=5),
    (buffered, "CONFLATE of what cannot be joined"): Stage(partial(buffered, 4, overflow=Overflow.CONFLATE), ahead=4),
    (buffered, "ERROR"): Stage(partial(buffered, 50, overflow=Overflow.ERROR), ahead=None, most=50),
    (buffered, "DROP_OLDEST"): Stage(
        partial(buffered, 4, overflow=Overflow.DROP_OLDEST), ahead=None, most=4, drops=True
    ),
    (buffered, "DROP_NEWEST"): Stage(
        partial(buffered, 4, overflow=Overflow.DROP_NEWEST), ahead=None, most=4, drops=True
    ),
    (buffered, "LATEST"): Stage(partial(buffered, 4, overflow=Overflow.LATEST), ahead=None, most=1, drops=True),
    (content_filter, ""): Stage(
        partial(content_filter, ["word 4", "word 16 word"], mask="?"),
        TOKENS,
        gives=fed(lambda: ContentFilter(["word 4", "word 16 word"], mask="?")),
    ),
    (count_tokens, ""): Stage(partial(count_tokens, BYTES), TOKENS, gives=counted),
    (decode, ""): Stage(partial(decode, TOY), TOY_BYTES, gives=fed(TOY.read_body)),
    (decode_frames, ""): Stage(partial(decode_frames, "openai.chat"), SSE_FRAMES, gives=fed(OPENAI.read_frames)),
    (decode_token_ids, ""): Stage(partial(decode_token_ids, BYTES), TOKEN_IDS, gives=fed(lambda: TokenDecoder(BYTES))),
    (dedupe_repetition, ""): Stage(dedupe_repetition, TOKENS),
    (deliver_on, "PAUSE"): Stage(elsewhere, ahead=4, is_quick=False),
    (deliver_on, "DROP_OLDEST"): Stage(
        partial(elsewhere, overflow=Overflow.DROP_OLDEST), ahead=None, most=4, drops=True, is_quick=False
    ),
    (fan_out, ""): Stage(partial(fan_out, 4), ahead=4, is_shared=True),
    (frames, ""): Stage(partial(frames, 10 * MILLISECOND)),
    (guard, "hold"): Stage(partial(guard, passes, window=8, overlap=3), TOKENS, ahead=1, under_way=4, is_quick=False),
    (guard, "optimistic"): Stage(
        partial(guard, passes, window=8, overlap=3, mode="optimistic"), TOKENS, is_quick=False
    ),
    (guard, "sampled"): Stage(
        partial(guard, passes, window=8, overlap=3, mode="sampled", share=0.5), TOKENS, is_quick=False
    ),
    (json_elements, ""): Stage(json_elements, JSON_TEXT, gives=fed(JsonElementReader)),
    (map_async, "one at a time"): Stage(partial(map_async, awaited), ahead=1, under_way=1, is_quick=False),
    (map_async, "three at a time"): Stage(partial(map_async, uneven, 3), ahead=1, under_way=3, is_quick=False),
    (map_async, "as they get done"): Stage(
        partial(map_async, awaited, 3, ordered=False), ahead=1, under_way=3, is_quick=False
    ),
    (once, ""): Stage(once, is_for_one=True),
    (parse_aws_event_stream, ""): Stage(parse_aws_event_stream, EVENT_STREAM_BYTES, gives=fed(AwsEventStreamParser)),
    (parse_ndjson, ""): Stage(parse_ndjson, NDJSON_BYTES, gives=fed(NdjsonParser)),
    (parse_sse, ""): Stage(parse_sse, SSE_BYTES, gives=fed(SseParser)),
    (partial_json, ""): Stage(partial_json, JSON_TEXT, gives=fed(PartialJsonReader)),
    (rate_limit, ""): Stage(partial(rate_limit, 500, burst=2), ahead=1, is_quick=False),
    (record, "of tokens"): Stage(partial(record, os.devnull), TOKENS),
    (record, "of bytes"): Stage(partial(record, os.devnull), SSE_BYTES),
    (record, "that cannot be written"): Stage(partial(record, os.devnull + "/no"), TOKENS),
    (redact, ""): Stage(redact, TOKENS),
    (retry_before_content, ""): Stage(retry_before_content, TOKENS),
    (retry_before_content, "while nothing has begun"): Stage(retry_before_content, STARTS),
    (tap_log, ""): Stage(partial(tap_log, SILENT), TOKENS),
    (tap_message, ""): Stage(partial(tap_message, unheard), TOKENS),
    (tap_metrics, "of tokens"): Stage(lambda: tap_metrics(StreamMetrics()), TOKENS),
    (tap_metrics, "of bytes"): Stage(lambda: tap_metrics(StreamMetrics()), SSE_BYTES),
    (tap_metrics, "of anything"): Stage(lambda: tap_metrics(StreamMetrics())),
    (tap_metrics, "of each subscription"): Stage(lambda: tap_metrics(MetricsRegistry())),
    (tap_metrics, "not at all"): Stage(partial(tap_metrics, NO_METRICS)),
    (tap_progress, ""): Stage(partial(tap_progress, two, 5 * MILLISECOND)),
    (snapshots, ""): Stage(snapshots, TOKENS, gives=fed(Snapshotter)),
    (split_thinking, ""): Stage(split_thinking, TOKENS),
    (StreamingPipeline, "that does nothing"): Stage(StreamingPipeline),
    (StreamingPipeline, "of transformers"): Stage(
        BUILDER.add_transformer(lambda token: [token]).add_transformer(buffered(4)).build, TOKENS, ahead=4
    ),
    (StreamingPipeline, "with a queue"): Stage(BUILDER.enable_metrics().with_backpressure(capacity=4).build, ahead=4),
    (StreamingPipeline, "with a controller"): Stage(BUILDER.low_memory().with_backpressure(capacity=4).build, ahead=4),
    (take_until_stop, ""): Stage(partial(take_until_stop, ["word 1,000,000"]), TOKENS),
    (text, ""): Stage(text, TOKENS, gives=lambda items: [item.text for item in items if isinstance(item, TextDelta)]),
    (throttle_text, ""): Stage(partial(throttle_text, 1_000, max_lag=20 * MILLISECOND, period=5 * MILLISECOND), TOKENS),
    (tool_calls, ""): Stage(
        tool_calls, CALLS, gives=lambda items: [item for item in items if isinstance(item, ToolCall)]
    ),
}
"""By operator, and how it is used."""


# Sources: where streams begin


read_toy = fed(TOY.read_body)


@dataclass(frozen=True)
class Source:
    """One way to use one source."""

    open: "Callable[[Feed], AbstractAsyncContextManager[Observable[Any]]]"
    """Makes the stream of what a feed gives, and in the end cleans up what the source itself was made of."""
    items: Items = TOY_BYTES
    gives: Callable[[list[Any]], list[Any]] = read_toy
    is_cold: bool = True
    """Whether it can be subscribed to again."""
    knows_its_end: bool = True
    """Whether what was read says that nothing more comes."""

    def expected(self, items: list[Any]) -> list[Any]:
        """What should come of `items` and a healthy end, as `Items.read` gives it."""
        return self.items.read([self.items.note(made) for made in self.gives([*items, *self.items.last])])


def over(make: "Callable[[Feed], Observable[Any]]") -> "Callable[[Feed], AbstractAsyncContextManager[Observable[Any]]]":
    """Open a source that needs nothing but the feed itself."""

    @asynccontextmanager
    async def opened(feed: "Feed") -> AsyncGenerator[Observable[Any]]:
        yield make(feed)

    return opened


@asynccontextmanager
async def served(feed: "Feed") -> AsyncGenerator[str]:
    """Serve `feed` as the body of every answer, as long as the client listens; break it off where the feed fails."""

    async def answer(exchange: Exchange) -> None:
        await exchange.send(CHUNKED)
        async with aclosing(feed.batches()) as batches:
            async for batch in batches:
                await exchange.send_chunk(b"".join(batch))
        await exchange.send_chunk(b"")

    async def handle(exchange: Exchange) -> None:
        while await exchange.read_request():
            answering, gone = (
                asyncio.ensure_future(answer(exchange)),
                asyncio.ensure_future(exchange.wait_closed_by_client()),
            )
            await asyncio.wait((answering, gone), return_when=asyncio.FIRST_COMPLETED)
            for task in (answering, gone):
                task.cancel()
            (failure, _) = await asyncio.gather(answering, gone, return_exceptions=True)
            if isinstance(failure, Exception):
                exchange.reset()

    async with serving(handle) as url:
        yield url


@asynccontextmanager
async def response(feed: "Feed") -> AsyncGenerator[Observable[Any]]:
    """Open an answer over a socket, as somebody else would have done it."""
    async with served(feed) as url, aiohttp.ClientSession() as session:
        yield HttpStreamHandler(TOY).into_stream(await session.get(url))


@asynccontextmanager
async def provider(feed: "Feed") -> AsyncGenerator[Observable[Any]]:
    """Ask a provider, over a socket."""
    async with served(feed) as url, AiProvider(TOY, api_key=None, base_url=url) as toy:
        yield toy.stream("?", model="toy")


SOURCES: dict[tuple[Callable[..., Any], str], Source] = {
    (from_async_iterable, ""): Source(over(from_async_iterable), THINGS, gives=same),
    (HttpStreamHandler, "of an async iterable"): Source(over(lambda feed: HttpStreamHandler(TOY).into_stream(feed))),
    (HttpStreamHandler, "of an observable"): Source(
        over(lambda feed: HttpStreamHandler(TOY).into_stream(from_async_iterable(feed))), knows_its_end=False
    ),
    (HttpStreamHandler, "of a response"): Source(response, is_cold=False),
    (AiProvider, "a provider's stream"): Source(provider),
    (replay, "whole chunks"): Source(
        over(lambda feed: played(lambda: feed, speed=1.0, cut=None)),
        RECORDS,
        gives=lambda records: [record.data for record in records],
    ),
}
"""By source, and how it is used."""


# Sinks: where streams end

Hear = Callable[[Any], Awaitable[None]]
"""The subscriber's own code, which takes as long as it likes."""


@dataclass(frozen=True)
class Sink:
    """One way to use one sink."""

    drain: Callable[[Observable[Any], Hear], Awaitable[None]]
    """Hands all that the sink gives to the subscriber's own code, in one task; raises what the sink raises."""
    items: Items = THINGS
    gives: Callable[[list[Any]], list[Any]] = same
    ahead: int | None = None
    """How far the source may get ahead of a consumer that is busy; `None` if the sink takes all at once."""

    def expected(self, items: list[Any]) -> list[Any]:
        """What should come of `items` and a healthy end, as `Items.read` gives it."""
        return self.items.read([self.items.note(made) for made in self.gives([*items, *self.items.last])])


def iterating(**options: Any) -> Callable[[Observable[Any], Hear], Awaitable[None]]:
    """Use `iterate` as everybody does."""

    async def drain(source: Observable[Any], hear: Hear) -> None:
        async with iterate(source, **options) as items:
            async for item in items:
                await hear(item)

    return drain


async def iterating_plainly(source: Observable[Any], hear: Hear) -> None:
    """Use `to_async_iterator`, closing it in the end."""
    async with aclosing(to_async_iterator(source, capacity=4)) as items:
        async for item in items:
            await hear(item)


async def collecting(source: Observable[Any], hear: Hear) -> None:
    """Use `collect`."""
    await hear(await collect(source))


def assembled(tokens: list[Any]) -> list[AssembledMessage]:
    """The one message that tokens add up to."""
    assembler = MessageAssembler()
    assembler.extend(tokens)
    return [assembler.message()]


SINKS: dict[tuple[Callable[..., Any], str], Sink] = {
    (collect, ""): Sink(collecting, replace(TOKENS, read=list), gives=assembled),
    (iterate, "PAUSE"): Sink(iterating(capacity=4), ahead=4),
    (iterate, "PAUSE, one at a time"): Sink(iterating(capacity=1), ahead=1),
    (iterate, "PAUSE, by weight"): Sink(iterating(capacity=8, weigh=two), ahead=4),
    (iterate, "CONFLATE"): Sink(iterating(capacity=4, overflow=Overflow.CONFLATE), TOKENS, ahead=7),
    (iterate, "ERROR"): Sink(iterating(capacity=200, overflow=Overflow.ERROR)),
    (to_async_iterator, ""): Sink(iterating_plainly, ahead=4),
}
"""By sink, and how it is used."""


EXEMPT: dict[Any, str] = {
    TokenAccumulator: "the machine of `accumulate`",
    JsonElementReader: "the machine of `json_elements`",
    PartialJsonReader: "the machine of `partial_json`",
    PartialJson: "a value",
    Snapshotter: "the machine of `snapshots`",
    MessageSnapshot: "a value",
    ThinkingSplitter: "the machine of `split_thinking`",
    RateLimiter: "decides when; `rate_limit` waits",
    ContentFilter: "the machine of `content_filter`",
    Redactor: "the machine of `redact`",
    count_text: "counts one text; `count_tokens` counts a stream",
    TextThrottle: "decides what is shown; `throttle_text` shows it",
    Verdict: "a value",
    Deadlines: "a value that sources take",
    Preset: "a value that pipelines are built from",
    StreamPipelineBuilder: "builds what is under test",
    StreamMetrics: "counts what it is told; `tap_metrics` tells it",
    MetricsRegistry: "totals what `tap_metrics` counts",
    MetricsSummary: "a value",
    RegistrySummary: "a value",
    Outcome: "a value",
    Pressure: "a value",
    Recording: "a value",
    recordings: "tells what is in a file; `replay` is the stream of it",
    quietly: "wraps the callback of a tap, not a stream",
}
"""What is public where operators, sources and sinks are, and why it is none."""
