"""The figures of a stream, taken where it passes by."""

import time
from collections.abc import Callable
from typing import Literal, TypeVar

from reactivex import Observable, abc

from rxstream.flow import Gate, StreamShare
from rxstream.schedulers import gate_of
from rxstream.taps._tapped import tapped
from rxstream.taps.metrics import NO_METRICS, Pressure, StreamMetrics
from rxstream.taps.registry import MetricsRegistry
from rxstream.tokens import Outcome

T = TypeVar("T")


def tap_metrics(
    metrics: StreamMetrics | MetricsRegistry,
    now: Callable[[], float] = time.perf_counter,
    *,
    bytes_are: Literal["chunks", "frames"] = "chunks",
) -> Callable[[Observable[T]], Observable[T]]:
    """Count and time everything on `metrics`; pass it on untouched.

    What is counted is told by what passes: bytes are chunks (or the frames of a framing
    whose frames are bytes, such as NDJSON, with `bytes_are="frames"`), tokens of a stream
    are tokens, a list is its items, and all else is frames. One `StreamMetrics` may be
    tapped in at several places of one pipe.

    With a `MetricsRegistry` each subscription is counted by itself and added to the totals.
    `NO_METRICS` costs nothing: the source is given back as it is. `now` is in seconds and
    never runs backwards.
    """
    if metrics is NO_METRICS:
        return _unchanged

    def begin(scheduler: abc.SchedulerBase | None) -> _Timed:
        return _Timed(metrics, now, gate_of(scheduler), bytes_are=bytes_are)

    return lambda source: tapped(source, begin)


def _unchanged(source: Observable[T]) -> Observable[T]:
    return source


class _Timed:
    """One subscription, timed."""

    def __init__(
        self,
        metrics: StreamMetrics | MetricsRegistry,
        now: Callable[[], float],
        gate: Gate | None,
        *,
        bytes_are: Literal["chunks", "frames"],
    ) -> None:
        self._registry = metrics if isinstance(metrics, MetricsRegistry) else None
        self._metrics = metrics.begin() if isinstance(metrics, MetricsRegistry) else metrics
        self._now = now
        record = self._metrics.record if bytes_are == "chunks" else self._metrics.record_frame

        def on_item(item: object) -> None:
            record(item, now())

        self.on_item = on_item
        self._place = self._metrics.start(now(), None if gate is None else pressure_on(gate))

    def on_failed(self, error: Exception) -> None:
        self._stop(Outcome.FAILED, error)

    def on_completed(self) -> None:
        self._stop(Outcome.COMPLETED)

    def on_cancelled(self) -> None:
        self._stop(Outcome.CANCELLED)

    def _stop(self, outcome: Outcome, error: Exception | None = None) -> None:
        self._metrics.stop(outcome, self._now(), error, place=self._place)
        if self._registry is not None:
            self._registry.finish(self._metrics)


def pressure_on(gate: Gate) -> Callable[[], Pressure]:
    """Return what tells how a source that waits at `gate` was held back since now.

    What waits, and how often the controller of many streams had it wait, is known where
    the source has one.
    """
    pauses, seconds, before = gate.times_closed, gate.seconds_closed, gate.account

    def read() -> Pressure:
        account = gate.account
        share = account.snapshot() if isinstance(account, StreamShare) and account is not before else None
        return Pressure(
            pauses=gate.times_closed - pauses + (share.times_paused if share else 0),
            seconds_paused=gate.seconds_closed - seconds + (share.seconds_paused if share else 0.0),
            queue_depth=share.depth if share else 0,
            queue_peak=share.peak_items if share else 0,
        )

    return read
