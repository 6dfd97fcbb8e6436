"""What a pipeline says about reading reaches the source, whatever lies between."""

from collections.abc import Callable
from typing import Any

import pytest
import reactivex
from aiohttp import ClientSession
from reactivex import Observable
from reactivex import operators as ops

from rxstream import (
    AiProvider,
    BackpressureConfig,
    ConfigurationError,
    StreamBackpressureController,
    StreamPipelineBuilder,
    TextDelta,
    buffered,
    collect,
    from_async_iterable,
    iterate,
    rate_limit,
)
from rxstream.flow import AdaptiveReadSize, Gate
from rxstream.pipeline import PRESETS
from rxstream.pipeline.controlled import controlled
from rxstream.sources.pump import Pump, pumped
from tests.loopback import CHUNKED, Exchange, serving
from tests.toy import TOY
from tests.virtual_loop import virtual_time

NEW = StreamPipelineBuilder()
ONE = TextDelta("one")


class Watched:
    """A source that tells how it was to read."""

    def __init__(self, controller: StreamBackpressureController | None = None, count: int = 1) -> None:
        self.reads: list[tuple[int, int]] = []
        """The size of the first read and the largest of all, of each subscription."""
        self._count = count
        self.stream: Observable[Any] = pumped(self._read, controller)

    async def _read(self, pump: Pump[Any]) -> None:
        self.reads.append((pump.read_size, pump.largest_read))
        for _ in range(self._count):
            if not await pump.push(ONE):
                return


@pytest.mark.parametrize("name", PRESETS)
@virtual_time
async def test_a_preset_says_how_much_is_read_at_a_time(name: str) -> None:
    source, preset = Watched(), PRESETS[name]
    pipeline = getattr(NEW, name)().enable_metrics().add_transformer(ops.map(lambda token: token)).build()

    await collect(source.stream.pipe(pipeline))

    assert source.reads == [(preset.smallest_read, preset.largest_read)]


BETWEEN: list[Callable[[Observable[Any]], Observable[Any]]] = [
    ops.map(lambda token: token),
    buffered(4),
    rate_limit(1e6),
    lambda source: source.pipe(buffered(4), ops.take(9)),
]


@pytest.mark.parametrize("between", BETWEEN)
@virtual_time
async def test_the_source_hears_it_through_what_lies_between(
    between: Callable[[Observable[Any]], Observable[Any]],
) -> None:
    source = Watched()

    await collect(source.stream.pipe(between, NEW.low_memory().build()))

    assert source.reads == [(4096, 4096)]


@virtual_time
async def test_what_is_said_nearest_to_the_source_counts() -> None:
    source = Watched()

    await collect(source.stream.pipe(NEW.low_memory().build(), NEW.high_throughput().build()))

    assert source.reads == [(4096, 4096)]


@virtual_time
async def test_a_source_with_a_controller_of_its_own_keeps_to_that() -> None:
    own, offered = StreamBackpressureController(), StreamBackpressureController(BackpressureConfig(maximum_buffer=2048))
    source = Watched(own)

    await collect(source.stream.pipe(NEW.with_backpressure(controller=offered).build()))

    assert source.reads == [(1024, 65_536)]


@virtual_time
async def test_a_controller_counts_what_waits_down_to_the_sink() -> None:
    shared = StreamBackpressureController(BackpressureConfig(maximum_items=8, high_mark=1, low_mark=0.5))
    stream = Watched(count=100).stream.pipe(NEW.with_backpressure(controller=shared).build())

    async with iterate(stream) as tokens:
        for _ in range(20):
            await anext(tokens)
        figures = shared.snapshot()
        assert (figures.streams, figures.peak_items) == (1, 8)
        assert figures.times_paused > 1

    assert shared.snapshot().streams == shared.snapshot().depth == 0


@virtual_time
async def test_a_config_bounds_each_stream_and_a_controller_all_together() -> None:
    config = BackpressureConfig(maximum_items=10, high_mark=1, low_mark=0.5)
    shared = StreamBackpressureController(config)

    async def taken_ahead(pipeline: Callable[[Observable[Any]], Observable[Any]]) -> int:
        pushed: list[Any] = []
        source = from_async_iterable([ONE] * 100).pipe(ops.do_action(pushed.append))
        async with iterate(source.pipe(pipeline)) as one, iterate(source.pipe(pipeline)) as other:
            await anext(one)
            await anext(other)
            return len(pushed)

    assert await taken_ahead(NEW.with_backpressure(config).build()) > 15
    assert await taken_ahead(NEW.with_backpressure(controller=shared).build()) <= 15


@virtual_time
async def test_a_source_that_cannot_wait_is_refused_as_without_it() -> None:
    endless = reactivex.subject.Subject[Any]()

    with pytest.raises(ConfigurationError, match="cannot wait"):
        await collect(endless.pipe(NEW.balanced().build(), buffered(4)))
    with pytest.raises(ConfigurationError, match="cannot wait"):
        await collect(endless.pipe(controlled(AdaptiveReadSize), buffered(4)))


@virtual_time
async def test_a_source_that_schedules_is_given_time_as_without_it() -> None:
    message = await collect(reactivex.of(ONE, ONE).pipe(controlled(AdaptiveReadSize), buffered(4)))

    assert message.text == "oneone"


def test_gates_pass_on_what_is_offered_further_down() -> None:
    sizes, others = AdaptiveReadSize(), AdaptiveReadSize()
    bottom = Gate()
    middle = Gate(downstream=bottom)
    top = Gate(middle)

    assert top.find_offered() is None
    bottom.offered = sizes
    assert top.find_offered() is sizes
    middle.offered = others
    assert top.find_offered() is others
    assert bottom.find_offered() is sizes


async def test_the_system_is_asked_for_no_more_than_the_largest_read() -> None:
    """What aiohttp holds for a stream that stands still is what it was told, so a small read means little memory."""
    limits: list[int] = []

    async def handle(exchange: Exchange) -> None:
        await exchange.read_request()
        await exchange.send(CHUNKED)
        await exchange.send_chunk(b"start\ntext one\nend\n")
        await exchange.send_chunk(b"")

    class Session:
        """aiohttp's, but for a look at what is asked for."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def request(self, *arguments: Any, **options: Any) -> Any:
            limits.append(options["read_bufsize"])
            return self._inner.request(*arguments, **options)

    async with serving(handle) as url, ClientSession() as inner:
        session: Any = Session(inner)
        provider = AiProvider(TOY, base_url=url, api_key=None, session=session)
        for builder in (NEW, NEW.low_memory(), NEW.with_backpressure(BackpressureConfig(maximum_buffer=2048))):
            pipeline = builder.with_provider(provider).with_model("m").build()
            assert (await collect(pipeline.run("hello"))).text == "one"

    assert limits == [65_536, 4096, 2048]
