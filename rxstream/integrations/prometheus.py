"""Figures of streams for Prometheus to scrape: those of the GenAI conventions, and demand.

    figures = PrometheusMetrics()                                       # in the default registry
    tokens.pipe(figures.tap(model="gpt-5", provider="openai.chat"))     # one stream
    openai = figures.instrumented(AiProvider("openai.chat"))            # all streams of a provider
    tokens.pipe(buffered(64, overflow=..., on_drop=figures.count_drop))

    gen_ai_client_operation_duration_seconds                histogram  from subscribe to the end
    gen_ai_client_operation_time_to_first_chunk_seconds     histogram
    gen_ai_client_operation_time_per_output_chunk_seconds   histogram  of every gap, exact within 2 %
    gen_ai_client_token_usage                               histogram  input and output tokens
    rxstream_streams_total                                  counter    by outcome
    rxstream_streams_active                                 gauge
    rxstream_queue_depth                                    gauge      items that wait, where a controller counts them
    rxstream_pauses_total, rxstream_paused_seconds_total    counter    how consumers held services back, up to now
    rxstream_dropped_items_total                            counter    what `count_drop` was told of

A token costs what `tap_metrics` costs; the rest is once a stream, or once a scrape. The names
of the first four are those that OpenTelemetry's exporter for Prometheus would give.
"""

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from reactivex import Observable, abc

from rxstream.integrations import _conventions as names
from rxstream.integrations._observing import Asked, observed
from rxstream.providers import AiProvider
from rxstream.schedulers import gate_of
from rxstream.taps import MetricsSummary, Outcome, Pressure, StreamMetrics
from rxstream.taps._quantiles import Quantiles
from rxstream.taps._tapped import tapped
from rxstream.taps.tap_metrics import pressure_on
from rxstream.tokens import StreamToken, UsageReport

__all__ = ["PrometheusMetrics"]

P = TypeVar("P", bound=AiProvider)

GAPS = (0.001, 0.0025, 0.005, *names.SECONDS)
"""The upper ends of the buckets for gaps: most are shorter than the conventions' first."""

_LABELS = tuple(
    name.replace(".", "_") for name in (names.OPERATION, names.PROVIDER, names.REQUEST_MODEL, names.RESPONSE_MODEL)
)
_ERROR_TYPE = names.ERROR_TYPE.replace(".", "_")
_TOKEN_TYPE = names.TOKEN_TYPE.replace(".", "_")


class PrometheusMetrics(Collector):
    """The figures of all streams that go through its taps, in a `CollectorRegistry`.

    One for a process and registry: a second one in the same registry raises `ValueError`, as
    any metric does that is registered twice.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._lock = threading.Lock()
        # Weakly, so that a stream that was forgotten before its end does not stay for ever.
        self._active: weakref.WeakSet[StreamMetrics] = weakref.WeakSet()
        self._ended = Pressure()
        self._dropped = 0
        self._gaps: dict[tuple[str, ...], _Gaps] = {}
        self._duration = _histogram(names.DURATION, registry, _ERROR_TYPE)
        self._first_chunk = _histogram(names.TIME_TO_FIRST_CHUNK, registry)
        self._usage = _histogram(names.TOKEN_USAGE, registry, _TOKEN_TYPE)
        self._streams = Counter("rxstream_streams", "Streams that have ended.", ["outcome"], registry=registry)
        registry.register(self)

    def tap(
        self, *, model: str | None = None, provider: str | None = None, now: Callable[[], float] = time.perf_counter
    ) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
        """Count and time each subscription; pass everything on untouched.

        `model` is the one that is asked for and `provider` a dialect, such as `openai.chat`;
        the stream itself tells the service and the model that answered.
        """
        asked = Asked(dialect=provider, model=model)
        return self._tap(lambda: asked, now)

    def instrumented(self, provider: P, *, now: Callable[[], float] = time.perf_counter) -> P:
        """Return `provider` with every stream counted as by `tap`, under the model that was asked for.

        It has the connections and the settings of `provider`, and closing either closes both.
        """
        return observed(provider, lambda told: self._tap(told, now))

    def count_drop(self, _: object = None) -> None:
        """Count an item that was dropped: for `on_drop`."""
        with self._lock:
            self._dropped += 1

    def collect(self) -> Iterator[Metric]:
        """Return the figures of this moment; the registry calls this at each scrape."""
        with self._lock:
            active, pressure, dropped = list(self._active), self._ended, self._dropped
            gaps = {labels: gaps.buckets() for labels, gaps in self._gaps.items()}
        depth = 0
        for metrics in active:  # outside of the lock: they ask gates, which have locks of their own
            now = metrics.pressure
            depth += now.queue_depth
            pressure = pressure.and_then(now)
        yield GaugeMetricFamily("rxstream_streams_active", "Streams that run.", len(active))
        yield GaugeMetricFamily("rxstream_queue_depth", "Items that wait for their consumers.", depth)
        yield CounterMetricFamily("rxstream_pauses", "How often a source was told to wait.", pressure.pauses)
        yield CounterMetricFamily("rxstream_paused_seconds", "How long sources waited.", pressure.seconds_paused)
        yield CounterMetricFamily("rxstream_dropped_items", "Items that were dropped.", dropped)
        per_chunk = HistogramMetricFamily(
            _name(names.TIME_PER_OUTPUT_CHUNK), names.TIME_PER_OUTPUT_CHUNK.description, labels=_LABELS
        )
        for labels, (buckets, total) in gaps.items():
            per_chunk.add_metric(labels, buckets, total)
        yield per_chunk

    def _tap(
        self, told: Callable[[], Asked], now: Callable[[], float]
    ) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
        def begin(scheduler: abc.SchedulerBase | None) -> _Counted:
            counted = _Counted(told(), now, self._finish)
            gate = gate_of(scheduler)
            counted.metrics.start(now(), None if gate is None else pressure_on(gate))
            with self._lock:
                self._active.add(counted.metrics)
            return counted

        return lambda source: tapped(source, begin)

    def _finish(self, counted: "_Counted") -> None:
        figures = counted.metrics.summary()
        dialect = counted.asked.dialect or figures.provider
        labels = (
            names.operation_name(dialect),
            "" if dialect is None else names.provider_name(dialect),
            counted.asked.model or "",
            figures.model or "",
        )
        with self._lock:
            self._active.discard(counted.metrics)
            self._ended = self._ended.and_then(counted.metrics.pressure)
            if figures.gap_mean is not None:
                gaps = self._gaps.setdefault(labels, _Gaps())
                gaps.add(counted.metrics.gaps, figures.gap_mean * counted.metrics.gaps.count)
        self._streams.labels(str(figures.outcome)).inc()
        self._duration.labels(*labels, figures.error_type or "").observe(figures.seconds)
        if figures.time_to_first_token is not None:
            self._first_chunk.labels(*labels).observe(figures.time_to_first_token)
        for kind, count in _used(counted.usage, figures, dialect):
            if count is not None:
                self._usage.labels(*labels, kind).observe(count)


class _Counted:
    """One subscription, counted."""

    def __init__(self, asked: Asked, now: Callable[[], float], finish: Callable[["_Counted"], None]) -> None:
        self.asked, self.metrics = asked, StreamMetrics()
        self.usage: UsageReport | None = None
        self._now, self._finish = now, finish

    def on_item(self, item: Any) -> None:
        self.metrics.record(item, self._now())
        if type(item) is UsageReport:
            self.usage = item

    def on_failed(self, error: Exception) -> None:
        self._stop(Outcome.FAILED, error)

    def on_completed(self) -> None:
        self._stop(Outcome.COMPLETED)

    def on_cancelled(self) -> None:
        self._stop(Outcome.CANCELLED)

    def _stop(self, outcome: Outcome, error: Exception | None = None) -> None:
        self.metrics.stop(outcome, self._now(), error)
        self._finish(self)


class _Gaps:
    """How many gaps were no longer than each of `GAPS`, and how long all were."""

    def __init__(self) -> None:
        self._up_to = [0] * len(GAPS)
        self._count, self._seconds = 0, 0.0

    def add(self, gaps: Quantiles, seconds: float) -> None:
        """Count the gaps of one more stream."""
        self._up_to = [before + gaps.up_to(end) for before, end in zip(self._up_to, GAPS, strict=True)]
        self._count += gaps.count
        self._seconds += seconds

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Return the buckets by their upper ends, and the sum."""
        ends = [*map(str, GAPS), "+Inf"]
        return list(zip(ends, map(float, [*self._up_to, self._count]), strict=True)), self._seconds


def _used(usage: UsageReport | None, figures: MetricsSummary, dialect: str | None) -> Iterator[tuple[str, int | None]]:
    if usage is not None and usage.source != "estimated":
        yield "input", names.input_tokens(usage, dialect)
        yield "output", figures.output_tokens


def _histogram(metric: names.Metric, registry: CollectorRegistry, *labels: str) -> Histogram:
    return Histogram(_name(metric), metric.description, [*_LABELS, *labels], registry=registry, buckets=metric.buckets)


def _name(metric: names.Metric) -> str:
    name = metric.name.replace(".", "_")
    return f"{name}_seconds" if metric.unit == "s" else name
