"""The figures of many streams together."""

import threading
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

from msgspec import Struct, field, structs

from rxstream import markup
from rxstream.taps._quantiles import Quantiles
from rxstream.taps.metrics import MetricsSummary, StreamMetrics, counted
from rxstream.taps.quietly import quietly
from rxstream.tokens import Outcome


class RegistrySummary(Struct, frozen=True, kw_only=True):
    """The figures of many streams at one moment; seconds, and percentiles exact within 2 %. Goes to JSON as it is."""

    streams: int = 0
    """All that ever began."""
    active: int = 0
    """Those that have not ended."""
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    errors: int = 0
    """Those of streams that went on after one included."""
    error_types: dict[str, int] = field(default_factory=dict[str, int])
    """How many streams failed in an error of which class."""
    bytes: int = 0
    chunks: int = 0
    frames: int = 0
    tokens: int = 0
    """Tokens of the streams, of every kind."""
    content_tokens: int = 0
    input_tokens: int = 0
    """The models' own tokens, of the streams whose service said; so are `output_tokens`."""
    output_tokens: int = 0
    pauses: int = 0
    seconds_paused: float = 0.0
    seconds_p50: float | None = None
    """How long the streams that have ended took, from subscribe to the end."""
    seconds_p90: float | None = None
    seconds_p99: float | None = None
    time_to_first_content_p50: float | None = None
    """Of those that have ended and had content."""
    time_to_first_content_p90: float | None = None
    time_to_first_content_p99: float | None = None
    gap_p50: float | None = None
    """From one content token to the next, of all streams together."""
    gap_p90: float | None = None
    gap_p99: float | None = None

    def __str__(self) -> str:
        first, total = self.time_to_first_content_p50, self.streams
        parts = [
            counted(total, "stream"),
            ", ".join(f"{count} {name}" for name in _STATES if (count := getattr(self, name))),
            counted(self.tokens, "token"),
            counted(self.bytes, "byte") if self.bytes else "",
            f"first content {first * 1000:.0f} ms (p50)" if first is not None else "",
            f"gap {self.gap_p50 * 1000:.3g} ms (p50)" if self.gap_p50 is not None else "",
        ]
        return " · ".join(part for part in parts if part)

    def _repr_html_(self) -> str:
        return markup.figures(structs.asdict(self))


_STATES = ("active", "completed", "failed", "cancelled")
_SUMMED = (
    "errors", "bytes", "chunks", "frames", "tokens", "content_tokens",
    "input_tokens", "output_tokens", "pauses", "seconds_paused",
)  # fmt: skip


class MetricsRegistry:
    """Totals many streams, in memory that does not grow with them; from any thread.

    `tap_metrics(registry)` counts each subscription in a `StreamMetrics` of its own. Or, to
    tap one stream at several places, do so by hand: `begin`, `tap_metrics` with what it
    returns, and `finish`. `on_end` is called with the summary of each stream that has
    ended: the place to report to OpenTelemetry or Prometheus, once for each stream. What
    it raises is logged.
    """

    def __init__(self, on_end: Callable[[MetricsSummary], object] | None = None) -> None:
        self._on_end = quietly(on_end) if on_end is not None else None
        # Reentrant, because the collector may end an abandoned stream in the middle of anything.
        self._lock = threading.RLock()
        # Weakly, so that a stream that was forgotten before its end does not stay for ever.
        self._active: weakref.WeakSet[StreamMetrics] = weakref.WeakSet()
        self._begun = 0
        self._sums: dict[str, Any] = dict.fromkeys(_SUMMED, 0)
        self._outcomes: Counter[Outcome] = Counter()
        self._error_types: Counter[str] = Counter()
        self._seconds, self._first_content, self._gaps = Quantiles(), Quantiles(), Quantiles()

    def begin(self) -> StreamMetrics:
        """Return the figures of one more stream, which count in the totals at once."""
        metrics = StreamMetrics()
        with self._lock:
            self._begun += 1
            self._active.add(metrics)
        return metrics

    def finish(self, metrics: StreamMetrics) -> None:
        """Let go of what `begin` returned, and keep its figures in the totals; a second time changes nothing."""
        summary = metrics.summary()
        with self._lock:
            if metrics not in self._active:
                return
            self._active.discard(metrics)
            self._keep(metrics, summary)
        if self._on_end is not None:
            self._on_end(summary)

    def summary(self) -> RegistrySummary:
        """Return the totals, running streams included as far as they are."""
        gaps = Quantiles()
        with self._lock:
            active, sums = list(self._active), self._sums.copy()
            gaps.merge(self._gaps)
            totals = {
                "streams": self._begun,
                "active": len(active),
                **{str(outcome): self._outcomes[outcome] for outcome in Outcome},
                "error_types": dict(self._error_types),
                **_percentiles("seconds", self._seconds),
                **_percentiles("time_to_first_content", self._first_content),
            }
        for metrics in active:  # outside of the lock: they may ask gates and controllers, which have locks of their own
            _add(sums, metrics.summary())
            gaps.merge(metrics.gaps)
        return RegistrySummary(**totals, **sums, **_percentiles("gap", gaps))

    def _keep(self, metrics: StreamMetrics, summary: MetricsSummary) -> None:
        _add(self._sums, summary)
        self._gaps.merge(metrics.gaps)
        self._seconds.add(summary.seconds)
        if summary.time_to_first_content is not None:
            self._first_content.add(summary.time_to_first_content)
        self._outcomes[summary.outcome or Outcome.CANCELLED] += 1
        if summary.error_type is not None:
            self._error_types[summary.error_type] += 1


def _add(sums: dict[str, Any], summary: MetricsSummary) -> None:
    for name in _SUMMED:
        if name != "output_tokens" or not summary.usage_is_estimated:
            sums[name] += getattr(summary, name) or 0


def _percentiles(name: str, quantiles: Quantiles) -> dict[str, Any]:
    return {f"{name}_p{percent}": quantiles.at(percent / 100) for percent in (50, 90, 99)}
