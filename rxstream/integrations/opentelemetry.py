"""Spans and metrics of streams, by OpenTelemetry's conventions for generative AI (version: `_conventions.VERSION`).

    tokens.pipe(otel_span(model="gpt-5", provider="openai.chat"))      # one stream
    openai = instrumented(AiProvider("openai.chat"))                    # all streams of a provider

Each subscription is one span, `chat gpt-5`, from subscribe to the end, retries included, and
a few measurements at its end. Nothing is reported for a token: tokens are counted in plain
Python, and what a stream costs here is about that of one span and five measurements.

The span is a child of what is current where the stream is subscribed to, and is itself
current for all that subscribing sets off, on whatever thread that runs: the spans of an
instrumented HTTP client are its children. What the subscriber does when the stream has
ended is not.

    metric                                             what is recorded, once a stream
    ─────────────────────────────────────────────────  ──────────────────────────────────────────────
    gen_ai.client.operation.duration                   seconds from subscribe to the end
    gen_ai.client.operation.time_to_first_chunk        seconds to the first token
    gen_ai.client.operation.time_per_output_chunk      the mean of the gaps, and not each: see above
    gen_ai.client.token.usage                          input and output tokens, where the service says

Beyond the conventions, `rxstream.outcome` says completed, failed or cancelled, and
`rxstream.seconds_paused` how long the consumer held the service back. Token counts that are
`count_tokens`'s and not the service's are labelled `rxstream.usage_is_estimated`, and not measured.
"""

import time
import weakref
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
from opentelemetry import context as contexts
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, Meter, MeterProvider
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider
from reactivex import Observable, abc

from rxstream.errors import StreamError
from rxstream.integrations import _conventions as names
from rxstream.integrations._observing import Asked, observed
from rxstream.messages import (
    AssembledMessage,
    ChatRequest,
    ImagePart,
    Message,
    MessageAssembler,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from rxstream.providers import AiProvider
from rxstream.schedulers import gate_of
from rxstream.taps import MetricsSummary, Outcome, StreamMetrics
from rxstream.taps._tapped import tapped
from rxstream.taps.quietly import report
from rxstream.taps.tap_metrics import pressure_on
from rxstream.tokens import FinishReason, Json, StreamEnd, StreamStart, StreamToken, UsageReport, read_arguments

__all__ = ["instrumented", "otel_span"]

P = TypeVar("P", bound=AiProvider)
Attributes = dict[str, str | bool | int | float | Sequence[str]]

SCOPE = "rxstream"
_FACTS = frozenset({StreamStart, UsageReport, StreamEnd})


def otel_span(
    *,
    model: str | None = None,
    provider: str | None = None,
    content: bool = False,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    now: Callable[[], float] = time.perf_counter,
) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    """Report each subscription as a span and its figures as metrics; pass everything on untouched.

        >>> import reactivex
        >>> from rxstream import TextDelta
        >>> answer = reactivex.of(TextDelta("Hello")).pipe(otel_span(model="gpt-5", provider="openai.chat"))
        >>> answer.subscribe(lambda token: print(token.text))
        Hello
        <...>

    `model` is the one that is asked for and `provider` a dialect, such as `openai.chat`; the
    stream itself tells the service and the model that answered. With `content` the answer is
    an attribute of the span: it may be about anything. Nothing of it, and no error's text, is
    reported otherwise. The providers are OpenTelemetry's global ones unless given. What they
    raise is logged and harms nobody.
    """
    asked = Asked(dialect=provider, model=model)
    report_to = _Backend(tracer_provider, meter_provider, content=content, now=now)
    return _spanned(lambda: asked, report_to)


def instrumented(
    provider: P,
    *,
    content: bool = False,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    now: Callable[[], float] = time.perf_counter,
) -> P:
    """Return `provider` with every stream reported as `otel_span` does, and with what was asked for.

    It has the connections and the settings of `provider`, and closing either closes both. With
    `content` the messages that are sent are attributes as well; images only by their kind.
    """
    report_to = _Backend(tracer_provider, meter_provider, content=content, now=now)
    return observed(provider, lambda told: _spanned(told, report_to))


class _Instruments:
    """What the measurements of one meter provider go into."""

    def __init__(self, meter: Meter) -> None:
        self.duration = _histogram(meter, names.DURATION)
        self.first_chunk = _histogram(meter, names.TIME_TO_FIRST_CHUNK)
        self.per_chunk = _histogram(meter, names.TIME_PER_OUTPUT_CHUNK)
        self.usage = _histogram(meter, names.TOKEN_USAGE)


_instruments: weakref.WeakKeyDictionary[MeterProvider, _Instruments] = weakref.WeakKeyDictionary()
"""An operator is made for each stream, instruments once."""


class _Backend:
    """Where to report, and how much."""

    def __init__(
        self,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        *,
        content: bool,
        now: Callable[[], float],
    ) -> None:
        self.tracer_provider, self.meter_provider = tracer_provider, meter_provider
        self.content, self.now = content, now

    @property
    def tracer(self) -> trace.Tracer:
        return trace.get_tracer(SCOPE, tracer_provider=self.tracer_provider, schema_url=names.SCHEMA_URL)

    @property
    def instruments(self) -> _Instruments:
        provider = self.meter_provider or metrics.get_meter_provider()
        instruments = _instruments.get(provider)
        if instruments is None:
            instruments = _instruments[provider] = _Instruments(provider.get_meter(SCOPE, schema_url=names.SCHEMA_URL))
        return instruments


def _histogram(meter: Meter, metric: names.Metric) -> Histogram:
    return meter.create_histogram(
        metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=metric.buckets
    )


def _spanned(
    told: Callable[[], Asked], backend: _Backend
) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    def operator(source: Observable[StreamToken]) -> Observable[StreamToken]:
        def subscribe(
            observer: abc.ObserverBase[StreamToken], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            try:
                call = _Call(told(), backend)
            except Exception as error:
                report(error)
                return source.subscribe(observer, scheduler=scheduler)

            def failed(error: Exception) -> None:
                with _current(call.outside):  # what comes next, such as another request, is no part of this one
                    observer.on_error(error)

            def completed() -> None:
                with _current(call.outside):
                    observer.on_completed()

            with _current(call.inside):
                return tapped(source, call.begin).subscribe(observer.on_next, failed, completed, scheduler=scheduler)

        return Observable(subscribe)

    return operator


@contextmanager
def _current(context: Context) -> Generator[None]:
    """Let `context` be the current one within the block."""
    token = contexts.attach(context)
    try:
        yield
    finally:
        contexts.detach(token)


class _Call:
    """One subscription, as a span."""

    def __init__(self, asked: Asked, backend: _Backend) -> None:
        self._asked, self._now = asked, backend.now
        self._instruments = backend.instruments
        self._metrics = StreamMetrics()
        self._start: StreamStart | None = None
        self._usage: UsageReport | None = None
        self._ends: dict[int, StreamEnd] = {}
        self.outside = contexts.get_current()
        """What is current where the stream is subscribed to."""
        self._span = backend.tracer.start_span(
            _span_name(asked), self.outside, SpanKind.CLIENT, _before(asked, content=backend.content)
        )
        self.inside = trace.set_span_in_context(self._span, self.outside)
        """The same with the span."""
        self._assembler = MessageAssembler() if backend.content and self._span.is_recording() else None

    def begin(self, scheduler: abc.SchedulerBase | None) -> "_Call":
        """Begin to count."""
        gate = gate_of(scheduler)
        self._metrics.start(self._now(), None if gate is None else pressure_on(gate))
        return self

    def on_item(self, item: Any) -> None:
        self._metrics.record(item, self._now())
        if type(item) in _FACTS:
            self._note(item)
        if self._assembler is not None:
            self._assembler.add(item)

    def on_failed(self, error: Exception) -> None:
        self._end(Outcome.FAILED, error)

    def on_completed(self) -> None:
        self._end(Outcome.COMPLETED)

    def on_cancelled(self) -> None:
        self._end(Outcome.CANCELLED)

    def _note(self, token: StreamStart | UsageReport | StreamEnd) -> None:
        match token:
            case StreamStart():
                self._start = token
            case UsageReport():
                self._usage = token
            case StreamEnd():
                self._ends[token.choice] = token

    def _end(self, outcome: Outcome, error: Exception | None = None) -> None:
        self._metrics.stop(outcome, self._now(), error)
        figures = self._metrics.summary()
        dialect = _dialect(self._asked, self._start, error)
        try:
            self._span.set_attributes(self._after(figures, dialect, error))
            if error is not None:
                self._span.set_status(Status(StatusCode.ERROR))  # its text may quote what the user wrote
        finally:
            self._span.end()
        with _current(self.inside):  # so that an exemplar leads to the span
            self._measure(figures, dialect)

    def _after(self, figures: MetricsSummary, dialect: str | None, error: Exception | None) -> Attributes:
        """What is known in the end."""
        known: Attributes = {names.OUTCOME: str(figures.outcome), names.OPERATION: names.operation_name(dialect)}
        if dialect is not None:
            known[names.PROVIDER] = names.provider_name(dialect)
        if self._start is not None and self._start.id is not None:
            known[names.RESPONSE_ID] = self._start.id
        if figures.model is not None:
            known[names.RESPONSE_MODEL] = figures.model
        if self._ends:
            known[names.FINISH_REASONS] = [str(self._ends[choice].reason) for choice in sorted(self._ends)]
        if figures.time_to_first_token is not None:
            known[names.RESPONSE_TIME_TO_FIRST_CHUNK] = figures.time_to_first_token
        if figures.pauses:
            known[names.PAUSES], known[names.SECONDS_PAUSED] = figures.pauses, figures.seconds_paused
        if figures.error_type is not None:
            known[names.ERROR_TYPE] = figures.error_type
        if isinstance(error, StreamError) and error.status is not None:
            known[names.STATUS_CODE] = error.status
        if self._assembler is not None:
            known[names.OUTPUT_MESSAGES] = _written(_output(self._assembler.message(), failed=error is not None))
        return known | self._used(dialect)

    def _used(self, dialect: str | None) -> Attributes:
        usage = self._usage
        if usage is None:
            return {}
        counts = {name: getattr(usage, field) for name, field in names.USAGE.items()}
        counts[names.USAGE_INPUT] = names.input_tokens(usage, dialect)
        known: Attributes = {name: count for name, count in counts.items() if count is not None}
        return known | {names.USAGE_IS_ESTIMATED: True} if usage.source == "estimated" else known

    def _measure(self, figures: MetricsSummary, dialect: str | None) -> None:
        labels: Attributes = {
            **_destination(self._asked),
            names.OPERATION: names.operation_name(dialect),
            **({names.PROVIDER: names.provider_name(dialect)} if dialect is not None else {}),
            **({names.RESPONSE_MODEL: figures.model} if figures.model is not None else {}),
        }
        ended: Attributes = {names.OUTCOME: str(figures.outcome)}
        if figures.error_type is not None:
            ended[names.ERROR_TYPE] = figures.error_type
        to = self._instruments
        to.duration.record(figures.seconds, labels | ended)
        if figures.time_to_first_token is not None:
            to.first_chunk.record(figures.time_to_first_token, labels)
        if figures.gap_mean is not None:
            to.per_chunk.record(figures.gap_mean, labels)
        used = self._used(dialect)
        if names.USAGE_IS_ESTIMATED in used:
            return  # what nobody counted is no measurement
        for kind, name in (("input", names.USAGE_INPUT), ("output", names.USAGE_OUTPUT)):
            if isinstance(count := used.get(name), int):
                to.usage.record(count, {**labels, names.TOKEN_TYPE: kind})


def _span_name(asked: Asked) -> str:
    operation = names.operation_name(asked.dialect)
    return operation if asked.model is None else f"{operation} {asked.model}"


def _before(asked: Asked, *, content: bool) -> Attributes:
    """What is known at the start, when a sampler decides."""
    known: Attributes = {
        **_destination(asked),
        names.OPERATION: names.operation_name(asked.dialect),
        names.REQUEST_STREAM: True,
    }
    if asked.dialect is not None:
        known[names.PROVIDER] = names.provider_name(asked.dialect)
    if asked.request is not None:
        known |= names.request_attributes(asked.request)
        if content:
            known[names.INPUT_MESSAGES] = _written(_input(asked.request))
    return known


def _destination(asked: Asked) -> Attributes:
    known = {names.REQUEST_MODEL: asked.model, names.SERVER_ADDRESS: asked.address, names.SERVER_PORT: asked.port}
    return {name: value for name, value in known.items() if value is not None}


def _dialect(asked: Asked, start: StreamStart | None, error: Exception | None) -> str | None:
    """The dialect, as far as anybody has named it."""
    said = start.provider if start is not None else None
    return asked.dialect or said or (error.provider if isinstance(error, StreamError) else None)


# Content, in the form of the conventions' JSON schemas


def _written(messages: Json) -> str:
    """Attributes hold no objects yet, so they are JSON."""
    return msgspec.json.encode(messages).decode()


def _input(request: ChatRequest) -> list[Json]:
    return [_message(message) for message in request.messages]


def _message(message: Message) -> Json:
    return {"role": message.role, "parts": [_part(part) for part in message.parts]}


def _output(message: AssembledMessage, *, failed: bool) -> list[Json]:
    """One message for each choice."""
    if not message.choices:
        parts = [_part(part) for part in message.parts]
        if message.refusal:
            parts.append(_text(message.refusal))
        reason = FinishReason.ERROR if failed else message.reason
        return [{"role": "assistant", "parts": parts, "finish_reason": reason}]
    return [
        {
            "role": "assistant",
            "parts": [
                *([{"type": "reasoning", "content": choice.reasoning}] if choice.reasoning else []),
                *([_text(choice.text + choice.refusal)] if choice.text or choice.refusal else []),
                *(_call(call.id, call.name, call.arguments) for call in choice.tool_calls),
            ],
            "finish_reason": FinishReason.ERROR if failed else choice.finish_reason,
        }
        for choice in message.choices
    ]


def _part(part: Part) -> Json:
    match part:
        case TextPart():
            return _text(part.text)
        case ReasoningPart():
            return {"type": "reasoning", "content": part.text}
        case ToolCallPart():
            return _call(part.id, part.name, read_arguments(part.arguments))
        case ToolResultPart():
            return {"type": "tool_call_response", "id": part.id, "response": part.content}
        case ImagePart():
            return {"type": "image", "mime_type": part.media_type}


def _text(text: str) -> Json:
    return {"type": "text", "content": text}


def _call(id: str | None, name: str, arguments: Json) -> Json:
    return {"type": "tool_call", "id": id, "name": name, "arguments": arguments}
