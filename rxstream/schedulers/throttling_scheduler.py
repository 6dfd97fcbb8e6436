"""A scheduler that keeps a pace.

Spacing is measured between the moments at which actions really begin, on the inner
scheduler's own clock, so that it holds under virtual time, for actions that schedule
themselves again (as `observe_on` does) and when a turn comes late. Actions that are
disposed while they wait use up nothing.
"""

from datetime import UTC, datetime, timedelta

from reactivex import abc

from rxstream.flow import Gate, Rate
from rxstream.schedulers.flow_scheduler import gate_of
from rxstream.schedulers.queueing_scheduler import AT_ONCE, QueueingScheduler

_EARLIEST = datetime.min.replace(tzinfo=UTC)


class ThrottlingScheduler(QueueingScheduler):
    """At most one action every `pace`, an interval or a `Rate` of one permit each, over any `inner` scheduler.

    The first action runs at once; with a `Rate`, as many as its burst. What comes
    faster waits its turn, in order, without bound: where a source can wait, let it
    (`rate_limit`). A `Rate` is for one scheduler alone.
    """

    def __init__(self, inner: abc.SchedulerBase, pace: timedelta | Rate) -> None:
        super().__init__(inner)
        if isinstance(pace, timedelta) and pace <= AT_ONCE:
            raise ValueError(f"the interval must be more than 0, not {pace}")
        self._pace = _Permits(pace) if isinstance(pace, Rate) else _Interval(pace)
        self._latest = _EARLIEST
        self._set_back = AT_ONCE

    @property
    def gate(self) -> Gate | None:
        """The gate of the inner scheduler, so that demand travels through this one too."""
        return gate_of(self.inner)

    def _delay(self) -> timedelta:
        return self._pace.wait(self._steady_now())

    def _begin_turn(self) -> int:
        return 1 if self._pace.take(self._steady_now()) else 0

    def _steady_now(self) -> datetime:
        """The inner scheduler's time, but going on from the latest seen when the wall clock is set back."""
        now = self.inner.now + self._set_back
        if now < self._latest:
            self._set_back += self._latest - now
            now = self._latest
        self._latest = now
        return now


class _Interval:
    """One action every `interval`, to the microsecond."""

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval
        self._next_at = _EARLIEST

    def wait(self, now: datetime) -> timedelta:
        return max(AT_ONCE, self._next_at - now)

    def take(self, now: datetime) -> bool:
        if now < self._next_at:
            return False
        self._next_at = now + self._interval
        return True


class _Permits:
    """One permit of a `Rate` for each action."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate

    def wait(self, now: datetime) -> timedelta:
        return timedelta(seconds=self._rate.wait_for(1, now.timestamp()))

    def take(self, now: datetime) -> bool:
        if self.wait(now) > AT_ONCE:
            return False
        self._rate.reserve(1, now.timestamp())  # what is left of a wait is less than the clock can tell
        return True
