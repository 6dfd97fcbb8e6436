"""How a stream gets on, told now and then."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from reactivex import Observable, abc

from rxstream.schedulers import gate_of
from rxstream.taps._tapped import tapped
from rxstream.taps.metrics import MetricsSummary, StreamMetrics
from rxstream.taps.tap_metrics import pressure_on
from rxstream.tokens import Outcome

T = TypeVar("T")


def tap_progress(
    callback: Callable[[MetricsSummary], object],
    every: timedelta = timedelta(seconds=0.1),
    *,
    now: Callable[[], float] = time.perf_counter,
) -> Callable[[Observable[T]], Observable[T]]:
    """Call `callback` with the figures so far: at the first item, then at most once in `every`, and at the end.

    No timer is set: it is called as an item arrives, so a stream that stalls says nothing.
    The last call, with the `outcome`, always comes, and comes before the end itself. What
    `callback` raises is logged; then it hears no more but the end. `every` may be zero.
    Raises `ValueError` if it is negative.
    """
    period = every.total_seconds()
    if period < 0:
        raise ValueError(f"the period must not be negative, not {every}")

    def begin(scheduler: abc.SchedulerBase | None) -> _Progress:
        return _Progress(callback, period, now, scheduler)

    return lambda source: tapped(source, begin)


class _Progress:
    """One subscription, told about."""

    def __init__(
        self,
        callback: Callable[[MetricsSummary], object],
        period: float,
        now: Callable[[], float],
        scheduler: abc.SchedulerBase | None,
    ) -> None:
        self._callback, self._period, self._now = callback, period, now
        self._metrics = StreamMetrics()
        gate = gate_of(scheduler)
        self._next_at = now()
        self._metrics.start(self._next_at, None if gate is None else pressure_on(gate))

    def on_item(self, item: object) -> None:
        at = self._now()
        self._metrics.record(item, at)
        if at >= self._next_at:
            self._next_at = at + self._period
            self._callback(self._metrics.summary(at))

    def on_failed(self, error: Exception) -> None:
        self._stop(Outcome.FAILED, error)

    def on_completed(self) -> None:
        self._stop(Outcome.COMPLETED)

    def on_cancelled(self) -> None:
        self._stop(Outcome.CANCELLED)

    def _stop(self, outcome: Outcome, error: Exception | None = None) -> None:
        self._metrics.stop(outcome, self._now(), error)
        self._callback(self._metrics.summary())
