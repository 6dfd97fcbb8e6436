"""A pipeline gives what its stages give one by one, whatever it is fed and however often."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex import operators as ops

from rxstream import (
    BackpressureConfig,
    ChatRequest,
    ConfigurationError,
    Message,
    MetricsRegistry,
    Overflow,
    ReasoningDelta,
    StreamingPipeline,
    StreamPipelineBuilder,
    StreamToken,
    TextDelta,
    buffered,
    collect,
    from_async_iterable,
    lift,
    merge_deltas,
    tap_metrics,
)
from rxstream.dialects import dialects
from rxstream.errors import StreamError
from rxstream.messages import AssembledMessage
from rxstream.pipeline import PRESETS
from rxstream.sources import HttpStreamHandler
from tests.demand import Faucet
from tests.dialects.reading import in_pieces
from tests.shared import needs_shared, shared_files
from tests.strategies import token_lists
from tests.toy import TOY
from tests.virtual_loop import run_virtual, virtual_time

NEW = StreamPipelineBuilder()
BODY = b"start\ntext one\nping\ntext two\nend\n"
WORDS = ["one", "two"]


class Numbered:
    """Writes its number before each text: it would show if two streams had one machine."""

    def __init__(self) -> None:
        self._count = 0

    def feed(self, token: StreamToken, /) -> list[StreamToken]:
        if not isinstance(token, TextDelta):
            return [token]
        self._count += 1
        return [TextDelta(f"{self._count} {token.text}", token.index, token.choice)]

    def flush(self) -> list[StreamToken]:
        return [TextDelta(f"of {self._count}")]


def only_text(token: StreamToken) -> StreamToken | None:
    return token if isinstance(token, TextDelta) else None


def twice(token: StreamToken) -> list[StreamToken]:
    return [token, token]


async def heard(stream: Observable[StreamToken]) -> list[StreamToken]:
    """All that comes of `stream`; an error is raised."""
    tokens: list[StreamToken] = []
    await collect(stream.pipe(ops.do_action(tokens.append)))
    return tokens


# What a pipeline gives

Step = Callable[[StreamPipelineBuilder], StreamPipelineBuilder]
ByHand = Callable[[Observable[StreamToken]], Observable[StreamToken]]

TRANSFORMERS: list[tuple[Any, ByHand]] = [
    (Numbered, lift(Numbered)),
    (lambda: Numbered(), lift(Numbered)),  # noqa: PLW0108  # a class and a function are two cases
    (only_text, ops.filter(lambda token: isinstance(token, TextDelta))),
    (twice, ops.flat_map(lambda token: reactivex.of(token, token))),
    (ops.take(5), ops.take(5)),
    (buffered(2), buffered(2)),
    (ops.distinct_until_changed(), ops.distinct_until_changed()),
]
"""What is added to a builder, and the operator that it comes to."""


@given(tokens=token_lists, chosen=st.lists(st.sampled_from(TRANSFORMERS), max_size=4))
def test_a_pipeline_gives_what_its_stages_piped_by_hand_give(
    tokens: list[StreamToken], chosen: list[tuple[Any, ByHand]]
) -> None:
    builder, by_hand = NEW, from_async_iterable(tokens)
    for transformer, operator in chosen:
        builder, by_hand = builder.add_transformer(transformer), by_hand.pipe(operator)
    pipeline = builder.build()

    given = run_virtual(heard(from_async_iterable(tokens).pipe(pipeline)))

    assert given == run_virtual(heard(by_hand))
    assert given == run_virtual(heard(pipeline.process(from_async_iterable(tokens))))


PRESET_PACES: list[Step] = [lambda builder, name=name: getattr(builder, name)() for name in PRESETS]
ANY_PACE: list[Step] = [
    *PRESET_PACES,
    lambda builder: builder,
    lambda builder: builder.with_backpressure(capacity=1),
    lambda builder: builder.with_backpressure(capacity=1, overflow=Overflow.CONFLATE),
    lambda builder: builder.with_backpressure(BackpressureConfig(maximum_items=1, maximum_bytes=1)),
    lambda builder: builder.gather(timedelta(seconds=1)),
    lambda builder: builder.gather(timedelta(seconds=1)).with_backpressure(capacity=1),
]


@given(tokens=token_lists, pace=st.sampled_from(ANY_PACE), metered=st.booleans())
def test_no_preset_no_queue_and_no_metrics_change_what_is_said(
    tokens: list[StreamToken], pace: Step, metered: bool
) -> None:
    builder = pace(NEW)
    pipeline = (builder.enable_metrics() if metered else builder).build()

    given = run_virtual(heard(pipeline(from_async_iterable(tokens))))

    assert merge_deltas(given) == merge_deltas(tokens)


@pytest.mark.parametrize("pace", ANY_PACE)
def test_an_error_comes_after_what_came_before_it(pace: Step) -> None:
    failing = reactivex.concat(reactivex.of(TextDelta("one")), reactivex.throw(StreamError("gone")))
    tokens: list[StreamToken] = []

    with pytest.raises(StreamError, match="gone") as caught:
        run_virtual(collect(pace(NEW).build()(failing).pipe(ops.do_action(tokens.append))))

    assert tokens == [TextDelta("one")]
    assert caught.value.partial is not None


# Many streams


@pytest.mark.parametrize("pace", ANY_PACE)
@virtual_time
async def test_streams_at_the_same_time_know_nothing_of_each_other(pace: Step) -> None:
    pipeline = pace(NEW.add_transformer(Numbered)).build()
    faucets = [Faucet[StreamToken](), Faucet[StreamToken]()]
    said: list[list[StreamToken]] = [[], []]
    for faucet, tokens in zip(faucets, said, strict=True):
        faucet.stream.pipe(pipeline).subscribe(tokens.append)

    faucets[0].push(TextDelta("a "))
    faucets[1].push(TextDelta("b "))
    faucets[0].push(TextDelta("c "))
    faucets[0].complete()
    faucets[1].push(TextDelta("d "))
    faucets[1].complete()

    texts = ["".join(token.text for token in tokens if isinstance(token, TextDelta)) for tokens in said]
    assert texts == ["1 a 2 c of 2", "1 b 2 d of 2"]


@virtual_time
async def test_one_stream_may_be_subscribed_to_again_and_begins_anew() -> None:
    stream = NEW.add_transformer(Numbered).low_memory().build().process(from_async_iterable([TextDelta("a ")] * 2))

    assert await heard(stream) == await heard(stream) == [TextDelta("1 a "), TextDelta("2 a "), TextDelta("of 2")]


@virtual_time
async def test_each_stream_is_counted_by_itself_in_one_registry() -> None:
    pipeline = NEW.enable_metrics().add_transformer(only_text).build()
    assert isinstance(pipeline.metrics, MetricsRegistry)

    for _ in range(3):
        await heard(pipeline.process(BODY, dialect=TOY))

    summary = pipeline.metrics.summary()
    assert (summary.streams, summary.completed, summary.active) == (3, 3, 0)
    assert summary.tokens == 3 * 4  # what the source gave, not what the transformers left


@virtual_time
async def test_two_registries_may_be_told_of_one_stream() -> None:
    inner, outer = MetricsRegistry(), NEW.enable_metrics().build()

    await heard(from_async_iterable([TextDelta("one")]).pipe(tap_metrics(inner), outer))

    assert isinstance(outer.metrics, MetricsRegistry)
    assert inner.summary().tokens == outer.metrics.summary().tokens == 1


# What it takes


async def pieces() -> AsyncIterator[bytes]:
    for piece in in_pieces(BODY, 3):
        yield piece


BODIES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: BODY,
    "a list of bytes": lambda: in_pieces(BODY, 5),
    "an async iterable of bytes": pieces,
}


@pytest.mark.parametrize("make", BODIES.values(), ids=list(BODIES))
def test_a_body_is_read_in_the_dialect_that_one_names(make: Callable[[], Any]) -> None:
    expected = run_virtual(heard(HttpStreamHandler(TOY).into_stream(BODY)))

    assert run_virtual(heard(NEW.build().process(make(), dialect=TOY))) == expected
    assert run_virtual(heard(NEW.with_dialect("openai.chat").build().process(make(), dialect=TOY))) == expected
    assert run_virtual(heard(NEW.with_dialect(TOY).build().process(make()))) == expected
    assert run_virtual(heard(NEW.with_provider(TOY).build().process(make()))) == expected
    assert len(expected) == 4


def test_an_observable_is_of_tokens_and_with_a_dialect_of_bytes() -> None:
    pipeline = NEW.with_provider(TOY).build()

    assert run_virtual(heard(pipeline.process(reactivex.of(TextDelta("one"))))) == [TextDelta("one")]
    tokens = run_virtual(heard(pipeline.process(from_async_iterable(in_pieces(BODY, 2)), dialect=TOY)))
    assert tokens == run_virtual(heard(HttpStreamHandler(TOY).into_stream(BODY)))


def test_bytes_of_an_unknown_api_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="of which API"):
        NEW.build().process(BODY)
    with pytest.raises(ConfigurationError, match="no dialect 'opnai'"):
        NEW.build().process(BODY, dialect="opnai")


@virtual_time
async def test_the_simple_way_gives_plain_text() -> None:
    said: list[str] = []

    await NEW.with_dialect(TOY).build().process_simple(BODY).pipe(ops.do_action(said.append))
    await (
        StreamingPipeline()
        .process_simple(reactivex.of(TextDelta("three"), ReasoningDelta("hm")))
        .pipe(ops.do_action(said.append))
    )

    assert said == [*WORDS, "three"]


# What it asks


def test_asking_needs_a_provider_and_a_model() -> None:
    with pytest.raises(ConfigurationError, match="no provider"):
        NEW.with_model("m").build().run("hello")
    with pytest.raises(ConfigurationError, match="no model"):
        NEW.with_provider(TOY).build().run("hello")
    with pytest.raises(ConfigurationError, match="no provider"):
        NEW.build().process_simple("hello")
    with pytest.raises(TypeError, match="temprature"):
        NEW.with_provider(TOY).with_model("m").build().run("hello", temprature=1)


def test_what_a_request_says_goes_before_what_the_pipeline_was_built_with() -> None:
    asked: list[ChatRequest] = []

    class Asked:
        dialect = TOY
        controller = None

        def stream(self, request: ChatRequest) -> Observable[StreamToken]:
            asked.append(request)
            return reactivex.empty()

    provider: Any = Asked()
    pipeline = StreamingPipeline(provider=provider, model="m", options={"temperature": 0.5, "seed": 1})
    whole = ChatRequest(model="other", messages=[])

    pipeline.run("hello")
    pipeline.run([Message("user", "hello")], model="other", seed=2)
    pipeline.run(whole)
    pipeline.run(whole, seed=3)

    assert asked == [
        ChatRequest(model="m", messages=[Message("user", "hello")], temperature=0.5, seed=1),
        ChatRequest(model="other", messages=[Message("user", "hello")], temperature=0.5, seed=2),
        whole,
        ChatRequest(model="other", messages=[], seed=3),
    ]


# What services really sent

CAPTURES = [path for path in shared_files("captures/*/*.json") if path.stem != "vectors"]


async def outcome(stream: Observable[StreamToken]) -> tuple[AssembledMessage | None, str]:
    """What a stream adds up to, and its error."""
    try:
        return await collect(stream), ""
    except StreamError as error:
        return error.partial, str(error)


@needs_shared
@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_capture_says_the_same_through_any_pipeline(path: Path) -> None:
    sheet = json.loads(path.read_bytes())
    if sheet["api"] not in dialects():
        pytest.skip(f"there is no dialect {sheet['api']} yet")
    wire = in_pieces(path.with_name(sheet["file"]).read_bytes(), 500)
    expected = run_virtual(outcome(HttpStreamHandler(sheet["api"]).into_stream(wire)))

    for pace in PRESET_PACES:
        pipeline = pace(NEW.with_dialect(sheet["api"]).enable_metrics().add_transformer(lambda token: token)).build()

        assert run_virtual(outcome(pipeline.process(wire))) == expected
