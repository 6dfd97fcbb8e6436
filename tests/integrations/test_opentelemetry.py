"""Spans and metrics: what is reported, under which names, and what never is."""

import asyncio
import gc
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import reactivex
from hypothesis import given
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.testing import ReactiveTest, TestScheduler

from rxstream import AiProvider, ChatRequest, Message, Tool, collect
from rxstream.dialect import RateLimits
from rxstream.errors import RateLimitedError, StreamError
from rxstream.messages import ImagePart, ToolCallPart
from rxstream.simulator import FAST, At, HttpError, Script, ScriptedCall, Settings, Simulator, Stall
from rxstream.simulator import simulator_in_background as simulated
from rxstream.sinks import iterate
from rxstream.tokens import FinishReason, StreamEnd, StreamStart, StreamToken, TextDelta, UsageReport
from tests.demand import Faucet
from tests.strategies import token_lists

pytest.importorskip("opentelemetry.sdk", reason="the extra `otel` and the SDK are not installed")

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanKind, StatusCode

from rxstream.integrations import _conventions as names
from rxstream.integrations.opentelemetry import instrumented, otel_span

on_next, on_completed = ReactiveTest.on_next, ReactiveTest.on_completed
ANSWER: list[StreamToken] = [
    StreamStart("chatcmpl-1", "gpt-5-2026", "openai.chat"),
    TextDelta("Be"),
    TextDelta("cause"),
    UsageReport(12, 34, reasoning_tokens=5, cached_input_tokens=6),
    StreamEnd(FinishReason.STOP, "stop"),
]


@dataclass
class Backend:
    """OpenTelemetry, in memory."""

    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader
    tracer_provider: TracerProvider
    meter_provider: MeterProvider

    @property
    def providers(self) -> dict[str, Any]:
        return {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    @property
    def span(self) -> ReadableSpan:
        (span,) = self.spans
        return span

    @property
    def facts(self) -> dict[str, Any]:
        return dict(self.span.attributes or {})

    def points(self, name: str) -> list[HistogramDataPoint]:
        data = self.reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        found = [metric for scope in scopes for metric in scope.metrics if metric.name == name]
        return [point for metric in found for point in metric.data.data_points if isinstance(point, HistogramDataPoint)]


def backend(**options: Any) -> Backend:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracer_provider = TracerProvider(shutdown_on_exit=False, **options)
    tracer_provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Backend(exporter, reader, tracer_provider, MeterProvider([reader], shutdown_on_exit=False))


@pytest.fixture
def otel() -> Backend:
    return backend()


def answer(tokens: list[StreamToken] | None = None) -> Observable[StreamToken]:
    return reactivex.from_iterable(ANSWER if tokens is None else tokens)


# What passes


@given(token_lists)
def test_a_span_changes_nothing(tokens: list[StreamToken]) -> None:
    told, heard, ends = backend(), list[StreamToken](), list[str]()

    span = otel_span(content=True, **told.providers)
    answer(tokens).pipe(span).subscribe(heard.append, on_completed=lambda: ends.append("completed"))

    assert len(heard) == len(tokens)
    assert all(ours is theirs for ours, theirs in zip(heard, tokens, strict=True))
    assert ends == ["completed"]
    assert told.span.end_time is not None


# What is reported


def test_a_stream_is_one_span_with_the_names_of_the_conventions(otel: Backend) -> None:
    answer().pipe(otel_span(model="gpt-5", provider="openai.chat", **otel.providers)).subscribe()

    assert (otel.span.name, otel.span.kind) == ("chat gpt-5", SpanKind.CLIENT)
    assert otel.span.status.status_code is StatusCode.UNSET
    first = otel.facts.pop(names.RESPONSE_TIME_TO_FIRST_CHUNK)
    assert first > 0
    assert otel.span.instrumentation_scope is not None
    assert otel.span.instrumentation_scope.schema_url == "https://opentelemetry.io/schemas/1.41.0"
    assert {name: fact for name, fact in otel.facts.items() if name != names.RESPONSE_TIME_TO_FIRST_CHUNK} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.request.stream": True,
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.model": "gpt-5-2026",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 34,
        "gen_ai.usage.reasoning.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 6,
        "rxstream.outcome": "completed",
    }


def test_the_figures_of_a_stream_are_measured_once_at_its_end(otel: Backend) -> None:
    clock = TestScheduler()
    hot = [on_next(at, token) for at, token in zip((230, 240, 260, 261, 262), ANSWER, strict=True)]
    source: Observable[StreamToken] = clock.create_hot_observable(*hot, on_completed(300))
    span = otel_span(model="gpt-5", **otel.providers, now=lambda: clock.now.timestamp())  # noqa: PLW0108  # `now` is to be read anew each time

    clock.start(lambda: source.pipe(span))

    labels = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.response.model": "gpt-5-2026",
    }
    measured = {
        name: [(point.count, point.sum, dict(point.attributes or {})) for point in otel.points(name)]
        for name in METRICS
    }
    assert measured == {
        "gen_ai.client.operation.duration": [(1, 100, {**labels, "rxstream.outcome": "completed"})],
        "gen_ai.client.operation.time_to_first_chunk": [(1, 30, labels)],
        "gen_ai.client.operation.time_per_output_chunk": [(1, 20, labels)],
        "gen_ai.client.token.usage": [
            (1, 12, {**labels, "gen_ai.token.type": "input"}),
            (1, 34, {**labels, "gen_ai.token.type": "output"}),
        ],
    }


METRICS = [
    names.DURATION.name,
    names.TIME_TO_FIRST_CHUNK.name,
    names.TIME_PER_OUTPUT_CHUNK.name,
    names.TOKEN_USAGE.name,
]


def test_the_buckets_are_those_of_the_conventions(otel: Backend) -> None:
    answer().pipe(otel_span(**otel.providers)).subscribe()

    seconds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
    tokens = [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864]
    assert list(otel.points(names.DURATION.name)[0].explicit_bounds) == pytest.approx(seconds)
    assert list(otel.points(names.TOKEN_USAGE.name)[0].explicit_bounds) == tokens


def test_what_is_not_known_is_not_reported(otel: Backend) -> None:
    answer([]).pipe(otel_span(**otel.providers)).subscribe()

    assert otel.span.name == "chat"
    assert otel.facts == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.stream": True,
        "rxstream.outcome": "completed",
    }
    assert not otel.points(names.TOKEN_USAGE.name)
    assert not otel.points(names.TIME_TO_FIRST_CHUNK.name)


def test_a_failure_is_its_class_and_its_status_and_not_its_words(otel: Backend) -> None:
    error = RateLimitedError("you wrote a secret", provider="anthropic.messages", status=429)

    reactivex.throw(error).pipe(otel_span(**otel.providers)).subscribe(on_error=lambda _: None)

    assert otel.span.status.status_code is StatusCode.ERROR
    assert otel.facts["error.type"] == "RateLimitedError"
    assert otel.facts["http.response.status_code"] == 429
    assert otel.facts["gen_ai.provider.name"] == "anthropic"
    (point,) = otel.points(names.DURATION.name)
    assert (point.attributes or {})["error.type"] == "RateLimitedError"
    assert "secret" not in otel.span.to_json()


def test_a_stream_that_is_let_go_is_cancelled_and_no_failure(otel: Backend) -> None:
    faucet = Faucet[StreamToken]()
    subscription = faucet.stream.pipe(otel_span(**otel.providers)).subscribe()
    faucet.push(TextDelta("a"))
    assert not otel.spans

    subscription.dispose()

    assert otel.facts["rxstream.outcome"] == "cancelled"
    assert otel.span.status.status_code is StatusCode.UNSET
    assert "error.type" not in otel.facts


def test_each_subscription_is_a_span_of_its_own(otel: Backend) -> None:
    stream = answer().pipe(otel_span(**otel.providers))

    stream.subscribe()
    stream.subscribe()

    assert len(otel.spans) == 2
    assert [point.count for point in otel.points(names.DURATION.name)] == [2]


@pytest.mark.parametrize(
    ("dialect", "operation", "provider"),
    [
        ("anthropic.messages", "chat", "anthropic"),
        ("azure.responses", "chat", "azure.ai.openai"),
        ("bedrock.converse", "chat", "aws.bedrock"),
        ("cohere.v2", "chat", "cohere"),
        ("gemini.generate", "generate_content", "gcp.gemini"),
        ("groq", "chat", "groq"),
        ("mistral.chat", "chat", "mistral_ai"),
        ("ollama.native", "chat", "ollama"),
        ("openai.responses", "chat", "openai"),
        ("vertex", "generate_content", "gcp.vertex_ai"),
        ("xai", "chat", "x_ai"),
    ],
)
def test_services_have_the_names_of_the_conventions(dialect: str, operation: str, provider: str) -> None:
    assert (names.operation_name(dialect), names.provider_name(dialect)) == (operation, provider)


@pytest.mark.parametrize(
    ("dialect", "total"), [("openai.chat", 100), ("anthropic.messages", 175), ("bedrock.converse", 175)]
)
def test_input_tokens_include_the_cached_ones(dialect: str, total: int) -> None:
    usage = UsageReport(100, 10, cached_input_tokens=50, cache_write_tokens=25)

    assert names.input_tokens(usage, dialect) == total
    assert names.input_tokens(UsageReport(), dialect) is None


def test_a_sampler_is_told_what_is_asked() -> None:
    seen: list[Any] = []

    class Never(Sampler):
        def should_sample(  # noqa: PLR0917  # the SDK's own shape
            self,
            parent_context: Any,
            trace_id: int,
            name: str,
            kind: Any = None,
            attributes: Any = None,
            links: Any = None,
            trace_state: Any = None,
        ) -> SamplingResult:
            seen.append((name, dict(attributes)))
            return SamplingResult(Decision.DROP)

        def get_description(self) -> str:
            return "never"

    otel, heard = backend(sampler=Never()), list[StreamToken]()
    answer().pipe(otel_span(model="gpt-5", provider="openai.chat", content=True, **otel.providers)).subscribe(
        heard.append
    )

    ((name, attributes),) = seen
    assert name == "chat gpt-5"
    assert attributes["gen_ai.provider.name"] == "openai"
    assert heard == ANSWER
    assert not otel.spans
    assert [point.count for point in otel.points(names.DURATION.name)] == [1]


def test_a_backend_that_raises_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(TracerProvider):
        def get_tracer(self, *_: Any, **__: Any) -> Any:
            raise ZeroDivisionError

    heard: list[StreamToken] = []
    answer().pipe(otel_span(tracer_provider=Broken(shutdown_on_exit=False))).subscribe(heard.append)

    assert heard == ANSWER
    assert "tap.failed" in capsys.readouterr().out


# Content


def test_content_is_reported_only_when_asked(otel: Backend) -> None:
    answer().pipe(otel_span(**otel.providers)).subscribe()
    assert "cause" not in otel.span.to_json()
    otel.exporter.clear()

    answer().pipe(otel_span(content=True, **otel.providers)).subscribe()

    assert msgspec.json.decode(otel.facts["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "Because"}], "finish_reason": "stop"}
    ]


def test_each_choice_is_a_message(otel: Backend) -> None:
    tokens: list[StreamToken] = [
        TextDelta("a"),
        TextDelta("b", choice=1),
        StreamEnd(FinishReason.STOP, "stop"),
        StreamEnd(FinishReason.LENGTH, "length", choice=1),
    ]

    answer(tokens).pipe(otel_span(content=True, **otel.providers)).subscribe()

    messages = msgspec.json.decode(otel.facts["gen_ai.output.messages"])
    assert [(message["parts"][0]["content"], message["finish_reason"]) for message in messages] == [
        ("a", "stop"),
        ("b", "length"),
    ]
    assert otel.facts["gen_ai.response.finish_reasons"] == ("stop", "length")


# A provider, over sockets


async def test_all_streams_of_a_provider_are_reported_with_what_was_asked(otel: Backend) -> None:
    script = Script(tool_calls=(ScriptedCall("get_weather", {"city": "Oslo"}, "call-1"),))
    request = ChatRequest(
        model="gpt-5",
        messages=[
            Message("system", "Be brief."),
            Message("user", [ImagePart(data=b"pixels", media_type="image/png")]),
            Message("assistant", [ToolCallPart("call-0", "get_weather", '{"city":"Rome"}')]),
            Message.tool_result("call-0", "sunny"),
        ],
        tools=[Tool("get_weather")],
        temperature=0.5,
        max_tokens=100,
        stop=["END"],
        response_format="json",
    )
    async with (
        Simulator(Settings(speed=FAST, script=script)) as simulator,
        AiProvider("openai.chat", base_url=simulator.base_url("openai.chat"), api_key="a-key") as provider,
    ):
        openai = instrumented(provider, content=True, **otel.providers)
        await collect(openai.stream(request))

        facts = otel.facts
        assert (facts["server.address"], facts["server.port"]) == ("127.0.0.1", simulator.port)
        assert openai.rate_limits != RateLimits()
    assert {name: facts[name] for name in facts if name.startswith(("gen_ai.request", "gen_ai.output.type"))} == {
        "gen_ai.request.model": "gpt-5",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.output.type": "json",
    }
    assert msgspec.json.decode(facts["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "image", "mime_type": "image/png"}]},
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "call-0", "name": "get_weather", "arguments": {"city": "Rome"}}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call-0", "response": "sunny"}]},
    ]
    assert msgspec.json.decode(facts["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "call-1", "name": "get_weather", "arguments": {"city": "Oslo"}}],
            "finish_reason": "tool_calls",
        }
    ]
    assert "a-key" not in otel.span.to_json()


async def test_retries_are_within_the_one_span(otel: Backend) -> None:
    script = Script(faults=(HttpError(status=503, retry_after=0, times=1),))
    async with (
        Simulator(Settings(speed=FAST, script=script)) as simulator,
        AiProvider("openai.chat", base_url=simulator.base_url("openai.chat"), api_key="k") as provider,
    ):
        await collect(instrumented(provider, **otel.providers).stream("Why?", model="m"))

        assert simulator.requests_made == 2
    assert otel.facts["rxstream.outcome"] == "completed"


async def test_the_provider_itself_is_left_as_it_was(otel: Backend) -> None:
    async with (
        Simulator(Settings(speed=FAST)) as simulator,
        AiProvider("openai.chat", base_url=simulator.base_url("openai.chat"), api_key="k") as provider,
    ):
        openai = instrumented(provider, **otel.providers)
        await collect(provider.stream("Why?", model="m"))

        assert not otel.spans
        assert (await openai.check_health()).is_healthy
        assert type(openai) is AiProvider


async def test_a_provider_that_only_its_instrumented_self_knows_keeps_its_connections(otel: Backend) -> None:
    async with Simulator(Settings(speed=FAST)) as simulator:
        provider = AiProvider("openai.chat", base_url=simulator.base_url("openai.chat"), api_key="k")
        await collect(provider.stream("Why?", model="m"))
        openai = instrumented(provider, **otel.providers)
        del provider
        gc.collect()

        await collect(openai.stream("Why?", model="m"))

        assert simulator.connections_made == 1
        await openai.aclose()


async def test_to_leave_the_loop_ends_the_span_and_closes_the_connection(otel: Backend) -> None:
    script = Script(text="one two three", faults=(Stall(at=At(tokens=2)),))
    async with (
        Simulator(Settings(speed=FAST, script=script)) as simulator,
        AiProvider("openai.chat", base_url=simulator.base_url("openai.chat"), api_key="k") as provider,
    ):
        async with iterate(instrumented(provider, **otel.providers).stream("Why?", model="m")) as tokens:
            await anext(tokens)
            assert not otel.spans
        await (await simulator.received()).closed.wait()

    assert otel.facts["rxstream.outcome"] == "cancelled"


# Context


def current() -> int:
    return trace.get_current_span().get_span_context().span_id


def test_what_subscribing_sets_off_is_beneath_the_span_and_what_follows_its_end_is_not(otel: Backend) -> None:
    seen: list[int] = []
    ended: list[int] = []

    def subscribe(observer: abc.ObserverBase[StreamToken], _: Any = None) -> abc.DisposableBase:
        seen.append(current())
        observer.on_next(TextDelta("a"))
        observer.on_completed()
        return Disposable()

    tracer = otel.tracer_provider.get_tracer("test")
    with tracer.start_as_current_span("request") as request:
        outside = request.get_span_context().span_id
        stream = Observable(subscribe).pipe(otel_span(**otel.providers))
        stream.subscribe(on_completed=lambda: ended.append(current()))
        assert current() == outside

    chat = next(span for span in otel.spans if span.name == "chat")
    assert chat.context is not None
    assert chat.parent is not None
    assert chat.parent.span_id == outside
    assert seen == [chat.context.span_id]
    assert ended == [outside]


def test_a_request_that_follows_a_failure_is_beside_it_and_not_beneath(otel: Backend) -> None:
    def again(_: Exception, __: Any) -> Observable[StreamToken]:
        return answer().pipe(otel_span(model="second", **otel.providers))

    first = reactivex.throw(StreamError("failed")).pipe(otel_span(model="first", **otel.providers))
    first.pipe(ops.catch(again)).subscribe()

    assert [(span.name, span.parent) for span in otel.spans] == [("chat first", None), ("chat second", None)]


def test_context_goes_along_to_the_thread_that_the_stream_runs_on(otel: Backend) -> None:
    """A script has no loop: the request is made on the background loop."""
    seen: list[tuple[int, int]] = []
    has_ended = threading.Event()

    def key() -> str:
        seen.append((threading.get_ident(), current()))
        return "k"

    with (
        simulated(Settings(speed=FAST)) as simulator,
        otel.tracer_provider.get_tracer("test").start_as_current_span("script") as script,
    ):
        provider = AiProvider("openai.chat", base_url=simulator.base_url("openai.chat"), api_key=key)
        stream = instrumented(provider, **otel.providers).stream("Why?", model="m")
        stream.subscribe(on_error=lambda _: has_ended.set(), on_completed=has_ended.set)
        assert has_ended.wait(10)

    chat = next(span for span in otel.spans if span.name == "chat m")
    assert chat.context is not None
    assert chat.parent is not None
    ((thread, inside),) = seen
    assert thread != threading.get_ident()
    assert inside == chat.context.span_id
    assert chat.parent.span_id == script.get_span_context().span_id


async def test_streams_side_by_side_do_not_mix_their_spans(otel: Backend) -> None:
    tracer = otel.tracer_provider.get_tracer("test")
    async with (
        Simulator(Settings(speed=FAST)) as simulator,
        AiProvider("openai.chat", base_url=simulator.base_url("openai.chat"), api_key="k") as provider,
    ):
        openai = instrumented(provider, **otel.providers)

        async def ask(number: int) -> None:
            with tracer.start_as_current_span(f"request {number}"):
                await collect(openai.stream("Why?", model=f"model-{number}"))

        await asyncio.gather(*map(ask, range(5)))

    by_id = {span.context.span_id: span.name for span in otel.spans if span.context is not None}
    children = {span.name: by_id[span.parent.span_id] for span in otel.spans if span.parent is not None}
    assert children == {f"chat model-{number}": f"request {number}" for number in range(5)}


@pytest.fixture(autouse=True)
def nothing_is_left_current() -> Iterator[None]:
    yield
    assert current() == 0
