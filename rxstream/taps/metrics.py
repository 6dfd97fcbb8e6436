"""The figures of one stream: how much came, how fast, how it paused and how it ended.

`StreamMetrics` counts, `MetricsSummary` is what it counted at one moment. Time is an
argument, in seconds of any clock that never runs backwards.

    figure                     OpenTelemetry (GenAI conventions)               unit
    ─────────────────────────  ──────────────────────────────────────────────  ───────
    seconds                    gen_ai.client.operation.duration                s
    time_to_first_token        gen_ai.client.operation.time_to_first_chunk     s
    gap_p50, gap_p90, gap_p99  gen_ai.client.operation.time_per_output_chunk   s
    input_tokens               gen_ai.client.token.usage, type "input"         {token}
    output_tokens              gen_ai.client.token.usage, type "output"        {token}
    error_type                 the attribute error.type
    provider                   the attribute gen_ai.provider.name (as a dialect)
    model                      the attribute gen_ai.response.model
    finish_reason              the attribute gen_ai.response.finish_reasons

What OpenTelemetry calls a chunk is a token of the stream here; a chunk here is bytes as
they arrived. The other figures have no name there. Percentiles are of one stream: where
many are to be put together, `MetricsRegistry` merges what they are made of.
"""

from collections.abc import Callable
from typing import cast, get_args

from msgspec import Struct, structs

from rxstream import markup
from rxstream.taps._quantiles import Quantiles
from rxstream.taps._recent import RecentRate
from rxstream.tokens import CONTENT, FinishReason, Outcome, StreamEnd, StreamStart, StreamToken, UsageReport

_CONTENT = frozenset(CONTENT)
_TOKENS = frozenset(get_args(StreamToken))
_BYTES = frozenset({bytes, bytearray, memoryview})


class Pressure(Struct, frozen=True, kw_only=True):
    """How the consumer held the source back, and what waited for it."""

    pauses: int = 0
    """How often the source was told to wait."""
    seconds_paused: float = 0.0
    """How long, by the consumer and by the controller of many streams, added up."""
    queue_depth: int = 0
    """Items that wait, as far as a controller counts them."""
    queue_peak: int = 0
    """The most that waited at once."""

    def and_then(self, later: "Pressure") -> "Pressure":
        """Return the figures of this time and of a later one together."""
        return Pressure(
            pauses=self.pauses + later.pauses,
            seconds_paused=self.seconds_paused + later.seconds_paused,
            queue_depth=later.queue_depth,
            queue_peak=max(self.queue_peak, later.queue_peak),
        )


class MetricsSummary(Struct, frozen=True, kw_only=True):
    """The figures of a stream at one moment; `None` is what is not known. Goes to JSON as it is."""

    outcome: Outcome | None = None
    """`None` while it runs."""
    error_type: str | None = None
    """The class of the error that it failed in."""
    errors: int = 0
    """How many errors were heard, those included that a retry made good."""
    provider: str | None = None
    """The dialect, such as `openai.chat`."""
    model: str | None = None
    finish_reason: FinishReason | None = None
    raw_finish_reason: str | None = None
    """The service's own word."""

    seconds: float = 0.0
    """From subscribe to the end, or to now."""
    bytes: int = 0
    chunks: int = 0
    """Bytes as they arrived."""
    frames: int = 0
    tokens: int = 0
    """Tokens of the stream, of every kind."""
    content_tokens: int = 0
    """Those of them that show the answer itself: text, thinking, refusals, calls, media."""
    input_tokens: int | None = None
    """The model's own tokens, as the service counts them; so are `output_tokens`."""
    output_tokens: int | None = None
    usage_is_estimated: bool = False
    """Whether it was not the service that counted, but `count_tokens`."""

    time_to_first_byte: float | None = None
    """Seconds from subscribe; so are the next two."""
    time_to_first_token: float | None = None
    time_to_first_content: float | None = None
    gap_mean: float | None = None
    """Seconds from one content token to the next; so are the percentiles, which are exact within 2 %."""
    gap_p50: float | None = None
    gap_p90: float | None = None
    gap_p99: float | None = None

    tokens_per_second: float | None = None
    """Content tokens after the first, by the time they took."""
    output_tokens_per_second: float | None = None
    """The model's own tokens, as the service counts them, by that same time."""
    bytes_per_second: float | None = None
    """By the time since subscribe."""
    recent_tokens_per_second: float | None = None
    """Content tokens of the last five seconds; so are the bytes."""
    recent_bytes_per_second: float | None = None
    bytes_per_chunk: float | None = None
    tokens_per_chunk: float | None = None
    """Tokens of the stream that one chunk brought, on average."""

    pauses: int = 0
    """How often the source was told to wait."""
    seconds_paused: float = 0.0
    queue_depth: int = 0
    """Items that wait, as far as a controller counts them."""
    queue_peak: int = 0

    def __str__(self) -> str:
        return " · ".join(part for part in self._parts() if part)

    def _repr_html_(self) -> str:
        return markup.figures(structs.asdict(self))

    def _parts(self) -> list[str]:
        how = self.outcome or "running"
        if self.outcome is Outcome.FAILED and self.error_type:
            how = f"failed ({self.error_type})"
        elif self.finish_reason not in {None, FinishReason.STOP}:
            how = f"{how} ({self.raw_finish_reason or self.finish_reason})"
        first, rate = self.time_to_first_content, self.tokens_per_second
        gaps = [self.gap_p50, self.gap_p90, self.gap_p99]
        known_gaps = [f"{gap * 1000:.3g}" for gap in gaps if gap is not None]
        usage = [
            f"{'≈ ' * (self.usage_is_estimated and way == 'out')}{count} {way}"
            for count, way in ((self.input_tokens, "in"), (self.output_tokens, "out"))
            if count is not None
        ]
        return [
            f"{how} after {self.seconds:.2f} s",
            f"first content {first * 1000:.0f} ms" if first is not None else "",
            counted(self.tokens, "token") + (f" at {rate:.3g}/s" if rate is not None else "") if self.tokens else "",
            f"gaps {'/'.join(known_gaps)} ms (p50/p90/p99)" if known_gaps else "",
            counted(self.frames, "frame") if self.frames else "",
            f"{counted(self.bytes, 'byte')} in {counted(self.chunks, 'chunk')}" if self.chunks else "",
            ", ".join(usage),
            f"paused {counted(self.pauses, 'time')} for {self.seconds_paused:.2f} s" if self.pauses else "",
        ]


class StreamMetrics:
    """Counts one stream, wherever in its pipe `tap_metrics` tells of bytes, frames or tokens.

    One object belongs to one subscription. It may be tapped in at several places of the
    pipe, as long as they see different things (chunks here, tokens there: what passes two
    taps counts twice) and tell the time by one clock. The tap furthest downstream is the
    first to start, and how it ends is the outcome, since that is what the consumer saw.
    The pressure is that on the tap furthest upstream, since that is what the source felt.

    A stream that is subscribed to again goes on counting, as a retry should: time runs
    from the first subscription, `errors` counts those that failed, and the wait between
    two is no gap. For figures of each subscription, tap with a `MetricsRegistry`.
    """

    __slots__ = (
        "__weakref__", "_bytes_recently", "_content_recently", "_end", "_ended", "_error", "_error_type", "_first_byte",
        "_first_content", "_first_token", "_gap_seconds", "_last", "_last_content", "_open", "_others", "_outcome",
        "_pressure", "_pressure_at", "_read_pressure", "_run_began", "_start", "_started", "_usage", "bytes", "chunks",
        "content_tokens", "errors", "frames", "gaps",
    )  # fmt: skip

    def __init__(self) -> None:
        self.bytes = self.chunks = self.frames = self.content_tokens = self.errors = 0
        self.gaps = Quantiles()
        """The seconds from each content token to the next."""
        self._others = 0  # tokens that are no content
        self._open = 0  # taps that have started and not stopped
        self._started: float | None = None
        self._ended: float | None = None
        self._last = 0.0  # when anything was heard, other than content
        self._first_byte: float | None = None
        self._first_token: float | None = None
        self._first_content: float | None = None
        self._last_content: float | None = None  # of this subscription
        self._run_began = 0.0  # when its first content came
        self._gap_seconds = 0.0  # of the gaps of those before
        self._content_recently = RecentRate()
        self._bytes_recently = RecentRate()
        self._outcome: Outcome | None = None
        self._error: Exception | None = None  # kept until all have stopped: two taps may hear one error
        self._error_type: str | None = None
        self._start: StreamStart | None = None
        self._end: StreamEnd | None = None
        self._usage: UsageReport | None = None
        self._pressure = Pressure()
        self._pressure_at = 0
        self._read_pressure: Callable[[], Pressure] | None = None

    def __repr__(self) -> str:
        return f"<StreamMetrics {self.summary()}>"

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()  # pyright: ignore[reportPrivateUsage]  # IPython's protocol

    @property
    def tokens(self) -> int:
        """Tokens of the stream so far, of every kind."""
        return self.content_tokens + self._others

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; `None` while it runs."""
        return self._outcome

    @property
    def pressure(self) -> Pressure:
        """How the consumer held the source back so far."""
        return self._pressure if self._read_pressure is None else self._pressure.and_then(self._read_pressure())

    def start(self, at: float, read_pressure: Callable[[], Pressure] | None = None) -> int:
        """Begin, at one place of the pipe; return what `stop` is to be told: 0 for the one furthest downstream.

        `read_pressure` tells how the source was held back since now.
        """
        place = self._open
        self._open += 1
        if place == 0:
            self._started = at if self._started is None else self._started
            self._outcome = self._ended = self._error_type = None
            if self._last_content is not None:
                self._gap_seconds += self._last_content - self._run_began
                self._last_content = None
        if read_pressure is not None:
            self._read_pressure, self._pressure_at = read_pressure, place
        self._last = at
        return place

    def record(self, item: object, at: float) -> None:
        """Count one item: bytes are a chunk, a token of the stream is one, a list is its items, the rest are frames."""
        kind = type(item)
        if kind not in _CONTENT:
            self._record_other(kind, item, at)
            return
        self.content_tokens += 1
        last = self._last_content
        self._last_content = at
        if last is not None:
            self.gaps.add(at - last)
        else:
            self._begin_content(at)
        if at >= self._content_recently.due:
            self._content_recently.mark(self.content_tokens - 1, at)

    def record_frame(self, _: object, at: float) -> None:
        """Count one frame, whatever it is: the frames of some framings are bytes."""
        self.frames += 1
        self._last = at

    def stop(self, outcome: Outcome, at: float, error: Exception | None = None, *, place: int = 0) -> None:
        """End, at one place of the pipe; `place` is what `start` returned."""
        self._open -= 1
        if error is not None and error is not self._error:
            self.errors += 1
            self._error = error
        if self._read_pressure is not None and place == self._pressure_at:
            self._pressure, self._read_pressure = self._pressure.and_then(self._read_pressure()), None
        if place == 0:
            self._outcome, self._ended = outcome, at
            self._error_type = None if error is None else type(error).__qualname__
        if not self._open:
            self._error = None

    def summary(self, at: float | None = None) -> MetricsSummary:
        """Return the figures at `at`: by default at the end, or when anything was last heard."""
        if self._ended is not None:
            now = self._ended
        elif at is not None:
            now = at
        else:
            now = self._last if self._last_content is None else max(self._last, self._last_content)
        started = now if self._started is None else self._started
        gap_seconds = self._gap_seconds
        if self._last_content is not None:
            gap_seconds += self._last_content - self._run_began
        start, end, usage, pressure, gaps = self._start, self._end, self._usage, self.pressure, self.gaps
        output_tokens = usage and usage.output_tokens
        return MetricsSummary(
            outcome=self._outcome,
            error_type=self._error_type,
            errors=self.errors,
            provider=start and start.provider,
            model=start and start.model,
            finish_reason=end and end.reason,
            raw_finish_reason=end and end.raw_reason,
            seconds=now - started,
            bytes=self.bytes,
            chunks=self.chunks,
            frames=self.frames,
            tokens=self.tokens,
            content_tokens=self.content_tokens,
            input_tokens=usage and usage.input_tokens,
            output_tokens=output_tokens,
            usage_is_estimated=usage is not None and usage.source == "estimated",
            time_to_first_byte=_since(started, self._first_byte),
            time_to_first_token=_since(started, self._first_token),
            time_to_first_content=_since(started, self._first_content),
            gap_mean=_ratio(gap_seconds, gaps.count),
            gap_p50=gaps.at(0.5),
            gap_p90=gaps.at(0.9),
            gap_p99=gaps.at(0.99),
            tokens_per_second=_ratio(gaps.count, gap_seconds),
            output_tokens_per_second=None if output_tokens is None else _ratio(output_tokens, gap_seconds),
            bytes_per_second=_ratio(self.bytes, now - started) if self.chunks else None,
            recent_tokens_per_second=self._content_recently.per_second(self.content_tokens, now),
            recent_bytes_per_second=self._bytes_recently.per_second(self.bytes, now),
            bytes_per_chunk=_ratio(self.bytes, self.chunks),
            tokens_per_chunk=_ratio(self.tokens, self.chunks) if self.tokens else None,
            pauses=pressure.pauses,
            seconds_paused=pressure.seconds_paused,
            queue_depth=pressure.queue_depth,
            queue_peak=pressure.queue_peak,
        )

    def _begin_content(self, at: float) -> None:
        self._run_began = at
        if self._first_content is None:
            self._first_content = at
        if self._first_token is None:
            self._first_token = at

    def _record_other(self, kind: type[object], item: object, at: float) -> None:
        if kind is list:
            for one in cast(list[object], item):
                self.record(one, at)
            return
        self._last = at
        if kind in _BYTES:
            size = len(cast(bytes, item)) if kind is not memoryview else cast(memoryview, item).nbytes
            self._record_chunk(size, at)
        elif kind in _TOKENS:
            self._record_token(cast(StreamToken, item), at)
        else:
            self.frames += 1

    def _record_chunk(self, size: int, at: float) -> None:
        if self._first_byte is None:
            self._first_byte = at
        if at >= self._bytes_recently.due:
            self._bytes_recently.mark(self.bytes, at)
        self.chunks += 1
        self.bytes += size

    def _record_token(self, token: StreamToken, at: float) -> None:
        """Count a token that is no content."""
        self._others += 1
        if self._first_token is None:
            self._first_token = at
        if isinstance(token, StreamStart):
            self._start = token
        elif isinstance(token, UsageReport):
            self._usage = token
        elif isinstance(token, StreamEnd):
            self._end = token


class _NoMetrics(StreamMetrics):
    """Counts nothing."""

    __slots__ = ()

    def start(self, at: float, read_pressure: Callable[[], Pressure] | None = None) -> int:  # noqa: ARG002
        return 0  # the same arguments as the real one

    def record(self, item: object, at: float) -> None:
        """Take no note."""

    def record_frame(self, _: object, at: float) -> None:
        """Take no note."""

    def stop(self, outcome: Outcome, at: float, error: Exception | None = None, *, place: int = 0) -> None:
        """Take no note."""


NO_METRICS: StreamMetrics = _NoMetrics()
"""Counts nothing and costs nothing: `tap_metrics(NO_METRICS)` gives back the very stream it is given."""


def counted(number: int, what: str) -> str:
    """Return the number and its noun."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _since(started: float, moment: float | None) -> float | None:
    return None if moment is None else moment - started


def _ratio(count: float, of: float) -> float | None:
    return count / of if of > 0 else None
